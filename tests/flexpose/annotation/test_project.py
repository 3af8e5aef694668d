"""A project keeps labels: through undo, saving, reopening, new joints, moving and two windows."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from flexpose.annotation import label as edits
from flexpose.annotation.label import ABSENT, OCCLUDED, UNDECIDED, VISIBLE, FrameLabel
from flexpose.annotation.project import AnnotationProject, frame_status
from flexpose.annotation.store import label_from_plain, label_to_plain
from flexpose.errors import AnnotationError, DataFormatError, PoseShapeError
from flexpose.skeleton import load_skeleton

from .conftest import BIRD, LONGER, SHORTER, assert_same, crashed, full_disk, labels_in, put

EMPTY = FrameLabel.empty(3)
WHOLE = FrameLabel(
    points=[[0.1, 20], [np.nan, np.nan], [-3.5, 1e-7]],
    state=[VISIBLE, ABSENT, OCCLUDED],
    suggested=[False] * 3,
)


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
