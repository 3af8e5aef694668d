"""What a job tells its watchers: frozen events, and their form as lines of JSON.

Events hold numbers, strings, paths, numpy arrays and errors; never tensors, layers or open files.
A job ends in exactly one terminal event: `JobFinished`, `JobCancelled` or `JobFailed`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexpose import errors
from flexpose.errors import DataFormatError, FlexPoseError, JobFailedError


@dataclass(frozen=True)
class JobStarted:
    """The main work begins; `PhaseChanged` may have told of what prepares it, such as reading.

    ``total_steps`` is None when the length is not known.
    """

    name: str
    total_steps: int | None
    run_dir: Path | None


@dataclass(frozen=True)
class PhaseChanged:
    """A named part of the job begins, such as ``reading poses``; its steps count from 1."""

    name: str
    total_steps: int | None = None


@dataclass(frozen=True)
class StepCompleted:
    """Progress, at most five times a second; losses are means since the event before."""

    step: int
    total_steps: int | None
    losses: Mapping[str, float] = field(default_factory=dict)
    lr: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True, eq=False)
class PreviewReady:
    """Pictures to look at: uint8 (n, H, W, 3) RGB; float32 (n, J, 2) canvas pixels or None."""

    step: int
    images: NDArray[np.uint8]
    keypoints: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class MapReady:
    """Where poses lie on a map that never moves: source poses, then shots, then adapted ones.

    places : float32 (n, 2), the map's own units
    poses : float32 (n, J, 2), unit space, box-normalised
    counts : how many of each, in this order: ``source``, ``shots``, ``adapted``
    """

    step: int
    places: NDArray[np.float32]
    poses: NDArray[np.float32]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class MetricsReady:
    """Measured values by name on one split, such as ``val``."""

    step: int
    metrics: Mapping[str, float]
    split: str


@dataclass(frozen=True)
class CheckpointSaved:
    """A checkpoint folder is complete on disk."""

    step: int
    path: Path


@dataclass(frozen=True)
class WarningRaised:
    """Something the user should know while the job goes on."""

    code: str
    message: str
    suggestion: str = ""


@dataclass(frozen=True)
class JobFinished:
    """Terminal: the job did what it should. ``result`` is plain data or a path."""

    result: Any = None


@dataclass(frozen=True)
class JobCancelled:
    """Terminal: the user cancelled after ``step``; ``checkpoint`` is what was saved."""

    step: int
    checkpoint: Path | None = None


@dataclass(frozen=True)
class JobFailed:
    """Terminal: the job could not go on; ``details`` is the traceback as text."""

    error: FlexPoseError
    details: str = ""


@dataclass(frozen=True)
class ProcessDied(JobFailed):
    """Terminal: the process of a followed job ended without a word."""


JobEvent = (
    JobStarted
    | PhaseChanged
    | StepCompleted
    | PreviewReady
    | MapReady
    | MetricsReady
    | CheckpointSaved
    | WarningRaised
    | JobFinished
    | JobCancelled
    | JobFailed
)
TERMINAL = (JobFinished, JobCancelled, JobFailed)

_CLASSES = {
    cls.__name__: cls
    for cls in (
        JobStarted,
        PhaseChanged,
        StepCompleted,
        PreviewReady,
        MapReady,
        MetricsReady,
        CheckpointSaved,
        WarningRaised,
        JobFinished,
        JobCancelled,
        JobFailed,
        ProcessDied,
    )
}


def event_to_json(event: JobEvent, folder: Path, *, write_arrays: bool = True) -> str:
    """One line of JSON. Arrays become files in ``<folder>/previews`` and are named in the line.

    Images (uint8, four axes) are written as one PNG strip, other arrays as ``.npy``.
    ``write_arrays=False`` names the files only, for a second reader of a recorded event.
    """
    data: dict[str, Any] = {"event": type(event).__name__}
    for item in fields(event):
        value = getattr(event, item.name)
        if isinstance(value, np.ndarray):
            stem = f"{getattr(event, 'step', 0):06d}-{item.name}"
            value = _array_reference(value, stem)
            if write_arrays:
                _write_array(getattr(event, item.name), folder / value["$array"])
        data[item.name] = value
    return json.dumps(data, default=_plain, ensure_ascii=False)


def event_from_json(line: str, folder: Path) -> JobEvent:
    """Read one line that `event_to_json` wrote.

    Raises
    ------
    DataFormatError : the line is no event, or a file that it names cannot be read.
    """
    try:
        data = json.loads(line, object_hook=lambda found: _restored(found, folder))
        return _CLASSES[data.pop("event")](**data)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise DataFormatError(
            folder, "events.jsonl", f"{line[:80]!r} is not an event ({error})"
        ) from error


def _plain(value: Any) -> Any:
    """JSON form of what JSON does not know; `_restored` is the inverse."""
    if isinstance(value, Path):
        return {"$path": str(value)}
    if isinstance(value, FlexPoseError):
        message = getattr(value, "message", str(value))
        return {"$error": type(value).__name__, "message": message, "hint": value.hint}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"an event holds a {type(value).__name__}")


def _restored(data: dict[str, Any], folder: Path) -> Any:
    if "$path" in data:
        return Path(data["$path"])
    if "$error" in data:
        return _restored_error(data)
    if "$array" in data:
        return _read_array(folder / data["$array"], data.get("count"))
    return data


def _restored_error(data: Mapping[str, str]) -> FlexPoseError:
    """Make the same class with the same words, without going through its own constructor."""
    cls = getattr(errors, data["$error"], JobFailedError)
    error: FlexPoseError = cls.__new__(cls)
    FlexPoseError.__init__(error, data["message"], data["hint"])
    return error


def _array_reference(array: NDArray[Any], stem: str) -> dict[str, Any]:
    if array.dtype == np.uint8 and array.ndim == 4 and array.size:
        return {"$array": f"previews/{stem}.png", "count": len(array)}
    return {"$array": f"previews/{stem}.npy"}


def _write_array(array: NDArray[Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
        return
    import cv2  # here, so that the commands without pictures start quickly

    strip = np.concatenate(list(array), axis=1)
    encoded = cv2.imencode(".png", cv2.cvtColor(strip, cv2.COLOR_RGB2BGR))[1]
    path.write_bytes(encoded.tobytes())  # cv2.imwrite fails on some non-ASCII paths


def _read_array(path: Path, count: int | None) -> NDArray[Any]:
    if count is None:
        return np.load(path, allow_pickle=False)
    import cv2

    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise OSError(f"{path.name} is not a complete PNG")
    return np.stack(np.split(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), count, axis=1))
