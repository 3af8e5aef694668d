from __future__ import annotations

import pytest

from napari_flexpose.keymap import BLOCKED, SHORTCUTS, help_rows, key_of, shown, tip
from napari_flexpose.placing import Placing
from napari_flexpose.review import Reviewer
from napari_flexpose.session import FlexPoseSession

TAKEN_BY_NAPARI = {"Control-Y", "Control-S", "Control-M", "Control-W", "Control-O", "Control-Q"}


def test_no_key_does_two_things():
    keys = [shortcut.key for shortcut in SHORTCUTS]
    assert len({*keys, *BLOCKED}) == len(keys) + len(BLOCKED)
    assert not {*keys} & TAKEN_BY_NAPARI


@pytest.mark.parametrize("shortcut", SHORTCUTS, ids=lambda s: s.key)
def test_every_key_has_its_action(shortcut):
    owners = {"session": FlexPoseSession, "review": Reviewer, "placing": Placing}
    if shortcut.of == "view":
        owners["view"] = pytest.importorskip("napari_flexpose.layers").PoseLayers
    assert callable(getattr(owners[shortcut.of], shortcut.action))


def test_an_action_means_one_thing():
    """Tooltips find a key by the action's name alone."""
    owners = {(shortcut.action, shortcut.of) for shortcut in SHORTCUTS}
    assert len(owners) == len({action for action, _ in owners})


def test_keys_have_names_for_people():
    assert shown("Control-Shift-Z") == "Ctrl+Shift+Z"
    assert shown("-") == "-"
    assert shown("PageDown") == "Page down"
    assert key_of("undo") == "Ctrl+Z"
    assert tip("undo") == "Undo (Ctrl+Z)"
    assert tip("undo", "Undo: move neck") == "Undo: move neck (Ctrl+Z)"
    assert tip("clear_pose", "Clear the pose") == "Clear the pose"


def test_the_cheat_sheet_names_every_key_once():
    listed = [key for _, rows in help_rows() for keys, _ in rows for key in keys.split(" or ")]
    assert {"Shift+arrows", "Ctrl+Shift+arrows"} <= set(listed)
    arrows = {shortcut.key for shortcut in SHORTCUTS if shortcut.action == "nudge"}
    assert set(listed) >= {shown(s.key) for s in SHORTCUTS if s.key not in arrows}
    assert len(listed) == len(set(listed))
