"""What a user can do, without a window."""

from __future__ import annotations

import errno
import os
import shutil

import cv2
import numpy as np
import pytest

from flexpose.annotation.findings import Finding
from flexpose.annotation.label import ABSENT, OCCLUDED, UNDECIDED, VISIBLE
from flexpose.annotation.label import place as placed
from flexpose.errors import AnnotationError, DataFormatError, FlexPoseError
from flexpose.suggestion import Suggestion
from napari_flexpose.session import FlexPoseSession, ImagesMovedError, project_folder

PLACES = [(10, 60), (10, 10), (5, 30), (15, 30), (12, 90)]


def label_all(session):
    for place in PLACES:
        session.click(*place)


def told(session):
    said = []
    session.said.connect(said.append)
    return said


def test_labels_go_beside_the_images_under_their_whole_name(tmp_path):
    assert project_folder(tmp_path / "walk") == tmp_path / "walk.flexpose"
    assert project_folder(tmp_path / "walk.mp4") == tmp_path / "walk.mp4.flexpose"


def test_creating_again_opens_what_is_there(session, images, puppet, body):
    label_all(session)
    session.close()
    again = FlexPoseSession()
    again.create(images, body)
    assert again.skeleton == puppet
    assert again.label.complete
    again.close()


def test_clicks_go_through_the_undecided_joints(session):
    session.select_joint(2)
    session.click(1, 1)
    session.click(2, 2)
    session.click(3, 3)
    assert session.joint == 0  # around the end
    session.mark_absent()
    assert session.label.state.tolist() == [ABSENT, UNDECIDED, VISIBLE, VISIBLE, VISIBLE]


def test_a_click_on_a_complete_frame_changes_nothing(session):
    label_all(session)
    before = session.label
    said = told(session)
    session.click(50, 50)
    assert session.label.equals(before)
    assert "decided" in said[-1]


def test_quick_mode_moves_on_whatever_is_decided(session):
    label_all(session)
    session.set_mode("quick")
    session.select_joint(1)
    session.click(50, 50)
    assert session.joint == 2
    np.testing.assert_array_equal(session.label.points[1], [50, 50])


def test_loop_mode_labels_one_joint_through_the_frames(session):
    session.set_mode("loop")
    session.select_joint(3)
    session.click(5, 5)
    session.click(6, 6)
    assert (session.frame, session.joint) == (2, 3)
    assert session.label_of("1.png").points[3].tolist() == [6, 6]


def test_positions_stay_inside_the_image(session):
    session.click(-20, 500)
    assert session.label.points[0].tolist() == [0, 99]


def test_occluded_means_the_joint_just_placed_if_the_current_has_no_place(session):
    session.click(5, 5)
    session.toggle_occluded()
    assert session.label.state[0] == OCCLUDED
    session.toggle_occluded()
    assert session.label.state[0] == VISIBLE


def test_a_drag_is_one_undo_step(session):
    label_all(session)
    for x in range(20):
        session.move_joint(1, 10 + x, 10, "drag 1")
    assert session.undo_words == "move head"
    session.undo()
    assert session.label.points[1].tolist() == [10, 10]
    assert (session.undo_words, session.redo_words) == ("place tail", "move head")
    session.redo()
    assert session.label.points[1].tolist() == [29, 10]


def test_undo_shows_the_frame_it_changes_and_says_what_it_did(session):
    session.click(5, 5)
    session.show_frame(3)
    said = told(session)
    session.undo()
    assert session.frame == 0
    assert said[-1] == "Undone: place hip."
    session.undo()
    assert said[-1] == "Nothing to undo."


def test_accepting_needs_every_joint_decided(session):
    said = told(session)
    session.accept()
    assert "Nothing is labelled" in said[-1]
    session.click(5, 5)
    session.accept()
    assert "4 joints are undecided" in said[-1]
    assert session.label.verdict == ""


