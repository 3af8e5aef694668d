"""``journal.jsonl``: the changes since ``project.json.bak``, one a line.

Each line is numbered and names the checksum of the one before. What counts is ``project.json`` and
those lines that follow it. So any mixture of old and new files, as a crash in the middle of saving
leaves it, reads the same, and the backup can stand in for a damaged ``project.json``.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from flexpose.annotation.label import FrameLabel
from flexpose.annotation.store import (
    ProjectState,
    json_text,
    label_from_plain,
    label_to_plain,
    now,
    utf8,
)
from flexpose.errors import DataFormatError
from flexpose.io.base import atomic_write_bytes
from flexpose.skeleton import Skeleton

JOURNAL = "journal.jsonl"

MOVE_AWAY = (
    f"Move {JOURNAL} out of the project to open it as it was saved last, and keep the file: it "
    "holds the changes made after that."
)


@dataclass(frozen=True, kw_only=True)
class Update:
    """What a change sets; None leaves a thing as it is.

    Attributes
    ----------
    labels : by frame name, in the joints of ``skeleton`` if that is given
    """

    labels: Mapping[str, FrameLabel] = field(default_factory=dict)
    skeleton: Skeleton | None = None
    work: tuple[str, ...] | None = None
    images: str | None = None


@dataclass(frozen=True, kw_only=True)
class JournalLine:
    """One line of the journal.

    Attributes
    ----------
    text : the line
    data : what it says, plain
    checksum : of this line
    """

    text: bytes
    data: Mapping[str, Any]
    checksum: str

    @property
    def number(self) -> int:
        """Of the change, counted from 1."""
        return int(self.data["change"])

    @property
    def after(self) -> str:
        """Checksum of the line before."""
        return str(self.data["after"])

    @property
    def made(self) -> datetime:
        """When the change was made."""
        return datetime.fromisoformat(self.data["made"])

    @property
    def continued(self) -> bool:
        """Whether the change belongs to the same gesture as the one before."""
        return bool(self.data["continued"])


def journal_line(state: ProjectState, update: Update, words: str, continued: bool) -> JournalLine:
    """The line for a change of ``state`` that is still to be made; see ``apply``."""
    skeleton = update.skeleton
    data = {
        "change": state.number + 1,
        "after": state.checksum,
        "made": now().isoformat(),
        "words": words,
        "continued": continued,
        "skeleton": None if skeleton is None else skeleton.to_dict(),
        "work": update.work,
        "images": update.images,
        "labels": {
            frame: label_to_plain(label, skeleton or state.skeleton)
            for frame, label in update.labels.items()
        },
    }
    data = {key: value for key, value in data.items() if value is not None}
    body = utf8(json_text(data))[:-1]
    checksum = _checksum(body)
    return JournalLine(text=body + _ending(checksum), data=data, checksum=checksum)


def update_of(line: JournalLine, state: ProjectState, path: Path) -> Update:
    """What a line of the journal ``path`` sets, when ``state`` is what was before."""
    data = line.data
    skeleton = Skeleton.from_dict(data["skeleton"], path) if "skeleton" in data else None
    return Update(
        labels={
            frame: label_from_plain(plain, skeleton or state.skeleton, path, frame)
            for frame, plain in data["labels"].items()
        },
        skeleton=skeleton,
        work=tuple(data["work"]) if "work" in data else None,
        images=data.get("images"),
    )


def apply(state: ProjectState, line: JournalLine, update: Update) -> None:
    """Make the change that a line describes."""
    state.number, state.checksum = line.number, line.checksum
    state.skeleton = state.skeleton if update.skeleton is None else update.skeleton
    state.work = state.work if update.work is None else update.work
    state.images = state.images if update.images is None else update.images
    nothing = FrameLabel.empty(state.skeleton.num_joints)
    for frame, label in update.labels.items():
        if label.equals(nothing):
            state.labels.pop(frame, None)
        else:
            state.labels[frame] = label


class Journal:
    """The journal on disk, and the same lines in memory.

    A line that could not be written is written with the next one.
    """

    def __init__(self, path: Path, lines: Sequence[JournalLine]) -> None:
        self._path = path
        self._lines = list(lines)
        self._length = sum(len(line.text) for line in lines)  # of the file as it should be

    def append(self, line: JournalLine) -> None:
        """Add a line; it is on the disk when this returns.

        Raises
        ------
        DataFormatError : the file cannot be written.
        """
        self._lines.append(line)
        expected, self._length = self._length, -1  # until all is known to be on the disk
        try:
            with self._path.open("ab") as file:
                whole = file.tell() == expected
                if whole:
                    file.write(line.text)
                    file.flush()
                    os.fsync(file.fileno())
                    self._length = file.tell()
        except OSError as error:
            problem = f"cannot be written ({error.strerror or error})."
            raise DataFormatError(self._path, "", problem) from error
        if not whole:  # a former line is missing, or there only in part
            self._rewrite()

    def forget(self, number: int) -> None:
        """Drop the changes up to a number; after an error they are there still, and ignored.

        Raises
        ------
        DataFormatError : the file cannot be written.
        """
        self._lines = [line for line in self._lines if line.number > number]
        self._rewrite()

    def _rewrite(self) -> None:
        text = b"".join(line.text for line in self._lines)
        self._length = -1
        atomic_write_bytes(self._path, text)
        self._length = len(text)


def read_journal(path: Path) -> list[JournalLine]:
    """All whole lines; one torn by a crash can only be the last, and is left out.

    Raises
    ------
    DataFormatError : the file cannot be read, or a line before the last is damaged.
    """
    try:
        texts = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DataFormatError(path, "", f"cannot be read ({error.strerror or error}).") from error
    lines = []
    for position, text in enumerate(texts, start=1):
        body = text[: -len(_ending(_checksum(b"")))]
        checksum = _checksum(body)
        if text == body + _ending(checksum):
            lines.append(JournalLine(text=text, data=json.loads(body + b"}"), checksum=checksum))
        elif position < len(texts):
            raise DataFormatError(path, f"line {position}", "is damaged.", MOVE_AWAY)
    return lines


def _checksum(body: bytes) -> str:
    return f"{zlib.crc32(body):08x}"


def _ending(checksum: str) -> bytes:
    return f', "checksum": "{checksum}"}}\n'.encode()
