"""What the files of a project say together, and what of it the last session had not saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from flexpose.annotation.history import Change, Edit
from flexpose.annotation.journal import (
    JOURNAL,
    MOVE_AWAY,
    JournalLine,
    apply,
    read_journal,
    update_of,
)
from flexpose.annotation.label import FrameLabel
from flexpose.annotation.store import BACKUP, PROJECT, ProjectState, read_json, state_from_plain
from flexpose.errors import DataFormatError


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What the files of a project say.

    Attributes
    ----------
    saved : the state as saved last
    state : the same after the changes that followed
    replayed : these changes
    journal : all whole lines of the journal
    damaged : whether ``project.json`` was no help and ``saved`` is ``project.json.bak``
    """

    saved: ProjectState
    state: ProjectState
    replayed: list[JournalLine]
    journal: list[JournalLine]
    damaged: bool

    def difference(self, words: str) -> Change:
        """From the saved state to the present one."""
        before, after = self.saved, self.state
        edits = tuple(
            Edit(
                frame=frame,
                before=before.labels.get(frame, FrameLabel.empty(before.skeleton.num_joints)),
                after=after.labels.get(frame, FrameLabel.empty(after.skeleton.num_joints)),
            )
            for frame in sorted(before.labels.keys() | after.labels.keys())
        )
        same = before.skeleton == after.skeleton
        return Change(
            words=words,
            edits=tuple(edit for edit in edits if not edit.before.equals(edit.after)),
            skeletons=None if same else (before.skeleton, after.skeleton),
        )


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What the last session had not saved when it ended.

    Attributes
    ----------
    edits : number of gestures
    last : when the last of them was made
    from_backup : whether ``project.json`` was damaged and its backup took its place; the damaged
        file is kept as ``project.json.damaged``
    """

    edits: int
    last: datetime
    from_backup: bool

    @property
    def words(self) -> str:
        """The same for people, in their own time."""
        last, noun = self.last.astimezone(), "edit" if self.edits == 1 else "edits"
        today = last.date() == datetime.now().astimezone().date()
        told = (
            f"{self.edits} {noun} from {last:{'%H:%M' if today else '%Y-%m-%d %H:%M'}} recovered."
        )
        if self.from_backup:
            told += " project.json was damaged; its backup and the journal have replaced it."
        return told


def read_contents(folder: Path) -> Contents:
    """Read a project; changes no file.

    Raises
    ------
    DataFormatError : a file is damaged, of a newer version, or cannot be read.
    """
    # the journal first: what another window saves in between is in project.json then
    lines = read_journal(folder / JOURNAL)
    source, damaged = folder / PROJECT, False
    try:
        data = read_json(source)
    except DataFormatError as damage:
        source, damaged = folder / BACKUP, True
        data = _backup(source, lines, damage)
    saved = state_from_plain(data, source)
    state = replace(saved, labels=dict(saved.labels))
    replayed = _replay(state, lines, folder / JOURNAL)
    return Contents(saved=saved, state=state, replayed=replayed, journal=lines, damaged=damaged)


def _replay(state: ProjectState, lines: Sequence[JournalLine], path: Path) -> list[JournalLine]:
    """Make the changes that ``state`` lacks; which these are."""
    made = []
    for line in lines:
        here = (state.number, state.checksum)
        if line.number < state.number or (line.number, line.checksum) == here:
            continue
        if (line.number - 1, line.after) != here:
            raise DataFormatError(
                path,
                f"change {line.number}",
                f"does not follow change {state.number} of the saved project.",
                MOVE_AWAY,
            )
        apply(state, line, update_of(line, state, path))
        made.append(line)
    return made


def _backup(path: Path, lines: Sequence[JournalLine], damage: DataFormatError) -> dict[str, Any]:
    """The backup, if the journal proves to lead from there to the last change."""
    try:
        data = read_json(path)
    except DataFormatError:
        hint = f"{BACKUP} is missing or damaged too; look for a copy of your own."
        raise DataFormatError(damage.path, damage.where, damage.problem, hint) from damage
    here = (data.get("changes"), data.get("checksum"))
    if here not in [(line.number - 1, line.after) for line in lines]:
        hint = (
            f"Rename {BACKUP} to {PROJECT} to go back to the labels of {data.get('saved')}; later "
            "changes would be missing."
        )
        raise DataFormatError(damage.path, damage.where, damage.problem, hint) from damage
    return data
