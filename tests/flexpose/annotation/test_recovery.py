"""No label is lost: in a crash, with damaged files, on a full disk, in any sequence of steps."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexpose.annotation import label as edits
from flexpose.annotation.label import FrameLabel
from flexpose.annotation.project import AnnotationProject
from flexpose.annotation.recovery import Recovered
from flexpose.errors import DataFormatError

from .conftest import BIRD, LONGER, SHORTER, assert_same, crashed, full_disk, labels_in, put

# ---------------------------------------------------------------- after a crash


def test_unsaved_edits_are_recovered_and_told(project, folder):
    put(project, 1)
    project.save()
    for x in (2, 3, 4):
        put(project, x, gesture="drag")
    put(project, 9, "b.png")
    again = AnnotationProject.open(crashed(folder))
    assert again.recovered.edits == 2 and not again.recovered.from_backup
    assert abs(again.recovered.last - datetime.now(UTC)) < timedelta(minutes=1)
    assert again.unsaved
    assert_same(labels_in(again), labels_in(project))


def test_recovered_edits_can_be_discarded_and_taken_back(project, folder):
    put(project, 1)
    project.save()
    put(project, 2)
    put(project, 3, "b.png")
    again = AnnotationProject.open(crashed(folder))
    again.undo()
    assert again.label("a.png").points[0, 0] == 1 and again.names_with_labels == ("a.png",)
    again.redo()
    assert_same(labels_in(again), labels_in(project))


def test_recovered_words_name_count_and_time():
    at = datetime.now().astimezone().replace(hour=15, minute=2)
    assert Recovered(edits=14, last=at, from_backup=False).words == "14 edits from 15:02 recovered."
    old = at.replace(year=2020, month=5, day=6)
    words = Recovered(edits=1, last=old, from_backup=True).words
    assert words.startswith("1 edit from 2020-05-06 15:02 recovered. project.json was damaged")


@pytest.mark.parametrize("lost", [1, 20, "newline", "zeros"])
def test_a_torn_last_line_is_dropped_and_written_over(project, folder, lost):
    put(project, 1)
    put(project, 2)
    copy = crashed(folder)
    journal = copy / "journal.jsonl"
    whole = journal.read_bytes()
    if isinstance(lost, int):
        journal.write_bytes(whole[:-lost])
    elif lost == "newline":
        journal.write_bytes(whole[:-30] + b"\n")
    else:
        journal.write_bytes(whole[:-100] + bytes(100))
    again = AnnotationProject.open(copy)
    assert again.label("a.png").points[0, 0] == 1 and again.recovered.edits == 1
    put(again, 5)
    assert AnnotationProject.open(crashed(copy)).label("a.png").points[0, 0] == 5


def test_files_that_a_killed_save_left_behind_are_removed(project, folder):
    copy = crashed(folder)
    (copy / ".0123456789abcdef.tmp").write_text("half")
    AnnotationProject.open(copy)
    assert not list(copy.glob(".*"))


# ---------------------------------------------------------------- damage


def test_a_journal_damaged_in_the_middle_stops_opening_and_stays(project, folder):
    for x in (1, 2, 3):
        put(project, x)
    copy = crashed(folder)
    journal = copy / "journal.jsonl"
    text = journal.read_bytes().replace(b'"x 2"', b'"x 7"')
    journal.write_bytes(text)
    with pytest.raises(DataFormatError, match="line 2: is damaged") as told:
        AnnotationProject.open(copy)
    assert "Move journal.jsonl out of the project" in told.value.hint
    assert journal.read_bytes() == text
    journal.rename(copy / "kept")
    assert AnnotationProject.open(copy).names_with_labels == ()


def test_a_journal_of_another_past_is_not_applied(project, folder):
    put(project, 1)
    project.save()
    other = AnnotationProject.open(crashed(folder))
    for each, x in ((project, 2), (other, 3)):
        put(each, x)
        each.save()
        put(each, x + 10)
    copy = crashed(folder)
    shutil.copy(other.folder / "project.json", copy)
    with pytest.raises(DataFormatError, match="change 2: does not follow change 2"):
        AnnotationProject.open(copy)


@pytest.mark.parametrize("damage", [b"", b'{"format_version": 1, "sav', b"\xff\xfe", b"[]", None])
@pytest.mark.parametrize("saves", [0, 1, 2])
def test_a_damaged_file_is_replaced_by_backup_and_journal(project, folder, damage, saves):
    for x in range(saves + 1):
        put(project, x)
        put(project, x, f"{x}.png")
        if x < saves:
            project.save()
    expected = labels_in(project)
    copy = crashed(folder)
    if damage is None:
        (copy / "project.json").unlink()
    else:
        (copy / "project.json").write_bytes(damage)
    twice = shutil.copytree(copy, copy.with_name("twice.flexpose"))
    again = AnnotationProject.open(copy)
    assert_same(labels_in(again), expected)
    assert again.recovered.from_backup
    if damage is not None:
        assert (copy / "project.json.damaged").read_bytes() == damage
    # a crash before the next save, and one after it
    assert_same(labels_in(AnnotationProject.open(crashed(copy))), expected)
    put(again, 77, "late.png")
    again.close()
    assert "late.png" in labels_in(AnnotationProject.open(copy))
    # a damaged file never becomes the backup
    (copy / "project.json").unlink()
    (copy / "project.json").write_bytes(b"{")
    assert "late.png" in labels_in(AnnotationProject.open(crashed(copy)))
    assert_same(labels_in(AnnotationProject.open(twice)), expected)


def test_a_backup_that_may_miss_changes_is_not_taken_silently(project, folder):
    put(project, 1)
    project.save()
    put(project, 2)
    project.save()
    copy = crashed(folder)
    (copy / "project.json").write_bytes(b"{")
    (copy / "journal.jsonl").unlink()
    with pytest.raises(DataFormatError, match=r"project.json, line 1: is damaged") as told:
        AnnotationProject.open(copy)
    assert told.value.hint.startswith("Rename project.json.bak to project.json to go back")
    assert (copy / "project.json").read_bytes() == b"{"
    os.replace(copy / "project.json.bak", copy / "project.json")
    assert AnnotationProject.open(copy).label("a.png").points[0, 0] == 1


def test_without_a_good_backup_the_error_says_so(project, folder):
    copy = crashed(folder)
    for name in ("project.json", "project.json.bak"):
        (copy / name).write_bytes(b"{")
    with pytest.raises(DataFormatError, match="missing or damaged too"):
        AnnotationProject.open(copy)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format_version": 2}, "found 2, written by a newer version; expected at most 1"),
        ({"format_version": "1"}, "format_version: found '1', expected a whole number"),
        ({"skeleton": {"name": "x", "edges": []}}, "skeleton: the key 'joints' is missing"),
        ({"skeleton": None}, "skeleton: found nothing"),
        ({"labels": []}, "labels: found"),
        ({"saved": "yesterday"}, "saved: 'yesterday' is not a time"),
        ({"labels": {"a": 5}}, "frame 'a': found 5, expected names with values"),
        ({"labels": {"a": {"joint": {}}}}, "unknown key 'joint'"),
        ({"labels": {"a": {"joints": {"leg": "absent"}}}}, "'leg' is not a joint of bird"),
        ({"labels": {"a": {"joints": {"beak": [1, 2]}}}}, r"joint beak: found \[1, 2\], expected"),
        ({"labels": {"a": {"joints": {"beak": [1, None, "visible"]}}}}, "joint beak: found"),
        ({"labels": {"a": {"joints": {"beak": [1, 1e39, "visible"]}}}}, "joint beak: found"),
        ({"labels": {"a": {"joints": {"beak": [1, 2, "seen"]}}}}, "joint beak: found"),
        ({"labels": {"a": {"suggested": "beak"}}}, "expected a list"),
        ({"labels": {"a": {"verdict": "fine"}}}, "the verdict 'fine' is unknown"),
        ({"labels": {"a": {"reason": 3}}}, "expected a text"),
    ],
)
def test_a_file_that_says_something_strange_is_refused_and_left(project, folder, change, told):
    copy = crashed(folder)
    file = copy / "project.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    before = file.read_bytes()
    with pytest.raises(DataFormatError, match=told) as error:
        AnnotationProject.open(copy)
    assert error.value.hint and file.read_bytes() == before
    shutil.copy(copy / "project.json.bak", file)
    assert not AnnotationProject.open(copy).read_only  # the lock was given back


# ---------------------------------------------------------------- a full disk


def test_on_a_full_disk_edits_stay_in_memory_and_are_written_later(project, folder, monkeypatch):
    put(project, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        put(project, 2)
        put(project, 3, "b.png")
        assert "in memory only" in project.trouble and "No space left" in project.trouble
        with pytest.raises(DataFormatError, match="cannot be written"):
            project.save()
        with pytest.raises(DataFormatError, match="cannot be written"):
            project.close()
        assert project.label("a.png").points[0, 0] == 2 and project.unsaved
    put(project, 4, "c.png")
    assert not project.trouble
    assert_same(labels_in(AnnotationProject.open(crashed(folder))), labels_in(project))


def test_saving_ends_the_trouble_of_a_full_disk(project, folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        put(project, 2)
    project.save()
    assert not project.trouble and not project.unsaved
    put(project, 3)
    assert_same(labels_in(AnnotationProject.open(crashed(folder))), labels_in(project))


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are Unix's")
def test_a_line_cut_off_by_a_full_disk_is_written_whole_later(project, folder):
    import resource

    put(project, 1)
    size = (folder / "journal.jsonl").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, hard))
    try:
        put(project, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert project.trouble
    assert (folder / "journal.jsonl").stat().st_size == size + 50
    assert AnnotationProject.open(crashed(folder)).label("a.png").points[0, 0] == 1
    put(project, 3, "b.png")
    again = AnnotationProject.open(crashed(folder))
    assert_same(labels_in(again), labels_in(project))


def test_a_journal_that_cannot_be_written_does_not_keep_from_saving(project, folder):
    (folder / "journal.jsonl").mkdir()
    put(project, 1)
    assert "journal.jsonl" in project.trouble
    project.save()
    assert not project.trouble
    (folder / "journal.jsonl").rmdir()
    assert AnnotationProject.open(crashed(folder)).label("a.png").points[0, 0] == 1
    # without a whole journal, the backup is as new as the file
    shutil.copy(folder / "project.json.bak", folder / "project.json")
    assert AnnotationProject.open(crashed(folder)).label("a.png").points[0, 0] == 1


def test_a_journal_lost_while_labelling_is_made_anew(project, folder):
    put(project, 1)
    (folder / "journal.jsonl").unlink()
    put(project, 2, "b.png")
    assert_same(labels_in(AnnotationProject.open(crashed(folder))), labels_in(project))


# ---------------------------------------------------------------- any sequence at all


class Plain:
    """What a project should be: whole states, one after the other."""

    def __init__(self):
        self.now = (BIRD, {})
        self.past, self.future, self.gesture = [], [], None
        self.saved = self.now

    def change(self, state, gesture=None):
        if same(state, self.now):
            return
        if gesture is None or gesture != self.gesture:
            self.past.append(self.now)
        self.now, self.gesture, self.future = state, gesture, []
        if same(self.past[-1], self.now):
            self.past.pop()
            self.gesture = None

    def undo(self):
        self.gesture = None
        if self.past:
            self.future.append(self.now)
            self.now = self.past.pop()

    def redo(self):
        self.gesture = None
        if self.future:
            self.past.append(self.now)
            self.now = self.future.pop()

    def reopen(self, saved):
        self.past = [] if saved or same(self.saved, self.now) else [self.saved]
        self.future, self.gesture = [], None


def same(one, other):
    (skeleton, labels), (other_skeleton, other_labels) = one, other
    return (
        skeleton == other_skeleton
        and labels.keys() == other_labels.keys()
        and all(label.equals(other_labels[name]) for name, label in labels.items())
    )


COORDINATE = st.sampled_from([0.0, 1.5, -7.25, 1e6]) | st.floats(-1e4, 1e4, width=32)
STEPS = st.one_of(
    st.tuples(
        st.just("place"),
        st.sampled_from("abc"),
        st.integers(0, 1),
        COORDINATE,
        st.sampled_from([None, None, "one", "two"]),
    ),
    st.tuples(st.just("absent"), st.sampled_from("abc"), st.integers(0, 1)),
    st.tuples(st.just("clear"), st.sampled_from("abc"), st.integers(0, 1)),
    st.tuples(st.just("judge"), st.sampled_from(["", "reviewed", "rejected"])),
    st.tuples(st.just("skeleton"), st.sampled_from([BIRD, LONGER, SHORTER])),
    st.tuples(st.sampled_from(["undo", "redo", "undo", "redo", "save", "reopen", "crash"])),
)


def edit_of(step, project):
    """New labels for an edit, None for another step."""
    kind, *rest = step
    if kind == "judge":
        names = [name for name in "abc" if name in project.names_with_labels]
        return {name: edits.judged(project.label(name), *rest, "why") for name in names}
    label = project.label(rest[0]) if rest and isinstance(rest[0], str) else None
    if kind == "place":
        return {rest[0]: edits.place(label, rest[1], rest[2], 1.0)}
    if kind == "absent":
        return {rest[0]: edits.mark_absent(label, rest[1])}
    return {rest[0]: edits.clear_joint(label, rest[1])} if kind == "clear" else None


def take(step, project, model):
    """Do a step to both; the project, which is another one after reopening."""
    changes, kind = edit_of(step, project), step[0]
    skeleton, labels = model.now
    if changes is not None:
        gesture = step[4] if kind == "place" else None
        project.edit(changes, kind, gesture)
        nothing = FrameLabel.empty(skeleton.num_joints)
        new = {n: label for n, label in (labels | changes).items() if not label.equals(nothing)}
        model.change((skeleton, new), gesture)
    elif kind == "skeleton":
        project.change_skeleton(step[1], drop=True)
        new = {n: edits.migrated(label, skeleton, step[1]) for n, label in labels.items()}
        nothing = FrameLabel.empty(step[1].num_joints)
        new = {n: label for n, label in new.items() if not label.equals(nothing)}
        model.change((step[1], new))
    elif kind in ("undo", "redo"):
        getattr(project, kind)()
        getattr(model, kind)()
    elif kind == "save":
        project.save()
        model.saved = model.now
    elif kind == "reopen":
        project.close()
        model.saved = model.now
        model.reopen(saved=True)
        return AnnotationProject.open(project.folder)
    elif kind == "crash":
        model.reopen(saved=False)
        return AnnotationProject.open(crashed(project.folder))
    return project


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=1, max_size=25))
def test_any_sequence_of_steps_equals_plain_states_in_memory(steps):
    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)  # for speed: nobody pulls the plug here
        project, model = AnnotationProject.create(Path(root) / "a.flexpose", BIRD, root), Plain()
        for step in [*steps, ("crash",), ("undo",), ("redo",), ("reopen",)]:
            project = take(step, project, model)
            assert same((project.skeleton, labels_in(project)), model.now), step
