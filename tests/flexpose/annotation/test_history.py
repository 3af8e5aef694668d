"""Undo and redo hand back changes in order; a drag is one of them."""

from __future__ import annotations

import pytest

from flexpose.annotation.history import Change, Edit, History
from flexpose.annotation.label import FrameLabel, place

EMPTY = FrameLabel.empty(2)


def at(x):
    return place(EMPTY, 0, x, 0.0)


def change(before, after, words="move", frame="a.png"):
    return Change(words=words, edits=(Edit(frame=frame, before=before, after=after),))


@pytest.fixture
def history():
    return History()


def test_changes_come_back_in_reverse_order_and_forth_again(history):
    first, second = change(EMPTY, at(1)), change(at(1), at(2))
    history.record(first)
    history.record(second)
    assert [history.undo(), history.undo(), history.undo()] == [second, first, None]
    assert [history.redo(), history.redo(), history.redo()] == [first, second, None]


def test_a_new_change_ends_what_could_be_redone(history):
    history.record(change(EMPTY, at(1)))
    history.undo()
    new = change(EMPTY, at(5))
    history.record(new)
    assert history.redo() is None
    assert history.undo() is new


def test_the_moves_of_a_drag_are_one_entry(history):
    history.record(change(EMPTY, at(0), "place"))
    joined = [history.record(change(at(x), at(x + 1)), gesture=7) for x in range(4)]
    assert joined == [False, True, True, True]
    drag = history.undo()
    assert drag.frames == ("a.png",)
    assert drag.edits[0].before.equals(at(0)) and drag.edits[0].after.equals(at(4))
    assert history.undo().words == "place"


def test_another_gesture_is_another_entry(history):
    for gesture in ("first", "second", None, None):
        assert not history.record(change(EMPTY, at(1)), gesture)
    assert [history.undo() is None for _ in range(5)] == [False] * 4 + [True]


@pytest.mark.parametrize("step", ["undo", "redo"])
def test_after_undo_or_redo_the_same_gesture_begins_anew(history, step):
    history.record(change(EMPTY, at(1)), gesture=1)
    history.undo()
    if step == "redo":
        history.redo()
    assert not history.record(change(EMPTY, at(2)), gesture=1)


def test_a_drag_back_to_where_it_began_leaves_the_entry_before_it_last(history):
    first = change(EMPTY, at(0))
    history.record(first)
    history.record(change(at(0), at(1)), gesture=1)
    history.record(change(at(1), at(0)), gesture=1)
    history.record(change(at(0), at(3)), gesture=1)  # the button is still down
    assert history.undo().edits[0].before.equals(at(0))
    assert history.undo() is first


def test_a_drag_that_ends_where_it_began_is_no_entry(history):
    history.record(change(at(0), at(1)), gesture=1)
    history.record(change(at(1), at(0)), gesture=1)
    assert history.undo() is None


def test_frames_of_both_parts_are_in_a_joined_change():
    both = change(EMPTY, at(1), frame="a").followed_by(change(EMPTY, at(2), "later", frame="b"))
    assert (both.frames, both.words) == (("a", "b"), "later")


def test_the_words_are_those_of_what_undo_and_redo_would_hand_back(history):
    assert (history.undo_words, history.redo_words) == ("", "")
    history.record(change(EMPTY, at(0), "place"))
    for x in range(3):
        history.record(change(at(x), at(x + 1), "move"), gesture=7)
    assert (history.undo_words, history.redo_words) == ("move", "")
    history.undo()
    assert (history.undo_words, history.redo_words) == ("place", "move")
    history.record(change(at(0), at(9), "turn"))
    assert (history.undo_words, history.redo_words) == ("turn", "")


def test_a_reversed_change_takes_back():
    back = change(EMPTY, at(1), "place nose").reversed()
    assert back.words == "undo place nose"
    assert back.edits[0].before.equals(at(1)) and back.edits[0].after.equals(EMPTY)