def test_the_work_list_is_walked_in_the_order_of_frames(session):
    session.set_work(["1.png", "3.png"])
    session.first_in_list()
    assert session.frame == 1
    session.next_in_list()
    session.next_in_list()
    assert session.frame == 3
    session.show_frame(2)
    session.previous_in_list()
    assert session.frame == 1
    session.no_pose()
    assert session.progress() == (1, 2)
    assert session.frame == 3
    session.next_incomplete()
    assert session.frame == 3


def test_suggestions_join_the_list_with_their_reasons(session):
    session.set_work(["2.png"])
    session.add_suggestions(
        [Suggestion(3, "3.png", "far", 1.0), Suggestion(2, "2.png", "near", 0.5)]
    )
    assert session.work == ["2.png", "3.png"]
    assert session.reasons == {"3.png": "far"}


def test_last_edited_goes_back_and_forth(session):
    session.click(5, 5)
    session.show_frame(2)
    session.click(5, 5)
    session.last_edited()
    assert session.frame == 0


def test_template_goes_where_the_last_pose_was(session, body):
    session.change_skeleton(body)
    session.place_template((20, 20, 60, 60))
    first = session.label.points
    session.next_frame()
    session.place_template()
    np.testing.assert_allclose(session.label.points, first, atol=1e-3)
    assert session.label.suggested.all()


def test_a_skeleton_that_drops_labels_has_to_be_told(session, body):
    label_all(session)
    with pytest.raises(AnnotationError, match="hip"):
        session.change_skeleton(body)
    session.change_skeleton(body, drop=True)
    assert session.skeleton == body
    assert session.undo_words == "skeleton body15"
    session.undo()
    assert session.skeleton.name == "puppet"
    assert session.label.complete


def test_undoing_a_skeleton_shows_the_frame_that_is_shown_again(session, body):
    label_all(session)
    session.show_frame(2)
    session.change_skeleton(body, drop=True)
    session.select_joint(14)
    shown = []
    session.frame_changed.connect(shown.append)
    session.undo()
    assert (session.skeleton.name, session.frame, session.joint) == ("puppet", 2, 0)
    assert shown == [2]
    session.redo()
    assert shown == [2, 2]


def test_undoing_without_any_label_changes_the_skeleton_back(session, body):
    session.change_skeleton(body)  # a change of no frame
    drawn = []
    session.label_changed.connect(lambda: drawn.append(len(session.label.state)))
    session.undo()
    assert drawn == [5]
    session.redo()
    assert drawn == [5, 15]


def test_undo_shows_a_frame_whose_image_is_there(session, images):
    first, last = session.label_of("0.png"), session.label_of("2.png")
    session.apply({"gone.png": placed(first, 0, 1, 1), "2.png": placed(last, 0, 1, 1)}, "both")
    session.undo()
    assert session.frame == 2


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def failures(session):
    told = []
    session.failed.connect(told.append)
    return told


def test_a_project_that_cannot_be_saved_stays_open(session, tmp_path, puppet, monkeypatch):
    session.click(5, 5)
    other = tmp_path / "other"
    other.mkdir()
    cv2.imwrite(str(other / "a.png"), np.zeros((20, 30, 3), np.uint8))
    begun = FlexPoseSession()
    begun.create(other, puppet)
    begun.click(1, 1)
    crashed = shutil.copytree(begun.project.folder, tmp_path / "copy.flexpose")
    begun.close()
    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", full_disk)
        for leave in (
            session.close,
            lambda: session.open(crashed),
            lambda: session.create(tmp_path / "other", puppet),
        ):
            with pytest.raises(DataFormatError, match="No space"):
                leave()
            assert session.name == "0.png"
            assert session.undo_words == "place hip"
    session.open(crashed)  # nobody has it locked, and nothing of it was taken for granted
    assert session.recovered.startswith("1 edit")


def test_images_that_are_not_found_leave_the_recovered_edits_open(session, images, tmp_path):
    session.click(5, 5)
    crashed = shutil.copytree(session.project.folder, tmp_path / "copy.flexpose")
    session.close()
    images.rename(tmp_path / "elsewhere")
    with pytest.raises(ImagesMovedError):
        session.open(crashed)
    with pytest.raises(FlexPoseError):
        session.open(crashed, tmp_path / "nowhere")
    session.open(crashed, tmp_path / "elsewhere")
    assert session.recovered.startswith("1 edit")


