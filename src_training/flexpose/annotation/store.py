"""``project.json``: all that a label project knows, as text that people can read."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import numpy as np

from flexpose.annotation.label import ABSENT, OCCLUDED, VISIBLE, FrameLabel, Verdict
from flexpose.errors import DataFormatError
from flexpose.io.base import atomic_write_bytes, read_text
from flexpose.skeleton import Skeleton

PROJECT, BACKUP = "project.json", "project.json.bak"
FORMAT_VERSION = 1

_KEYS = {"joints", "suggested", "verdict", "reason", "as_is"}
_WORDS = {OCCLUDED: "occluded", VISIBLE: "visible"}
_FLOAT32_LIMIT = 2.0**128 - 2.0**103  # what is smaller rounds to a finite float32
_KINDS = {dict: "names with values", list: "a list", str: "a text", int: "a whole number"}
_SEE_BACKUP = f"Correct it there; {BACKUP} holds the state before the last save."


@dataclass(kw_only=True)
class ProjectState:
    """All that a project knows.

    Attributes
    ----------
    images : where the images are, relative to the project's folder, with forward slashes
    created, saved : when the project was made and last written
    work : names of the frames that are to be labelled, in this order
    labels : by frame name; frames about which nothing is known are left out
    number : changes made so far
    checksum : of the journal's line for the last change
    """

    skeleton: Skeleton
    images: str
    created: datetime
    saved: datetime
    work: tuple[str, ...] = ()
    labels: dict[str, FrameLabel] = field(default_factory=dict)
    number: int = 0
    checksum: str = "00000000"


def now() -> datetime:
    """The time, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


# ---------------------------------------------------------------- writing


def write_project(folder: Path, state: ProjectState) -> None:
    """Replace ``project.json``; what was there becomes ``project.json.bak``.

    Raises
    ------
    DataFormatError : the file cannot be written; the one before is whole.
    """
    skeleton = {key: json_text(value) for key, value in state.skeleton.to_dict().items()}
    labels = {
        frame: json_text(label_to_plain(label, state.skeleton))
        for frame, label in sorted(state.labels.items())
    }
    members = {
        "format_version": json_text(FORMAT_VERSION),
        "created": json_text(state.created.isoformat()),
        "saved": json_text(state.saved.isoformat()),
        "changes": json_text(state.number),
        "checksum": json_text(state.checksum),
        "images": json_text(state.images),
        "skeleton": _object(skeleton),
        "work": json_text(state.work),
        "labels": _object(labels),
    }
    atomic_write_bytes(folder / PROJECT, utf8(_object(members) + "\n"), backup=True)


def label_to_plain(label: FrameLabel, skeleton: Skeleton) -> dict[str, Any]:
    """A label with its joints by name; undecided joints are left out."""
    said: dict[str, Any] = {}
    for joint, state, (x, y) in zip(
        skeleton.joints, label.state.tolist(), label.points, strict=True
    ):
        if state == ABSENT:
            said[joint] = "absent"
        elif state in _WORDS:
            said[joint] = [_shortest(x), _shortest(y), _WORDS[state]]
    plain: dict[str, Any] = {"joints": said}
    if label.suggested.any():
        plain["suggested"] = [
            joint for joint, yes in zip(skeleton.joints, label.suggested, strict=True) if yes
        ]
    if label.verdict:
        plain["verdict"] = label.verdict
    if label.reason:
        plain["reason"] = label.reason
    if label.as_is:
        plain["as_is"] = label.as_is
    return plain


def json_text(value: Any) -> str:
    """JSON on one line."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def utf8(text: str) -> bytes:
    """JSON text as bytes."""
    # names of files that are no valid text hold lone surrogates; this is JSON's escape for them
    return text.encode("utf-8", "backslashreplace")


def _object(members: Mapping[str, str]) -> str:
    """A JSON object with one member a line."""
    return "{\n" + ",\n".join(f"{json_text(k)}: {text}" for k, text in members.items()) + "\n}"


def _shortest(value: np.float32) -> float:
    """The number with the fewest digits that is this float32 when read again."""
    short = float(str(value))
    return short if np.float32(short) == value else float(value)


def sync_folder(folder: Path) -> None:
    """Make the names of new files survive a power cut, where the system allows it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# ---------------------------------------------------------------- reading


def read_json(path: Path) -> dict[str, Any]:
    """What a file says, before it is looked at closely.

    Raises
    ------
    DataFormatError : the file cannot be read or is no JSON object.
    """
    try:
        return dict(_checked(json.loads(read_text(path)), dict, path, ""))
    except json.JSONDecodeError as error:
        raise DataFormatError(path, f"line {error.lineno}", f"is damaged ({error.msg})") from error


