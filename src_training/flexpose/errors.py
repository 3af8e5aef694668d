"""Every error a user can meet. A message says what was found, where, and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class FlexPoseError(Exception):
    """Base of all expected errors.

    Parameters
    ----------
    message : str
        One sentence: what was found, where, what was expected.
    hint : str
        What the user can do about it; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ConfigError(FlexPoseError):
    """A config value is unknown, missing or out of bounds."""


class UnknownNameError(FlexPoseError):
    """A name is not among the known ones; the message offers the nearest."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"Unknown {kind} {name!r}.{guess}", f"Known: {', '.join(names)}.")
        self.name = name


class DataFormatError(FlexPoseError):
    """A file does not hold what its format demands.

    Parameters
    ----------
    path : path of the file
    where : place inside it ("annotation 17", "line 37"), may be empty
    problem : what was found and what was expected
    """

    def __init__(self, path: Path | str, where: str, problem: str, hint: str = "") -> None:
        place = f"{path}, {where}" if where else f"{path}"
        super().__init__(f"{place}: {problem}", hint)
        self.path = Path(path)
        self.where = where
        self.problem = problem


class SkeletonMismatchError(FlexPoseError):
    """Two things that must share a skeleton do not."""


class PoseShapeError(FlexPoseError):
    """An array has the wrong shape, dtype or values."""


class AnnotationError(FlexPoseError):
    """A label project cannot be opened, made or changed as asked."""


class CheckpointError(FlexPoseError):
    """A checkpoint is missing, damaged, of another version or of another kind."""


class TrainingDivergedError(FlexPoseError):
    """A loss stopped being finite."""

    def __init__(self, loss: str, step: int) -> None:
        super().__init__(
            f"The loss {loss!r} is no longer finite at step {step}.",
            "Resume from the last checkpoint with a smaller learning rate.",
        )


class DeviceMemoryError(FlexPoseError):
    """The device ran out of memory."""


class MissingDependencyError(FlexPoseError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed.",
            f"Install it with: pip install {package}",
        )


class JobFailedError(FlexPoseError):
    """Something unforeseen ended a job; the cause is chained."""