@pytest.mark.parametrize("act", ["undo", "redo", "set_work", "change_skeleton"])
def test_changes_that_are_in_memory_only_are_told(session, body, monkeypatch, act):
    session.click(5, 5)
    session.click(6, 6)
    session.undo()
    told = failures(session)
    journal = session.project.folder / "journal.jsonl"
    journal.unlink()
    journal.mkdir()  # it can be written no more
    acts = {
        "set_work": lambda: session.set_work(["1.png"]),
        "change_skeleton": lambda: session.change_skeleton(body, drop=True),
    }
    acts.get(act, getattr(session, act, None))()
    assert "in memory only" in told[-1]
    journal.rmdir()
    session.save()
    assert len(told) == 1


def test_saving_waits_for_its_interval(images, puppet):
    now = [0.0]
    session = FlexPoseSession(clock=lambda: now[0], autosave_seconds=30)
    session.create(images, puppet)
    session.click(5, 5)
    now[0] = 29
    session.autosave()
    assert session.project.unsaved
    now[0] = 30
    session.autosave()
    assert not session.project.unsaved
    session.close()


@pytest.mark.parametrize(
    ("act", "state"), [("discard_recovered", UNDECIDED), ("keep_recovered", VISIBLE)]
)
def test_recovered_edits_can_be_kept_or_discarded(session, tmp_path, act, state):
    session.click(5, 5)
    crashed = tmp_path / "copy.flexpose"  # as a crash would leave it
    shutil.copytree(session.project.folder, crashed)
    again = FlexPoseSession()
    again.open(crashed)
    assert again.recovered.startswith("1 edit")
    assert again.undo_words == "recovered edits"
    getattr(again, act)()
    assert again.recovered == ""
    again.close()
    again.open(crashed)
    assert (again.label.state[0], again.recovered) == (state, "")
    again.close()


def test_a_second_window_can_only_look(session):
    other = FlexPoseSession()
    other.open(session.project.folder)
    with pytest.raises(AnnotationError, match="another window"):
        other.click(5, 5)
    other.close()


def test_moved_images_can_be_shown_again(session, images, tmp_path):
    label_all(session)
    folder = session.project.folder
    session.close()
    images.rename(tmp_path / "elsewhere")
    with pytest.raises(ImagesMovedError, match="walk"):
        session.open(folder)
    session.open(folder, tmp_path / "elsewhere")
    assert session.label.complete


def test_labels_of_missing_images_are_kept_and_named(session, images):
    label_all(session)
    folder = session.project.folder
    session.close()
    (images / "0.png").unlink()
    session.open(folder)
    assert session.missing == ["0.png"]
    assert session.label_of("0.png").complete


def test_opening_another_project_saves_the_first(session, tmp_path, puppet):
    session.click(5, 5)
    first = session.project.folder
    other = tmp_path / "other"
    other.mkdir()
    cv2.imwrite(str(other / "a.png"), np.zeros((20, 30, 3), np.uint8))
    session.create(other, puppet)
    assert session.name == "a.png"
    assert (session.undo_words, session.work) == ("", [])
    session.open(first)
    assert session.label.state[0] == VISIBLE
    assert session.recovered == ""


def test_a_folder_that_cannot_be_opened_leaves_the_project(session, tmp_path, puppet):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FlexPoseError):
        session.create(tmp_path / "empty", puppet)
    assert session.name == "0.png"
    session.click(5, 5)


def test_findings_lead_to_their_frame_and_can_be_fixed(session):
    label_all(session)
    finding = Finding(
        frame="0.png", code="swap", severity="warning", message="x", joints=(2, 3), fix="swap"
    )
    session.show_frame(2)
    session.show_finding(finding)
    assert (session.frame, session.joint) == (0, 2)
    session.fix(finding)
    assert session.label.points[2].tolist() == [15, 30]
    assert session.undo_words == "exchange left and right"


