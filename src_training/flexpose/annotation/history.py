"""What can be undone: one entry a gesture, for as long as the project is open."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

from flexpose.annotation.label import FrameLabel
from flexpose.skeleton import Skeleton


@dataclass(frozen=True, kw_only=True, eq=False)
class Edit:
    """One frame's label before and after."""

    frame: str
    before: FrameLabel
    after: FrameLabel


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """What one gesture did.

    Attributes
    ----------
    words : what was done, as in "place left_elbow" or "accept 12 suggestions"
    edits : the frames it touched, each once
    skeletons : the skeleton before and after, None when it stayed the same
    """

    words: str
    edits: tuple[Edit, ...]
    skeletons: tuple[Skeleton, Skeleton] | None = None

    @property
    def frames(self) -> tuple[str, ...]:
        """Names of the frames it touched."""
        return tuple(edit.frame for edit in self.edits)

    def reversed(self) -> Change:
        """The change that takes this one back."""
        return Change(
            words=f"undo {self.words}",
            edits=tuple(replace(e, before=e.after, after=e.before) for e in self.edits),
            skeletons=None if self.skeletons is None else (self.skeletons[1], self.skeletons[0]),
        )

    def followed_by(self, later: Change) -> Change:
        """Both as one change, without the frames that are back where they were."""
        merged = {edit.frame: edit for edit in self.edits}
        for edit in later.edits:
            first = merged.get(edit.frame, edit)
            merged[edit.frame] = replace(edit, before=first.before)
        edits = tuple(edit for edit in merged.values() if not edit.before.equals(edit.after))
        return replace(later, edits=edits)


class History:
    """Changes that can be undone and redone, without limit. It applies nothing itself."""

    def __init__(self) -> None:
        self._done: list[Change] = []
        self._undone: list[Change] = []
        self._gesture: Hashable = None

    def record(self, change: Change, gesture: Hashable = None) -> bool:
        """Remember a change that was just made; what had been undone is gone.

        Parameters
        ----------
        gesture : consecutive changes of the same gesture, such as the moves of a drag, are one
            entry; None joins nothing

        Returns
        -------
        whether the change was joined to the one before
        """
        joined = gesture is not None and gesture == self._gesture
        if joined:
            change = self._done.pop().followed_by(change)
        self._undone.clear()
        self._gesture = gesture
        if change.edits or change.skeletons:
            self._done.append(change)
        else:  # a drag that came back to where it began
            self._gesture = None
        return joined

    def undo(self) -> Change | None:
        """The last change, whose "before" is to be restored; None when there is none."""
        return self._take(self._done, self._undone)

    def redo(self) -> Change | None:
        """The change undone last, whose "after" is to be restored; None when there is none."""
        return self._take(self._undone, self._done)

    @property
    def undo_words(self) -> str:
        """Words of the change that ``undo`` would hand back; empty when there is none."""
        return self._done[-1].words if self._done else ""

    @property
    def redo_words(self) -> str:
        """Words of the change that ``redo`` would hand back; empty when there is none."""
        return self._undone[-1].words if self._undone else ""

    def _take(self, source: list[Change], target: list[Change]) -> Change | None:
        self._gesture = None
        if not source:
            return None
        target.append(source.pop())
        return target[-1]
