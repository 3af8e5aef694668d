"""Priors of a user's own skeleton: which fit, what one can be learned from, what is asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from held_runner import HeldRunner

from flexpose.annotation.label import FrameLabel
from flexpose.configs.prior import PriorConfig
from flexpose.errors import DataFormatError, FlexPoseError, SkeletonMismatchError
from flexpose.events import (
    JobCancelled,
    JobEvent,
    JobFinished,
    MetricsReady,
    PreviewReady,
    event_to_json,
)
from flexpose.io.coco import write_coco
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton, load_skeleton
from napari_flexpose.desk import JobDesk
from napari_flexpose.priors import LEARN, STEPS
from napari_flexpose.session import FlexPoseSession
from napari_flexpose.studio import Studio

FISH = Skeleton(
    name="fish4",
    joints=("snout", "left_fin", "right_fin", "tail"),
    edges=((0, 3), (0, 1), (0, 2)),
    symmetric_pairs=((1, 2),),
    category="fish",
)


def swimming(count: int, skeleton: Skeleton = FISH) -> PoseSet:
    points = np.random.default_rng(3).uniform(5, 90, (count, skeleton.num_joints, 2))
    return PoseSet.create(skeleton, points, (96, 96))


def written(poses: PoseSet, path: Path) -> Path:
    write_coco(poses, path)
    return path


@pytest.fixture
def runner() -> HeldRunner:
    return HeldRunner()


@pytest.fixture
def studio(images: Path, runner: HeldRunner):
    """Two frames with labels of a skeleton that no shipped prior knows."""
    session = FlexPoseSession()
    session.create(images, FISH)
    assert session.frames is not None
    for shift, name in enumerate(session.frames.names[:2]):
        points = np.array([[10, 40], [30, 30], [30, 50], [80 + shift, 40]], np.float32)
        label = FrameLabel(points=points, state=np.full(4, 2, np.int8), suggested=np.zeros(4, bool))
        session.apply({name: label}, "label")
    yield Studio(session, JobDesk(runner))
    session.close()


@pytest.fixture
def learn(studio: Studio, runner: HeldRunner, tmp_path: Path):
    """``(last event) -> run`` of a prior that was learned, as the engine leaves it."""

    def go(last: JobEvent | None = None) -> Path:
        file = written(swimming(120), tmp_path / "pond.coco.json")
        studio.shelf.learn(studio.shelf.examine(file))
        run, config = runner.request.run, runner.request.config
        run.begin(config)
        folder = run.checkpoints / "step-000009"
        folder.mkdir(parents=True)
        meta = {
            "kind": "prior",
            "skeleton": load_skeleton(config.source.skeleton).to_dict(),
            "config": config.model_dump(mode="json"),
            "notes": ["120 poses, 120 with all joints of fish4"],
            "licence": "as the source poses",
        }
        (folder / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        (run.checkpoints / "latest").write_text(f"{folder.name}\n", encoding="utf-8")
        event = JobFinished(folder) if last is None else last
        run.events_file.write_text(event_to_json(event, run.path) + "\n", encoding="utf-8")
        runner.tell(MetricsReady(9, {"precision": 0.936, "recall": 0.5}, "val"))
        runner.tell(event)
        return run.path

    return go


# ---------------------------------------------------------------- before there is one


def test_without_a_fitting_prior_nothing_starts_and_it_says_why(studio):
    shelf = studio.shelf
    assert shelf.first is None
    assert [choice.fits for choice in shelf.choices] == [False, False]
    assert shelf.missing == (
        "No prior fits the skeleton fish4: those at hand are of body15, with joints that yours "
        "does not have."
    )
    assert "lacks joints of it: neck, head, pelvis and 12 more." in shelf.choices[0].details
    assert (studio.source, studio.source_words) == ("", "no prior yet")
    with pytest.raises(SkeletonMismatchError, match="Learn one from poses first"):
        studio.adapt({})
    with pytest.raises(SkeletonMismatchError, match="neck"):
        studio.adapt({"prior": "body15"})
    with pytest.raises(FlexPoseError, match="Learn one in Adapt first"):
        studio.generate({"out": Path("poses.json")})


def test_the_shipped_priors_fit_their_own_skeleton(images, body, runner):
    session = FlexPoseSession()
    session.create(images, body)
    studio = Studio(session, JobDesk(runner))
    assert [choice.words for choice in studio.shelf.choices] == ["body15", "body15-image"]
    assert (studio.shelf.missing, studio.source) == ("", "body15")
    session.close()


# ---------------------------------------------------------------- what it is learned from


def test_a_file_of_poses_is_described_before_anything_starts(studio, tmp_path):
    poses = swimming(130)
    visibility = poses.visibility.copy()
    visibility[:10, 2] = 0
    keypoints = np.where(visibility[..., None] > 0, poses.keypoints, np.nan)
    poses = replace(poses, visibility=visibility, keypoints=keypoints)
    found = studio.shelf.examine(written(poses, tmp_path / "pond.coco.json"))
    assert (found.total, found.complete) == (130, 120)
    assert found.words == (
        "pond.coco.json has 120 complete poses of fish4. Learning takes about 3 min on one "
        "processor core. 10 without all joints are left out."
    )
    assert found.warning == ""
    few = studio.shelf.examine(written(swimming(40), tmp_path / "few.coco.json"))
    assert "few" in few.warning


def test_joints_are_found_by_name_in_any_order_and_among_others(studio, tmp_path):
    order = ("tail", "eye", "right_fin", "left_fin", "snout")
    other = Skeleton(name="herring", joints=order, edges=((0, 1),))
    found = studio.shelf.examine(written(swimming(20, other), tmp_path / "a.coco.json"))
    assert (found.complete, found.skeleton) == (20, FISH)


@pytest.mark.parametrize(
    ("joints", "count", "error", "words"),
    [
        (FISH.joints[:3], 50, SkeletonMismatchError, "lack the joints tail of fish4"),
        (FISH.joints, 15, FlexPoseError, "has 15 complete poses of fish4, of 15 in all; at least"),
    ],
)
def test_a_file_that_teaches_nothing_is_refused(studio, tmp_path, joints, count, error, words):
    other = Skeleton(name="other", joints=joints, edges=((0, 1),))
    path = written(swimming(count, other), tmp_path / "a.coco.json")
    with pytest.raises(error, match=words):
        studio.shelf.examine(path)


def test_a_file_that_cannot_be_read_is_refused(studio, tmp_path):
    path = tmp_path / "a.coco.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(DataFormatError, match="not valid JSON"):
        studio.shelf.examine(path)


def test_learning_takes_the_projects_skeleton_as_it_is_now(studio, runner, tmp_path):
    path = written(swimming(20), tmp_path / "pond.coco.json")
    studio.shelf.learn(studio.shelf.examine(path), "cpu")
    config = runner.request.config
    assert isinstance(config, PriorConfig)
    assert (runner.request.command, runner.request.outlives) == (LEARN, True)
    assert (config.source.poses, config.source.min_side, config.device) == (path, 0, "cpu")
    assert config.steps == STEPS
    assert studio.shelf.learning
    studio.session.change_skeleton(replace(FISH, name="renamed"))
    assert load_skeleton(config.source.skeleton) == FISH
    with pytest.raises(FlexPoseError, match="running already"):
        studio.shelf.learn(studio.shelf.examine(path))


# ---------------------------------------------------------------- what was learned


def test_a_learned_prior_is_the_first_choice(studio, runner, learn):
    heard: list[str] = []
    studio.model_changed.connect(lambda: heard.append(studio.source))
    run = learn()
    first = studio.shelf.first
    assert (first.words, first.learned, first.card.name) == ("fish4 (learned 1)", True, str(run))
    assert heard[-1] == str(run)
    assert studio.skeleton_of(str(run)) == FISH
    assert studio.shelf.missing == ""
    assert "120 poses" in first.details
    second = learn()
    assert [choice.card.name for choice in studio.shelf.choices[:2]] == [str(second), str(run)]
    studio.adapt({"steps": 3})
    assert runner.request.config.prior == str(second)
    assert runner.request.config.batch_size == 512  # of a keypoint prior


def test_what_was_cancelled_is_no_choice(studio, learn):
    learn(JobCancelled(3))
    assert studio.shelf.first is None


def test_learned_priors_are_there_when_the_project_is_opened_again(studio, learn, images):
    run = learn()
    folder = studio.session.project.folder
    studio.session.close()
    assert studio.shelf.missing == ""
    studio.session.open(folder)
    assert studio.shelf.first.card.name == str(run)


def test_a_prior_fits_a_skeleton_that_has_grown_and_not_one_that_lost_a_joint(studio, learn):
    learn()
    more = replace(FISH, joints=(*FISH.joints, "eye"), edge_colors=())
    studio.session.change_skeleton(more)
    assert studio.shelf.first.fits
    less = Skeleton(name="less", joints=FISH.joints[:3], edges=((0, 1),))
    studio.session.change_skeleton(less, drop=True)
    assert studio.shelf.first is None
    (learned,) = [choice for choice in studio.shelf.choices if choice.learned]
    assert learned.details.startswith("Your skeleton lacks joints of it: tail.")


def test_a_prior_is_found_where_the_project_was_moved_to(studio, learn, tmp_path):
    run = learn()
    before = tmp_path / "elsewhere" / "runs" / run.name
    assert studio.shelf.find(str(before)).card.name == str(run)
    assert studio.shelf.find(str(tmp_path)) is None
    assert studio.shelf.find("") is None


def test_pictures_come_with_their_skeleton_and_the_end_with_words(studio, runner, tmp_path):
    path = written(swimming(20), tmp_path / "pond.coco.json")
    studio.shelf.learn(studio.shelf.examine(path))
    preview = PreviewReady(9, np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 4, 2), np.float32))
    runner.tell(preview)
    assert studio.shelf.preview == (preview, FISH)
    studio.session.set_work(["0.png"])  # another work list is no other project
    assert studio.shelf.preview is not None


def test_how_good_it_is_is_told_in_plain_words(studio, learn):
    heard: list[str] = []
    studio.shelf.progressed.connect(lambda: heard.append(studio.shelf.outcome))
    learn()
    assert heard[-1] == (
        "fish4 (learned 1) is ready. 94 of 100 poses that it makes look like some of the file, and "
        "it comes near 50 of 100 of these."
    )