def state_from_plain(data: Mapping[str, Any], path: Path) -> ProjectState:
    """The project that ``path`` describes.

    Raises
    ------
    DataFormatError : something is missing, unknown, or of a newer version.
    """
    version = _member(data, "format_version", int, path)
    if version > FORMAT_VERSION:
        raise DataFormatError(
            path,
            "format_version",
            f"found {version}, written by a newer version; expected at most {FORMAT_VERSION}.",
            "Update napari-flexpose to open this project.",
        )
    try:
        skeleton = Skeleton.from_dict(_member(data, "skeleton", dict, path))
    except DataFormatError as error:
        raise DataFormatError(path, "skeleton", error.problem, _SEE_BACKUP) from error
    return ProjectState(
        skeleton=skeleton,
        images=_member(data, "images", str, path),
        created=_time(data, "created", path),
        saved=_time(data, "saved", path),
        work=tuple(map(str, _member(data, "work", list, path))),
        labels={
            frame: label_from_plain(plain, skeleton, path, frame)
            for frame, plain in _member(data, "labels", dict, path).items()
        },
        number=_member(data, "changes", int, path),
        checksum=_member(data, "checksum", str, path),
    )


def label_from_plain(plain: Any, skeleton: Skeleton, path: Path, frame: str) -> FrameLabel:
    """The inverse of ``label_to_plain``.

    Raises
    ------
    DataFormatError : a joint, a state or a key is unknown, or a position is not a number.
    """
    where = f"frame {frame!r}"
    empty = FrameLabel.empty(skeleton.num_joints)
    points, state, suggested = empty.points.copy(), empty.state.copy(), empty.suggested.copy()
    unknown = set(_checked(plain, dict, path, where)) - _KEYS
    if unknown:
        raise DataFormatError(path, where, f"unknown key {min(unknown)!r}.", _SEE_BACKUP)
    for joint, said in _checked(plain.get("joints", {}), dict, path, where).items():
        row = _row(joint, skeleton, path, where)
        state[row], points[row] = _joint_from_plain(said, path, f"{where}, joint {joint}")
    for joint in _checked(plain.get("suggested", []), list, path, where):
        suggested[_row(joint, skeleton, path, where)] = True
    verdict = plain.get("verdict", "")
    if verdict not in get_args(Verdict):
        raise DataFormatError(path, where, f"the verdict {verdict!r} is unknown.", _SEE_BACKUP)
    reason = _checked(plain.get("reason", ""), str, path, where)
    as_is = _checked(plain.get("as_is", []), list, path, where)
    return FrameLabel(
        points=points,
        state=state,
        suggested=suggested,
        verdict=verdict,
        reason=reason,
        as_is=tuple(_checked(finding, str, path, where) for finding in as_is),
    )


def _joint_from_plain(said: Any, path: Path, where: str) -> tuple[int, tuple[float, float]]:
    """State and position of one joint."""
    if said == "absent":
        return ABSENT, (np.nan, np.nan)
    if isinstance(said, list) and len(said) == 3:
        x, y, word = said
        numbers = all(type(v) in (int, float) and abs(v) < _FLOAT32_LIMIT for v in (x, y))
        for state, known in _WORDS.items():
            if numbers and word == known:
                return state, (x, y)
    expected = '"absent", [x, y, "visible"] or [x, y, "occluded"]'
    raise DataFormatError(path, where, f"found {said!r}, expected {expected}.", _SEE_BACKUP)


def _row(joint: Any, skeleton: Skeleton, path: Path, where: str) -> int:
    if joint not in skeleton.joints:
        problem = f"{joint!r} is not a joint of {skeleton.name}."
        raise DataFormatError(path, where, problem, _SEE_BACKUP)
    return skeleton.joints.index(joint)


def _time(data: Mapping[str, Any], key: str, path: Path) -> datetime:
    text = _member(data, key, str, path)
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise DataFormatError(path, key, f"{text!r} is not a time.", _SEE_BACKUP) from error


def _member(data: Mapping[str, Any], key: str, kind: type, path: Path) -> Any:
    return _checked(data.get(key), kind, path, key)


def _checked(value: Any, kind: type, path: Path, where: str) -> Any:
    if type(value) is not kind:
        found = "nothing" if value is None else repr(value)
        raise DataFormatError(path, where, f"found {found}, expected {_KINDS[kind]}.", _SEE_BACKUP)
    return value
