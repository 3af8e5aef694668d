"""Tables for people and files for programs: Markdown and JSON of the same results."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flexpose.errors import PoseShapeError
from flexpose.io.base import atomic_write_text

Goal = Literal["low", "high", "one"]


@dataclass(frozen=True)
class Column:
    """One measure in a table.

    Attributes
    ----------
    key : its key in the results
    title : heading
    best : which values are good: ``low``, ``high``, close to ``one``; None ranks nothing
    digits : decimal places
    quoted : a figure of another source, the same in all repetitions: without a deviation
    """

    key: str
    title: str
    best: Goal | None = None
    digits: int = 3
    quoted: bool = False

    @property
    def heading(self) -> str:
        """Title with an arrow towards the good values."""
        mark = {"low": " ↓", "high": " ↑", "one": " → 1", None: ""}[self.best]
        return f"{self.title}{mark}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a Markdown table, first column left, others right-aligned; ends with a newline.

    Raises
    ------
    PoseShapeError : a row has another number of cells than the header.
    """
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise PoseShapeError(
                f"Row {number} of the table has {len(row)} cells, expected {len(header)}."
            )
    rule = [":---", *["---:"] * (len(header) - 1)]
    lines = [header, rule, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def summary_table(
    results: Mapping[str, Sequence[Mapping[str, float]]],
    columns: Sequence[Column],
    *,
    unranked: Collection[str] = (),
) -> str:
    """Mean ± standard deviation over repetitions, the best mean of each column in bold.

    The deviation is that of a sample (n - 1) and absent for a single repetition. Means that read
    the same at the printed precision are both bold.

    Parameters
    ----------
    results : for each row its repetitions (seeds), each a mapping from column key to value; a
        key that all repetitions lack gives an empty cell
    unranked : rows that never count as best, such as the floor between two true sets

    Raises
    ------
    PoseShapeError : a row has no repetitions, or only some of them have a column.
    """
    means = {
        name: {c.key: _mean(name, c.key, runs) for c in columns} for name, runs in results.items()
    }
    ranked = [means[name] for name in results if name not in unranked]
    best = {c.key: _best([row[c.key] for row in ranked], c) for c in columns}
    rows = []
    for name, runs in results.items():
        cells = []
        for c in columns:
            mean = means[name][c.key]
            text = "" if mean is None else f"{mean:.{c.digits}f}"
            if name not in unranked and text in best[c.key]:
                text = f"**{text}**"
            if mean is not None and len(runs) > 1 and not c.quoted:
                deviation = np.std([run[c.key] for run in runs], ddof=1)
                text += f" ± {deviation:.{c.digits}f}"
            cells.append(text)
        rows.append([name, *cells])
    return markdown_table(["", *(c.heading for c in columns)], rows)


def _mean(name: str, key: str, runs: Sequence[Mapping[str, float]]) -> float | None:
    values = [run[key] for run in runs if key in run]
    if not runs or len(values) not in (0, len(runs)):
        raise PoseShapeError(
            f"{name!r} has {len(values)} values of {key!r} in {len(runs)} repetitions, "
            "expected one in each."
        )
    return float(np.mean(values)) if values else None


def _best(means: Sequence[float | None], column: Column) -> set[str]:
    """Find the best values of a column, as printed."""
    if column.best is None:
        return set()
    texts = {f"{m:.{column.digits}f}" for m in means if m is not None and np.isfinite(m)}
    costs = {text: _cost(float(text), column.best) for text in texts}
    # .9 and 1.1 are equally far from 1 but for rounding
    return {text for text, cost in costs.items() if cost <= min(costs.values()) + 1e-12}


def _cost(value: float, best: Goal) -> float:
    return abs(value - 1) if best == "one" else value if best == "low" else -value


def write_report(stem: Path, data: Mapping[str, Any], markdown: str) -> tuple[Path, Path]:
    """Write ``<stem>.json`` and ``<stem>.md``, each by write and replace.

    Parameters
    ----------
    data : plain data; numbers must be finite

    Raises
    ------
    PoseShapeError : the data hold a NaN or an infinity.
    """
    try:
        text = json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    except ValueError as error:
        raise PoseShapeError(
            f"The results for {stem.name}.json hold a number that is not finite."
        ) from error
    paths = stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.md")
    for path, content in zip(paths, (text, markdown), strict=True):
        atomic_write_text(path, content)
    return paths
