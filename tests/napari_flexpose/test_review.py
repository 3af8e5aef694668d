"""Reviewing predictions, below the window."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flexpose.annotation.label import ABSENT, UNDECIDED
from flexpose.errors import AnnotationError, FlexPoseError, SkeletonMismatchError
from flexpose.io.coco import write_coco
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton
from napari_flexpose.review import NOTES, Reviewer
from napari_flexpose.session import FlexPoseSession

POSE = np.array([(60, 50), (60, 20), (40, 30), (80, 30), (60, 70)], np.float32)  # 50 px tall
NAMES = tuple(f"{number}.png" for number in range(4))
SURE = (0.9, 0.3, 0.6, 0.95)


def moved(by: float) -> np.ndarray:
    return POSE + np.array([by, 0], np.float32)


def predictions(skeleton: Skeleton, shift: float = 0.0, sure=SURE, names=NAMES) -> PoseSet:
    points = np.stack([moved(number + shift) for number in range(len(names))])
    confidence = np.repeat(np.array(sure, np.float32)[:, None], len(POSE), axis=1)
    return PoseSet.create(
        skeleton, points, (120, 100), image_ids=tuple(names), confidence=confidence
    )


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, puppet: Skeleton) -> Write:
    """``(name, poses or what predictions takes) -> file``."""

    def make(name: str = "round-1", poses: PoseSet | None = None, **given: object) -> Path:
        path = tmp_path / f"{name}.coco.json"
        write_coco(poses if poses is not None else predictions(puppet, **given), path)
        return path

    return make


@pytest.fixture
def reviewer(session: FlexPoseSession) -> Reviewer:
    reviewer = Reviewer(session)
    reviewer.set_active(True)
    return reviewer


def again(session: FlexPoseSession) -> Reviewer:
    """The same project, opened another time."""
    folder = session.project.folder
    session.close()
    session.open(folder)
    return Reviewer(session)


def test_predictions_come_as_suggestions_in_one_step(session, reviewer, write):
    reviewer.load(write())
    label = session.label_of("2.png")
    assert label.suggested.all()
    np.testing.assert_allclose(label.points, moved(2))
    assert session.undo_words == "enter 4 suggestions"
    session.undo()
    assert reviewer.queue == []
    session.redo()
    assert len(reviewer.queue) == 4


def test_what_is_decided_stays(session, reviewer, write):
    session.show_name("0.png")
    session.select_joint(1)
    session.click(10, 10)
    session.select_joint(2)
    session.mark_absent()
    session.show_name("1.png")
    session.no_pose()
    session.show_name("2.png")
    for joint in range(5):
        session.click(20.0 + joint, 30)
    done = session.label_of("2.png")
    reviewer.load(write())
    label = session.label_of("0.png")
    assert label.suggested.tolist() == [True, False, False, True, True]
    assert label.points[1].tolist() == [10, 10]
    assert label.state[2] == ABSENT
    assert session.label_of("1.png").verdict == "no pose"
    assert session.label_of("2.png").equals(done)
    assert reviewer.queue == ["0.png", "3.png"]


def test_a_second_round_replaces_only_suggestions(session, reviewer, write):
    reviewer.load(write())
    session.show_name("0.png")
    session.move_joint(1, 5, 5, "drag")
    session.show_name("1.png")
    session.accept()
    accepted = session.label_of("1.png")
    reviewer.load(write("round-2", shift=10))
    label = session.label_of("0.png")
    assert label.points[1].tolist() == [5, 5]
    np.testing.assert_allclose(label.points[0], moved(10)[0])
    assert session.label_of("1.png").equals(accepted)


def test_the_least_sure_comes_first_and_a_verdict_leads_on(session, reviewer, write):
    reviewer.load(write())
    assert session.name == "1.png"
    session.accept()
    assert session.label_of("1.png").verdict == "reviewed"
    assert session.name == "2.png"
    session.move_joint(0, 50, 40, "drag")  # fixed, then accepted
    session.accept()
    label = session.label_of("2.png")
    assert label.complete
    assert label.points[0].tolist() == [50, 40]
    assert session.name == "0.png"
    assert reviewer.queue == ["0.png", "3.png"]
    assert reviewer.total == 4


def test_when_nobody_reviews_a_verdict_leads_down_the_list(session, reviewer, write):
    reviewer.load(write())
    reviewer.set_active(False)
    session.set_work(["1.png", "3.png"])
    session.show_name("1.png")
    session.accept()
    assert session.name == "3.png"


def test_other_orders(session, reviewer, write):
    reviewer.load(write())
    reviewer.set_order("in order")
    assert reviewer.queue == [*NAMES]
    assert session.name == "0.png"
    reviewer.set_order("most different")
    assert sorted(reviewer.queue) == [*NAMES]


def test_frames_can_be_left_for_later(session, reviewer, write):
    reviewer.load(write())
    seen = [session.name]
    for _ in range(4):
        reviewer.following()
        seen.append(session.name)
    assert seen == ["1.png", "2.png", "0.png", "3.png", "1.png"]
    reviewer.preceding()
    assert session.name == "3.png"
    assert len(reviewer.queue) == 4


def test_a_rejected_suggestion_goes_until_it_is_undone_or_the_next_round(session, reviewer, write):
    reviewer.load(write())
    reviewer.remove_suggestion()
    label = session.label_of("1.png")
    assert (label.state == UNDECIDED).all()
    assert label.verdict == ""
    assert session.name == "2.png"
    session.show_name("1.png")
    session.copy_last_pose()  # suggested too, but not by the predictions
    assert "1.png" not in reviewer.queue
    session.undo()
    session.undo()
    assert reviewer.queue[0] == "1.png"
    session.redo()
    reviewer.load(write("round-2"))
    assert reviewer.queue[0] == "1.png"


def test_many_are_accepted_in_one_step_and_known_as_unseen(session, reviewer, write):
    reviewer.load(write())
    preview = reviewer.preview(0.6)
    assert preview.names == ("2.png", "0.png", "3.png")
    assert (preview.of, preview.incomplete) == (4, 0)
    assert preview.accuracy == pytest.approx((0.9 + 0.6 + 0.95) / 3)
    reviewer.accept_above(0.6)
    assert reviewer.queue == ["1.png"]
    assert session.label_of("3.png").verdict == "reviewed"
    assert reviewer.unseen == {"0.png", "2.png", "3.png"}
    session.undo()
    assert len(reviewer.queue) == 4
    assert not reviewer.unseen
    session.redo()
    assert len(reviewer.unseen) == 3


def test_a_frame_is_seen_once_somebody_edits_or_accepts_it(session, reviewer, write):
    reviewer.load(write())
    reviewer.accept_above(0.6)
    session.show_name("0.png")
    session.move_joint(0, 50, 40, "drag")
    assert reviewer.unseen == {"2.png", "3.png"}
    session.show_name("3.png")
    session.accept()  # changes nothing, but somebody has looked
    assert reviewer.unseen == {"2.png"}


def test_frames_with_a_joint_that_is_not_predicted_are_not_accepted_unseen(
    session, reviewer, write, puppet
):
    poses = predictions(puppet)
    points = poses.keypoints.copy()
    points[3, 4] = np.nan
    confidence = np.where(np.isfinite(points[..., 0]), poses.confidence, 0)
    poses = PoseSet.create(puppet, points, (120, 100), image_ids=NAMES, confidence=confidence)
    reviewer.load(write(poses=poses))
    preview = reviewer.preview(0.85)
    assert preview.names == ("0.png",)
    assert preview.incomplete == 1


def test_without_confidence_frames_are_reviewed_in_order(session, reviewer, write, puppet):
    poses = PoseSet.create(puppet, predictions(puppet).keypoints, (120, 100), image_ids=NAMES)
    reviewer.load(write(poses=poses))
    assert reviewer.queue == [*NAMES]
    assert not reviewer.knows_confidence
    assert reviewer.preview(0.0).names == ()
    assert reviewer.confidence("0.png") is None
    assert reviewer.doubts("0.png") == []


def test_sides_are_carried_from_frame_to_frame_through_the_clip(session, reviewer, write, puppet):
    poses, flip = predictions(puppet), list(puppet.flip_index)
    points = poses.keypoints.copy()
    points[[0, 2, 3]] = points[[0, 2, 3]][:, flip]  # 1.png alone is right, and is decided
    confidence = np.tile(np.linspace(0.1, 0.9, 5, dtype=np.float32), (4, 1))
    reviewer.load(write(poses=replace(poses, keypoints=points, confidence=confidence)))
    session.show_name("3.png")
    session.accept()  # wrong as it is, but decided
    session.show_name("1.png")
    reviewer.carry_sides()
    for number in (0, 1, 2):
        np.testing.assert_array_equal(session.label_of(f"{number}.png").points, moved(number))
    np.testing.assert_array_equal(session.label_of("3.png").points, moved(3)[flip])
    np.testing.assert_array_equal(reviewer.confidence("0.png"), confidence[0][flip])
    assert session.undo_words == "exchange left and right of 2 suggestions"
    session.undo()
    np.testing.assert_array_equal(session.label_of("2.png").points, points[2])


def test_sides_are_not_carried_into_another_clip(session, reviewer, write, puppet, tmp_path):
    for clip in ("a", "b"):
        (tmp_path / "clips" / clip).mkdir(parents=True)
        for name in NAMES[:2]:
            shutil.copy(tmp_path / "walk" / name, tmp_path / "clips" / clip / name)
    session.create(tmp_path / "clips", puppet)
    names = ("a/0.png", "a/1.png", "b/0.png", "b/1.png")
    reviewer.load(write(names=names))
    session.show_name("a/0.png")
    session.swap_sides()
    reviewer.carry_sides()
    flip = list(puppet.flip_index)
    np.testing.assert_array_equal(session.label_of("a/1.png").points, moved(1)[flip])
    np.testing.assert_array_equal(session.label_of("b/0.png").points, moved(2))


def test_doubts_are_the_least_sure_suggested_joints(session, reviewer, write, puppet):
    confidence = np.full((4, 5), 0.9, np.float32)
    confidence[1, 2], confidence[1, 3] = 0.25, 0.5
    poses = replace(predictions(puppet), confidence=confidence)
    reviewer.load(write(poses=poses))
    assert reviewer.doubts("1.png") == [("left hand", pytest.approx(0.25))]
    session.move_joint(2, 5, 5, "drag")
    assert reviewer.doubts("1.png", 2)[0][0] == "right hand"


# ---------------------------------------------------------------- the next session


def test_the_review_goes_on_when_the_project_is_opened_again(session, reviewer, write):
    path = write()
    reviewer.load(path)
    reviewer.remove_suggestion()
    reviewer.accept_above(0.9)
    reviewer = again(session)
    assert reviewer.path == path
    assert reviewer.queue == ["2.png"]
    assert reviewer.total == 4
    assert reviewer.unseen == {"0.png", "3.png"}
    assert reviewer.sure("2.png") == pytest.approx(0.6)
    session.show_name("1.png")
    session.copy_last_pose()
    assert "1.png" not in reviewer.queue


def test_predictions_of_the_project_move_with_it(session, reviewer, puppet):
    inside = session.project.folder / "runs" / "predict-0001" / "predictions.coco.json"
    inside.parent.mkdir(parents=True)
    write_coco(predictions(puppet), inside)
    reviewer.load(inside)
    notes = (session.project.folder / "runs" / NOTES).read_text()
    assert '"runs/predict-0001/predictions.coco.json"' in notes


def test_a_project_opens_without_its_predictions(session, reviewer, write):
    path = write()
    reviewer.load(path)
    path.unlink()
    reviewer = again(session)
    assert not reviewer.loaded
    assert "round-1.coco.json" in reviewer.trouble
    assert session.label_of("1.png").suggested.all()


def test_damaged_notes_are_told_and_left_alone(session, reviewer, write):
    reviewer.load(write())
    notes = session.project.folder / "runs" / NOTES
    notes.write_text('{"version": 7}')
    reviewer = again(session)
    assert "another version" in reviewer.trouble
    assert notes.read_text() == '{"version": 7}'


# ---------------------------------------------------------------- what is refused


def test_predictions_of_other_images_are_refused(session, reviewer, write):
    with pytest.raises(AnnotationError, match=r"None of the 4 images in .* is open here"):
        reviewer.load(write(names=("a", "b", "c", "d")))
    assert not reviewer.loaded
    assert session.undo_words == ""


def test_images_of_another_size_are_refused(session, reviewer, write, puppet):
    poses = replace(predictions(puppet), image_size=np.full((4, 2), 300, np.int32))
    with pytest.raises(AnnotationError, match="300 x 300 pixels, the image has 120 x 100"):
        reviewer.load(write(poses=poses))


def test_joints_are_found_by_name_and_missing_ones_refused(session, reviewer, write, puppet):
    order = [4, 3, 2, 1, 0]
    other = Skeleton(name="other", joints=tuple(puppet.joints[j] for j in order), edges=())
    poses = predictions(puppet)
    reviewer.load(
        write(
            poses=PoseSet.create(
                other,
                poses.keypoints[:, order],
                (120, 100),
                image_ids=NAMES,
                confidence=poses.confidence,
            )
        )
    )
    np.testing.assert_allclose(session.label_of("0.png").points, POSE)
    few = Skeleton(name="few", joints=puppet.joints[:2], edges=())
    with pytest.raises(SkeletonMismatchError, match="left_hand"):
        reviewer.load(
            write("few", PoseSet.create(few, poses.keypoints[:, :2], (120, 100), image_ids=NAMES))
        )
    assert reviewer.loaded


def test_a_project_that_can_only_be_viewed_is_left_alone(session, reviewer, write):
    session.project.read_only = "Another window has it."
    with pytest.raises(FlexPoseError, match="Another window"):
        reviewer.load(write())
    assert not (session.project.folder / "runs" / NOTES).exists()


# ---------------------------------------------------------------- what they were worth


def test_only_what_a_person_decided_says_what_suggestions_were_worth(session, reviewer, write):
    reviewer.load(write())
    assert reviewer.agreement() is None
    reviewer.accept_above(0.9)
    assert reviewer.agreement() is None
    session.move_joint(0, POSE[0, 0] + 1 + 10, POSE[0, 1], "drag")  # of 1.png; 10 of 50 px
    session.accept()
    before, now = reviewer.agreement()
    assert before is None
    assert (now.frames, now.joints) == (1, 5)
    assert now.pck == pytest.approx(4 / 5)
    assert now.distance_percent == pytest.approx(100 * 10 / 50 / 5)


def test_rounds_are_compared_on_frames_that_were_decided_since(session, reviewer, write):
    reviewer.load(write("round-1", shift=6.0))
    session.accept()  # 1.png may be trained with
    reviewer.load(write("round-2", shift=1.0))
    assert reviewer.agreement() is None
    session.show_name("2.png")
    session.accept()
    before, now = reviewer.agreement()
    assert before.frames == now.frames == 1
    assert before.distance_percent == pytest.approx(100 * 5 / 50)
    assert now.distance_percent == 0
    before, now = again(session).agreement()
    assert before.frames == 1


def test_without_the_file_before_there_is_nothing_to_compare_with(session, reviewer, write):
    first = write("round-1")
    reviewer.load(first)
    reviewer.load(write("round-2", shift=1.0))
    first.unlink()
    session.accept()
    before, now = reviewer.agreement()
    assert before is None
    assert now.frames == 1


def test_loading_a_file_again_is_the_same_round(session, reviewer, write):
    path = write()
    reviewer.load(path)
    reviewer.load(path)
    session.accept()
    assert reviewer.agreement()[0] is None
