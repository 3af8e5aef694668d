"""A project keeps labels: through undo, saving, reopening, moving, damage and full disks."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flexpose.annotation import label as edits
from flexpose.annotation.label import ABSENT, OCCLUDED, UNDECIDED, VISIBLE, FrameLabel
from flexpose.annotation.project import AnnotationProject, frame_status
from flexpose.annotation.recovery import Recovered
from flexpose.annotation.store import label_from_plain, label_to_plain
from flexpose.errors import AnnotationError, DataFormatError, PoseShapeError
from flexpose.skeleton import Skeleton, load_skeleton

BIRD = Skeleton(
    name="bird",
    joints=("beak", "left_wing", "right_wing"),
    edges=((0, 1), (0, 2)),
    symmetric_pairs=((1, 2),),
)
LONGER = Skeleton(
    name="longer", joints=("tail", "left_wing", "right_wing", "beak"), edges=((3, 0), (3, 1))
)
SHORTER = Skeleton(name="shorter", joints=("beak", "left_wing"), edges=((0, 1),))

EMPTY = FrameLabel.empty(3)
WHOLE = FrameLabel(
    points=[[0.1, 20], [np.nan, np.nan], [-3.5, 1e-7]],
    state=[VISIBLE, ABSENT, OCCLUDED],
    suggested=[False] * 3,
)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "walk.flexpose"


@pytest.fixture
def project(folder):
    made = AnnotationProject.create(folder, BIRD, folder.parent / "walk")
    yield made
    with contextlib.suppress(DataFormatError, AnnotationError):  # some tests break its files
        made.close()


def crashed(folder):
    """A copy of the project as a killed process would leave it, without the lock."""
    copy = folder.with_name(f"copy{len(list(folder.parent.iterdir()))}.flexpose")
    return shutil.copytree(folder, copy)


def labels_in(project):
    return {name: project.label(name) for name in project.names_with_labels}


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, label in expected.items():
        assert found[name].equals(label), name


def put(project, x, name="a.png", gesture=None):
    return project.edit({name: edits.place(project.label(name), 0, x, 1.0)}, f"x {x}", gesture)


def full_disk(*_args):
    raise OSError(errno.ENOSPC, "No space left on device")


# ---------------------------------------------------------------- keeping labels


def test_closing_without_saving_leaves_the_edits_to_be_recovered(project, folder):
    put(project, 1)
    project.close(save=False)
    assert (project.undo_words, project.unsaved) == ("x 1", True)
    with pytest.raises(AnnotationError, match="closed"):
        put(project, 2)
    again = AnnotationProject.open(folder)  # the lock is free
    assert again.recovered.edits == 1
    assert again.undo_words == "recovered edits"
    again.close()


def test_a_project_that_cannot_be_saved_stays_open(project, folder, monkeypatch):
    put(project, 1)
    with monkeypatch.context() as broken, pytest.raises(DataFormatError, match="No space"):
        broken.setattr(os, "replace", full_disk)
        project.close()
    put(project, 2)
    assert AnnotationProject.open(folder).read_only  # still ours
    assert labels_in(AnnotationProject.open(crashed(folder)))["a.png"].points[0, 0] == 2


def test_labels_are_there_after_reopening(project, folder):
    suggested = edits.suggestion(EMPTY, np.full((3, 2), 5.25), np.array([2, 1, 2], np.int8))
    rejected = edits.judged(EMPTY, "rejected", 'blurred, "très"')
    expected = {"b.png": WHOLE, "a/ü.png": suggested, "c": rejected, "broken\udcff.png": WHOLE}
    expected["as_is.png"] = edits.left_as_is(WHOLE, ["outside beak", "all-occluded"])
    project.edit(expected, "all")
    assert_same(labels_in(AnnotationProject.open(crashed(folder))), expected)  # from the journal
    project.close()
    again = AnnotationProject.open(folder)
    assert_same(labels_in(again), expected)
    assert (again.recovered, again.unsaved, again.skeleton) == (None, False, BIRD)


def test_what_is_not_known_is_an_empty_label(project):
    assert project.label("never.png").equals(EMPTY)
    assert project.names_with_labels == ()


def test_a_label_made_empty_again_is_no_longer_listed(project, folder):
    put(project, 1)
    project.edit({"a.png": EMPTY}, "clear")
    assert project.names_with_labels == ()
    project.close()
    assert AnnotationProject.open(folder).names_with_labels == ()


def test_an_edit_without_effect_leaves_no_trace(project):
    put(project, 1)
    project.save()
    assert put(project, 1) is None
    assert not project.unsaved
    assert project.undo().words == "x 1"


def test_a_label_of_another_skeleton_is_refused(project):
    with pytest.raises(PoseShapeError, match=r"2 joints in the label of a\.png, expected 3"):
        project.edit({"a.png": FrameLabel.empty(2)}, "wrong")


def test_the_file_has_one_readable_line_a_frame_in_stable_order(project, folder):
    project.edit({"b.png": WHOLE, "a.png": edits.judged(EMPTY, "no pose")}, "all")
    project.save()
    lines = (folder / "project.json").read_text(encoding="utf-8").splitlines()
    assert '"a.png": {"joints": {}, "verdict": "no pose"},' in lines
    assert (
        '"b.png": {"joints": {"beak": [0.1, 20.0, "visible"], "left_wing": "absent", '
        '"right_wing": [-3.5, 1e-07, "occluded"]}}' in lines
    )
    assert lines.index('"labels": {') < lines.index(
        '"a.png": {"joints": {}, "verdict": "no pose"},'
    )
    assert json.loads("".join(lines))["images"] == "../walk"


def test_the_same_labels_make_the_same_bytes(project, folder, tmp_path):
    other = AnnotationProject.create(tmp_path / "other.flexpose", BIRD, tmp_path / "walk")
    project.edit({"a": WHOLE, "b": EMPTY, "c": WHOLE}, "all")
    other.edit({"c": WHOLE}, "one")
    other.edit({"a": WHOLE}, "two")
    texts = []
    for each in (project, other):
        each.save()
        text = (each.folder / "project.json").read_text(encoding="utf-8")
        texts.append(text[text.index('"images"') :])
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", ["coco17", "body15", "face68"])
def test_a_skeleton_is_the_same_after_reopening(tmp_path, name):
    skeleton = load_skeleton(name)
    made = AnnotationProject.create(tmp_path / "a.flexpose", skeleton, tmp_path)
    assert made.skeleton == skeleton


@settings(deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_every_position_comes_back_to_the_bit(value):
    label = edits.place(EMPTY, 1, value, -value)
    plain = json.loads(json.dumps(label_to_plain(label, BIRD)))
    assert label_from_plain(plain, BIRD, Path("x"), "a").equals(label)


def test_saving_twice_without_a_change_keeps_file_and_backup(project, folder):
    put(project, 1)
    project.save()
    before = {path: path.read_bytes() for path in folder.iterdir()}
    project.save()
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_the_backup_is_the_state_of_the_save_before(project, folder):
    for x in (1, 2):
        put(project, x)
        project.save()
    os.replace(folder / "project.json.bak", folder / "project.json")
    (folder / "journal.jsonl").unlink()
    assert AnnotationProject.open(crashed(folder)).label("a.png").points[0, 0] == 1


def test_the_work_list_is_kept(project, folder):
    project.set_work(["b.png", "a.png"])
    assert AnnotationProject.open(crashed(folder)).work == ("b.png", "a.png")
    assert project.undo() is None
    project.close()
    assert AnnotationProject.open(folder).work == ("b.png", "a.png")


# ---------------------------------------------------------------- undo and redo


def test_undo_and_redo_are_kept_too(project, folder):
    put(project, 1)
    put(project, 2)
    assert project.undo().words == "x 2"
    assert AnnotationProject.open(crashed(folder)).label("a.png").points[0, 0] == 1
    assert project.redo().words == "x 2"
    assert AnnotationProject.open(crashed(folder)).label("a.png").points[0, 0] == 2
    assert project.redo() is None


def test_a_bulk_edit_is_one_entry(project):
    project.edit(dict.fromkeys("abc", WHOLE), "accept 3 suggestions")
    assert project.undo().frames == ("a", "b", "c")
    assert project.names_with_labels == () and project.undo() is None


def test_saving_does_not_end_what_can_be_undone(project):
    put(project, 1)
    project.save()
    project.undo()
    assert project.names_with_labels == () and project.unsaved


# ---------------------------------------------------------------- counting and shots


def test_frames_are_counted_by_status(project):
    half = edits.place(EMPTY, 0, 1, 1)
    verdicts = {v: edits.judged(half, v) for v in ("reviewed", "rejected", "no pose")}
    project.edit({"whole": WHOLE, "half": half, **verdicts}, "all")
    expected = ("complete", "in progress", "reviewed", "rejected", "no pose")
    assert project.counts() == dict.fromkeys(expected, 1)
    assert frame_status(EMPTY) == "to do"


def test_shots_are_the_complete_frames(project):
    half = edits.place(EMPTY, 0, 7, 8)
    project.edit(
        {
            "b": WHOLE,
            "a": edits.judged(WHOLE, "reviewed"),
            "half": half,
            "open": edits.judged(half, "reviewed"),
            "bad": edits.judged(WHOLE, "rejected"),
            "none": edits.judged(WHOLE, "no pose"),
        },
        "all",
    )
    sizes = {"a": (30, 40), "b": (50, 60), "half": (1, 2), "open": (3, 4)}
    shots = project.shots(image_sizes=sizes)
    assert shots.image_ids == ("a", "b") and shots.skeleton == BIRD
    assert shots.visibility.tolist() == [[2, 0, 1]] * 2
    assert shots.image_size.tolist() == [[30, 40], [50, 60]]
    np.testing.assert_array_equal(shots.keypoints[0], WHOLE.points)
    more = project.shots(image_sizes=sizes, complete_only=False)
    assert more.image_ids == ("a", "b", "half", "open")
    assert more.visibility[2].tolist() == [2, 0, 0]


def test_suggested_joints_are_no_labels_in_shots(project):
    offered = edits.suggestion(EMPTY, np.ones((3, 2)), np.array([2, 2, 2], np.int8))
    project.edit({"offered": offered, "one": edits.place(offered, 1, 3, 4)}, "all")
    sizes = dict.fromkeys(("offered", "one"), (9, 9))
    assert len(project.shots(image_sizes=sizes)) == 0
    shots = project.shots(image_sizes=sizes, complete_only=False)
    assert shots.image_ids == ("one",) and shots.visibility.tolist() == [[0, 2, 0]]


def test_shots_of_some_frames_need_the_sizes_of_these_only(project):
    project.edit({"a": WHOLE, "b": WHOLE}, "all")
    assert project.shots(image_sizes={"b": (9, 9)}, frames=["b"]).image_ids == ("b",)


def test_suggestions_are_the_frames_that_wait_for_a_verdict(project):
    offered = edits.suggestion(EMPTY, np.ones((3, 2)), np.array([2, 2, 2], np.int8))
    project.edit(
        {
            "whole": WHOLE,
            "offered": offered,
            "half": edits.place(offered, 1, 3, 4),
            "bad": edits.judged(offered, "rejected"),
        },
        "all",
    )
    waiting = project.suggestions(image_sizes=dict.fromkeys(("offered", "half"), (9, 9)))
    assert waiting.image_ids == ("half", "offered")
    assert waiting.visibility.tolist() == [[2, 2, 2]] * 2
    assert waiting.keypoints[0].tolist() == [[1, 1], [3, 4], [1, 1]]
    with pytest.raises(AnnotationError, match="such as half"):
        project.suggestions(image_sizes={})


def test_a_shot_without_an_image_size_is_named(project):
    project.edit({"a": WHOLE, "b": WHOLE}, "all")
    with pytest.raises(AnnotationError, match="not known for 1 frames, such as b"):
        project.shots(image_sizes={"a": (1, 1)})


# ---------------------------------------------------------------- another skeleton


def test_labels_go_to_a_new_skeleton_by_joint_name_and_back(project, folder):
    project.edit({"a.png": WHOLE}, "all")
    project.change_skeleton(LONGER)
    assert project.label("a.png").state.tolist() == [UNDECIDED, ABSENT, OCCLUDED, VISIBLE]
    again = AnnotationProject.open(crashed(folder))
    assert again.skeleton == LONGER and again.label("a.png").equals(project.label("a.png"))
    project.undo()
    assert project.skeleton == BIRD and project.label("a.png").equals(WHOLE)
    again = AnnotationProject.open(crashed(folder))
    assert again.skeleton == BIRD and again.label("a.png").equals(WHOLE)


def test_labelled_joints_are_not_dropped_unasked(project):
    project.edit({"a.png": WHOLE, "b.png": WHOLE, "c.png": edits.place(EMPTY, 0, 1, 1)}, "all")
    assert project.lost_joints(SHORTER) == {"right_wing": 2}
    with pytest.raises(AnnotationError, match=r"labelled: right_wing \(in 2 frames\)"):
        project.change_skeleton(SHORTER)
    assert project.skeleton == BIRD
    project.change_skeleton(SHORTER, drop=True)
    assert project.label("a.png").state.tolist() == [VISIBLE, ABSENT]
    project.undo()
    assert project.label("a.png").equals(WHOLE)


def test_joints_without_labels_can_go(project):
    project.edit({"a.png": edits.place(EMPTY, 0, 1, 1)}, "one")
    assert project.lost_joints(SHORTER) == {}
    assert project.change_skeleton(SHORTER).frames == ("a.png",)
    assert project.change_skeleton(SHORTER) is None


def test_a_frame_that_lost_all_its_joints_is_empty_until_undo(project, folder):
    project.edit({"a.png": edits.place(EMPTY, 2, 1, 1)}, "one")
    project.change_skeleton(SHORTER, drop=True)
    assert project.names_with_labels == ()
    project.undo()
    assert AnnotationProject.open(crashed(folder)).names_with_labels == ("a.png",)


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


# ---------------------------------------------------------------- places and names


def test_what_is_no_project_is_not_opened(tmp_path):
    with pytest.raises(AnnotationError, match="does not exist"):
        AnnotationProject.open(tmp_path / "none.flexpose")
    with pytest.raises(AnnotationError, match=r"holds no project\.json"):
        AnnotationProject.open(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_project_is_made_once_and_under_its_name(project, folder, tmp_path):
    with pytest.raises(AnnotationError, match="already holds a project"):
        AnnotationProject.create(folder, BIRD, tmp_path)
    with pytest.raises(AnnotationError, match=r"does not end in \.flexpose"):
        AnnotationProject.create(tmp_path / "walk", BIRD, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(AnnotationError, match="cannot be made"):
        AnnotationProject.create(tmp_path / "file" / "a.flexpose", BIRD, tmp_path)


def test_project_and_images_can_be_moved_together(tmp_path):
    (tmp_path / "here" / "images").mkdir(parents=True)
    made = AnnotationProject.create(
        tmp_path / "here" / "a.flexpose", BIRD, tmp_path / "here" / "images"
    )
    assert made.images == tmp_path / "here" / "images"
    made.close()
    (tmp_path / "here").rename(tmp_path / "there")
    again = AnnotationProject.open(tmp_path / "there" / "a.flexpose")
    assert again.images == tmp_path / "there" / "images"


def test_a_project_opens_without_its_images_and_learns_where_they_are(project, folder, tmp_path):
    assert not project.images.exists()
    project.relocate(tmp_path / "new" / "clip.mp4")
    assert AnnotationProject.open(crashed(folder)).images == tmp_path / "new" / "clip.mp4"
    project.close()
    assert AnnotationProject.open(folder).images == tmp_path / "new" / "clip.mp4"


def test_a_project_reached_through_a_link_finds_its_images(tmp_path):
    (tmp_path / "data" / "walk").mkdir(parents=True)
    made = AnnotationProject.create(
        tmp_path / "data" / "walk.flexpose", BIRD, tmp_path / "data" / "walk"
    )
    made.close()
    (tmp_path / "link").symlink_to(tmp_path / "data" / "walk.flexpose", target_is_directory=True)
    again = AnnotationProject.open(tmp_path / "link")
    assert again.images == tmp_path / "data" / "walk"


# ---------------------------------------------------------------- who may write


def test_a_second_window_may_only_look(project, folder):
    put(project, 1)
    second = AnnotationProject.open(folder)
    assert second.read_only.startswith("The project is open in another window")
    assert second.label("a.png").points[0, 0] == 1 and second.recovered is None
    for change in (
        lambda: put(second, 2),
        second.undo,
        second.redo,
        second.save,
        lambda: second.change_skeleton(LONGER),
        lambda: second.set_work(["a"]),
        lambda: second.relocate(folder),
    ):
        with pytest.raises(AnnotationError, match="Nothing was changed: The project is open in"):
            change()
    second.close()
    put(project, 3)  # closing it has taken nothing from the first
    project.close()
    assert AnnotationProject.open(folder).label("a.png").points[0, 0] == 3


def test_a_second_window_leaves_a_damaged_file_where_it_is(project, folder):
    put(project, 1)
    (folder / "project.json").write_bytes(b"{")
    second = AnnotationProject.open(folder)
    assert second.label("a.png").points[0, 0] == 1
    assert (folder / "project.json").read_bytes() == b"{"


def test_after_closing_nothing_changes_and_another_may_write(project, folder):
    put(project, 1)
    project.close()
    project.close()
    with pytest.raises(AnnotationError, match="closed"):
        put(project, 2)
    again = AnnotationProject.open(folder)
    assert not again.read_only and again.label("a.png").points[0, 0] == 1


def test_the_lock_of_a_dead_process_does_not_block(project, folder):
    project.close()
    hold = f"""
import os, filelock
lock = filelock.FileLock({str(folder / "lock")!r})
lock.acquire()
print("held", flush=True)
input()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout.readline().strip() == b"held"
        assert AnnotationProject.open(folder).read_only
        child.kill()
    assert not AnnotationProject.open(folder).read_only


@pytest.mark.parametrize("why", ["folder", "lock"])
def test_a_read_only_disk_is_open_for_viewing(project, folder, monkeypatch, why):
    put(project, 1)
    copy = crashed(folder)
    if why == "folder":
        monkeypatch.setattr(os, "access", lambda *_: False)
    else:

        def refuse(*_args, **_kwargs):
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(FileLock, "acquire", refuse)
    (copy / ".left.tmp").write_text("half")
    before = sorted(copy.iterdir())
    view = AnnotationProject.open(copy)
    assert "for viewing only" in view.read_only and "cannot be written" in view.read_only
    with pytest.raises(AnnotationError, match="Nothing was changed"):
        put(view, 2)
    assert view.label("a.png").points[0, 0] == 1
    view.close()
    assert sorted(copy.iterdir()) == before


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