def test_findings_are_those_of_the_labels(session):
    label_all(session)
    session.move_joint(1, 10, 60, "drag")  # onto the hip
    assert "same-spot" in {finding.code for finding in session.findings()}


def test_a_finding_accepted_as_is_stays_away_until_the_pose_changes(session):
    label_all(session)
    session.move_joint(1, 10, 60, "drag")  # onto the hip
    (finding,) = [f for f in session.findings() if f.code == "same-spot"]
    session.accept_as_is(finding)
    assert session.findings() == []
    assert session.undo_words == "accept finding as is"
    folder = session.project.folder
    session.close()
    session.open(folder)
    assert session.findings() == []
    session.move_joint(1, 10.5, 60, "drag")
    session.move_joint(1, 10, 60, "drag 2")
    assert session.findings() == [finding]


def test_accepting_a_finding_can_be_undone(session):
    label_all(session)
    session.move_joint(1, 10, 60, "drag")
    (finding,) = session.findings()
    session.accept_as_is(finding)
    session.undo()
    assert session.findings() == [finding]


@pytest.fixture
def bodies(session, body):
    """A session whose skeleton has a template."""
    session.change_skeleton(body)
    return session


def test_suggestions_are_taken_joint_by_joint(bodies):
    bodies.click(10, 60)
    bodies.place_template()
    bodies.take_suggestion()  # the head is the current joint
    assert bodies.label.suggested.tolist() == [False, False, *[True] * 13]
    assert bodies.joint == 2
    assert bodies.undo_words == "take suggested head"
    bodies.select_joint(0)
    bodies.take_suggestion()  # which is decided: on to the next, unseen and so not taken
    assert (bodies.joint, bodies.undo_words) == (2, "take suggested head")
    for _ in range(13):
        bodies.take_suggestion()
    assert bodies.label.complete
    said = told(bodies)
    bodies.take_suggestion()
    bodies.take_suggestions()
    assert said == ["Nothing is suggested here."] * 2


def test_all_suggestions_are_taken_in_one_step_and_the_frame_stays(bodies):
    bodies.place_template()
    bodies.take_suggestions()
    assert (bodies.frame, bodies.label.verdict) == (0, "")
    assert bodies.label.complete
    bodies.undo()
    assert bodies.label.suggested.all()


def test_a_template_goes_into_a_drawn_box_and_replaces_suggestions_only(bodies):
    bodies.click(1, 1)
    bodies.place_template()
    bodies.place_template_between((70, 90), (40, 30))
    label = bodies.label
    assert label.points[0].tolist() == [1, 1]
    assert label.suggested.tolist() == [False, *[True] * 14]
    others = label.points[1:]
    assert (others >= (39.9, 29.9)).all() and (others <= (70.1, 90.1)).all()
    bodies.undo()
    bodies.undo()
    assert bodies.label.state.tolist() == [VISIBLE, *[UNDECIDED] * 14]


def test_a_box_counts_as_far_as_it_is_in_the_image(bodies):
    bodies.place_template_between((-500, -500), (500, 500))
    points = bodies.label.points
    assert (points >= -0.01).all() and (points <= (119.01, 99.01)).all()


def test_a_box_that_is_hardly_one_places_nothing(bodies):
    said = told(bodies)
    bodies.place_template_between((20, 20), (22, 90))
    assert bodies.label.untouched
    assert "larger box" in said[-1]


def test_a_template_with_nothing_to_place_says_so(bodies):
    bodies.place_template()
    before, said = bodies.label, told(bodies)
    bodies.place_template()
    assert bodies.label.equals(before)
    assert "place already" in said[-1]


def test_letting_go_of_a_chosen_joint_goes_back_to_what_is_to_do(session):
    session.click(1, 1)
    session.select_joint(4)
    session.back_to_undecided()
    assert session.joint == 1


def test_taking_a_gesture_back_leaves_nothing_to_undo(session):
    label_all(session)
    before = session.label
    session.move_joint(1, 20, 20, "drag")
    session.move_joint(1, 30, 20, "drag")
    session.take_back(before, "drag")
    assert session.label.equals(before)
    assert session.undo_words == "place tail"
