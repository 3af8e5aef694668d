"""Numbers as people say them."""

from __future__ import annotations


def time_left(seconds: float) -> str:
    """How long something still takes."""
    return f"{about(seconds)} left"


def about(seconds: float) -> str:
    """A length of time, rounded the way people round."""
    if seconds < 5:
        return "a few seconds"
    if seconds < 55:
        return f"about {5 * max(round(seconds / 5), 1)} s"
    if seconds < 5400:
        return f"about {max(round(seconds / 60), 1)} min"
    return f"about {seconds / 3600:.1f} hours"


def counted(number: int, noun: str) -> str:
    """A number with its noun, ``1 pose`` or ``12 poses``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def of_hundred(share: float) -> str:
    """A share as people count it, ``94 of 100``; only all is all, and only none is none."""
    return f"{_hundredths(share)} of 100"


def percent(share: float) -> str:
    """A share in percent, ``82 %``, rounded likewise."""
    return f"{_hundredths(share)} %"


def _hundredths(share: float) -> int:
    number = round(100 * share)
    return min(max(number, 1), 99) if 0 < share < 1 else number
