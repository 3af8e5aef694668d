"""Every shortcut, as data: what binds keys, what the cheat sheet and the docs show.

Names of keys are napari's. ``action`` is a method of `FlexPoseSession`, of the view for what only
concerns the screen, of `Reviewer` for what concerns suggestions, or of `Placing` for what concerns
many joints at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Shortcut:
    """One key.

    Attributes
    ----------
    key : napari's name
    action : method that it calls
    words : what it does, for people
    group : heading of the cheat sheet
    arguments : for the method
    of : whose method it is: the session's, the view's (`PoseLayers`), the reviewer's or placing's
    """

    key: str
    action: str
    words: str
    group: str
    arguments: dict[str, Any] = field(default_factory=dict)
    of: Literal["session", "view", "review", "placing"] = "session"


_JOINT, _POSE, _FRAME, _REVIEW = "Joint", "Whole pose", "Frames", "Suggestions"
_VIEW, _WORK = "View", "Save and undo"

SHORTCUTS = (
    Shortcut("Down", "next_joint", "Next joint", _JOINT),
    Shortcut("Up", "previous_joint", "Previous joint", _JOINT),
    Shortcut("O", "toggle_occluded", "Occluded on or off", _JOINT),
    Shortcut("X", "mark_absent", "Not in the image, next joint", _JOINT),
    Shortcut("Delete", "clear_joint", "Undecided again", _JOINT),
    Shortcut("Backspace", "clear_joint", "Undecided again", _JOINT),
    Shortcut("Shift-G", "take_suggestion", "Take its suggestion, next suggested joint", _JOINT),
    Shortcut(
        "Escape", "let_go", "Take drag or click back; else first undecided", _JOINT, of="view"
    ),
    Shortcut("Q", "next_mode", "Clicking mode: sequential, quick, loop", _JOINT),
    Shortcut("T", "place_template", "Place the whole template", _POSE),
    Shortcut(
        "Shift-T", "place_by_clicks", "Place the template by a few clicks", _POSE, of="placing"
    ),
    Shortcut("C", "copy_last_pose", "Copy the pose labelled last", _POSE),
    Shortcut("Shift-C", "toggle_contours", "Move contours, or single joints", _POSE, of="placing"),
    Shortcut("G", "take_suggestions", "Take all suggestions of the frame", _POSE),
    Shortcut("M", "mirror", "Mirror, sides exchanged", _POSE),
    Shortcut("W", "swap_sides", "Exchange left and right names", _POSE),
    Shortcut("[", "rotate", "Turn left", _POSE, {"degrees": -5.0}),
    Shortcut("]", "rotate", "Turn right", _POSE, {"degrees": 5.0}),
    Shortcut("-", "scale", "Smaller", _POSE, {"factor": 1 / 1.05}),
    Shortcut("=", "scale", "Larger", _POSE, {"factor": 1.05}),
    Shortcut("Shift-Left", "nudge", "Move left 1 px", _POSE, {"dx": -1.0}),
    Shortcut("Shift-Right", "nudge", "Move right 1 px", _POSE, {"dx": 1.0}),
    Shortcut("Shift-Up", "nudge", "Move up 1 px", _POSE, {"dy": -1.0}),
    Shortcut("Shift-Down", "nudge", "Move down 1 px", _POSE, {"dy": 1.0}),
    Shortcut("Control-Shift-Left", "nudge", "Move left 10 px", _POSE, {"dx": -10.0}),
    Shortcut("Control-Shift-Right", "nudge", "Move right 10 px", _POSE, {"dx": 10.0}),
    Shortcut("Control-Shift-Up", "nudge", "Move up 10 px", _POSE, {"dy": -10.0}),
    Shortcut("Control-Shift-Down", "nudge", "Move down 10 px", _POSE, {"dy": 10.0}),
    Shortcut("Control-C", "copy_pose", "Copy this pose", _POSE),
    Shortcut("Control-V", "paste_pose", "Paste the copied pose", _POSE),
    Shortcut("Enter", "accept", "Accept the frame, next in the list", _FRAME),
    Shortcut("R", "reject", "Reject the frame, next in the list", _FRAME),
    Shortcut("I", "no_pose", "No pose here, next in the list", _FRAME),
    Shortcut("Right", "next_frame", "Next frame", _FRAME),
    Shortcut("Left", "previous_frame", "Previous frame", _FRAME),
    Shortcut("PageDown", "next_in_list", "Next in the list", _FRAME),
    Shortcut("PageUp", "previous_in_list", "Previous in the list", _FRAME),
    Shortcut("Home", "first_in_list", "First in the list", _FRAME),
    Shortcut("End", "last_in_list", "Last in the list", _FRAME),
    Shortcut("N", "next_incomplete", "Next frame that is not complete", _FRAME),
    Shortcut("Shift-N", "previous_incomplete", "Previous frame that is not complete", _FRAME),
    Shortcut("L", "last_edited", "Frame edited last", _FRAME),
    Shortcut("D", "remove_suggestion", "Remove the suggestion, next", _REVIEW, of="review"),
    Shortcut("K", "following", "Next suggestion, this one stays", _REVIEW, of="review"),
    Shortcut("J", "preceding", "Suggestion before", _REVIEW, of="review"),
    Shortcut("Shift-W", "carry_sides", "Sides as here, along the clip", _REVIEW, of="review"),
    Shortcut("B", "ask_for_many", "Preview of accepting many", _REVIEW, of="review"),
    Shortcut("F", "fit_to_pose", "Zoom to the pose", _VIEW, of="view"),
    Shortcut("Shift-F", "toggle_keep_fitting", "Keep zooming to the pose", _VIEW, of="view"),
    Shortcut("H", "hold_to_hide", "Hide the skeleton while held", _VIEW, of="view"),
    Shortcut("E", "toggle_colours", "Colours tell sides or states", _VIEW, of="view"),
    Shortcut("F1", "show_help", "All shortcuts", _VIEW, of="view"),
    Shortcut("Control-Z", "undo", "Undo", _WORK),
    Shortcut("Control-Shift-Z", "redo", "Redo", _WORK),
    Shortcut("Control-Shift-S", "save", "Save now", _WORK),
)

BOX = ("Ctrl+drag", "Place the template into a box")
POINTER = (
    ("Click", "Place the current joint, go to the next"),
    ("Drag", "Move a joint, or a contour"),
    ("Shift+drag", "Move the whole pose"),
    BOX,
    ("Wheel", "Zoom"),
)
"""What the mouse does; not bound from here, shown beside the keys."""

BLOCKED = ("1", "5")
"""Keys of napari's that would delete points or move the layer: without effect on our layer."""


def shown(key: str) -> str:
    """A key's name for people: ``Ctrl+Shift+Z``."""
    names = {"Control": "Ctrl", "PageDown": "Page down", "PageUp": "Page up"}
    parts = key.split("-") if len(key) > 1 else [key]
    return "+".join(names.get(part, part) for part in parts)


def key_of(action: str) -> str:
    """The first key of an action for people, empty when it has none."""
    return next((shown(s.key) for s in SHORTCUTS if s.action == action), "")


def tip(action: str, words: str = "") -> str:
    """What a button says when the mouse rests on it: what it does, and its first key.

    ``words`` stands for an action that has no key.
    """
    found = next((s for s in SHORTCUTS if s.action == action), None)
    if found is None:
        return words
    return f"{words or found.words} ({shown(found.key)})"


def help_rows() -> list[tuple[str, list[tuple[str, str]]]]:
    """Groups of (keys, words) for the cheat sheet and the docs; keys of one action together."""
    groups: dict[str, dict[str, list[str]]] = {"Mouse": {words: [key] for key, words in POINTER}}
    for shortcut in SHORTCUTS:
        keys, words = shown(shortcut.key), shortcut.words
        if shortcut.action == "nudge":  # four directions are one row
            keys = f"{keys.rpartition('+')[0]}+arrows"
            words = f"Move by {abs(sum(shortcut.arguments.values())):g} px"
        row = groups.setdefault(shortcut.group, {}).setdefault(words, [])
        if keys not in row:
            row.append(keys)
    return [
        (group, [(" or ".join(keys), words) for words, keys in rows.items()])
        for group, rows in groups.items()
    ]
