"""Pictures of poses: trained, painted, written with exact keypoints and marked as synthetic."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from flexpose.compute import generator_for
from flexpose.configs.translator import TranslateConfig
from flexpose.errors import ConfigError, DataFormatError, FlexPoseError, SkeletonMismatchError
from flexpose.events import (
    JobCancelled,
    JobFailed,
    JobFinished,
    PreviewReady,
    StepCompleted,
    WarningRaised,
)
from flexpose.frames import open_frames
from flexpose.geometry import boxes_to_crops, canvas_to_unit, image_to_unit, normalised
from flexpose.io import read_poses, write_poses
from flexpose.io.coco_check import check_coco
from flexpose.io.coco_clients import run_clients
from flexpose.models.translator import load_translator
from flexpose.poseset import PoseSet
from flexpose.training import translate
from flexpose.training.clips import placed
from flexpose.training.pictures import sheet

COUNT = 11


@pytest.fixture(scope="module")
def trained(workshop, play, tmp_path_factory):
    folder = tmp_path_factory.mktemp("translator")
    config = workshop.translator(labels=workshop.path / "frames-shots.npz", preview_every=2)
    events = play("train-translator", config, folder)
    assert isinstance(events[-1], JobFinished), events[-1]
    (first, _) = [e.images for e in events if isinstance(e, PreviewReady)]
    assert first.shape == (1, 3 * 132 + 4, 6 * 132 + 4, 3)  # enlarged to 128 px, with gaps
    return folder


def settings(trained, workshop, folder, **changes):
    values = {
        "model": trained,
        "poses": workshop.frames / "mannequin.coco.json",
        "out": folder / "pictures",
        "n": COUNT,
        "batch_size": 4,
        "device": "cpu",
    }
    return TranslateConfig.model_validate({**values, **changes})


@pytest.fixture(scope="module")
def pictures(trained, workshop, play, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    events = play("translate", settings(trained, workshop, folder), folder / "run")
    assert isinstance(events[-1], JobFinished), events[-1]
    assert events[-1].result == folder / "pictures"
    (shown,) = [e.images for e in events if isinstance(e, PreviewReady)]
    written = cv2.imread(str(folder / "run" / "sheet.png"))[..., ::-1]
    np.testing.assert_array_equal(shown[0], written)
    return folder / "pictures"


def losses(events):
    return set().union(*(e.losses for e in events if isinstance(e, StepCompleted)))


def failed(events, kind, text):
    assert isinstance(events[-1], JobFailed), events[-1]
    assert type(events[-1].error) is kind, events[-1].details
    assert text in str(events[-1].error)


def test_pairs_are_learned_only_where_there_are_labels(workshop, play, tmp_path):
    plain = losses(play("train-translator", workshop.translator(steps=1), tmp_path / "a"))
    labels = workshop.path / "frames-shots.npz"
    config = workshop.translator(steps=1, labels=labels)
    assert losses(play("train-translator", config, tmp_path / "b")) - plain == {"pairs", "features"}
    coloured = workshop.translator(steps=1, channels=3)
    assert losses(play("train-translator", coloured, tmp_path / "c")) - plain == {"same"}


def test_pairs_bring_pictures_nearer_to_the_frames(workshop, play, tmp_path):
    labels = workshop.frames / "mannequin.coco.json"
    config = workshop.translator(labels=labels, steps=40, lr=5e-3)
    steps = [e for e in play("train-translator", config, tmp_path) if isinstance(e, StepCompleted)]
    early, late = (np.mean([e.losses["pairs"] for e in part]) for part in (steps[:5], steps[-5:]))
    assert late < 0.6 * early
    rates = [e.lr for e in steps]
    assert rates[:21] == [5e-3] * 21  # then a line down to nothing
    np.testing.assert_allclose(np.diff(rates[20:]), -5e-3 / 20, rtol=1e-6)


def test_the_file_is_valid_and_says_that_it_is_synthetic(pictures, trained):
    path = pictures / "synthetic.coco.json"
    assert check_coco(path, images=pictures) == []
    assert run_clients(path) == []
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["info"]["synthetic"] is True
    assert "Synthetic" in document["info"]["description"]
    assert len(document["images"]) == len(document["annotations"]) == COUNT
    for entry in (*document["images"], *document["annotations"]):
        assert entry["synthetic"] is True
    assert document["annotations"][0]["flexpose"] == {
        "source": "synthetic",
        "reviewed": False,
        "model": str(trained),
        "seed": 0,
    }
    assert set(document["annotations"][0]["keypoints"][2::3]) == {2}
    assert list(open_frames(path).names) == [image["file_name"] for image in document["images"]]


def test_keypoints_lie_where_the_condition_was_drawn(pictures, trained):
    poses, translator = read_poses(pictures / "synthetic.coco.json"), load_translator(trained)
    like = translator.any_frames(COUNT, generator_for(0, translate._FRAMES))
    drawn, painted = translator(torch.from_numpy(canvas_to_unit(poses.keypoints, 32)), like)
    frames = open_frames(pictures / "synthetic.coco.json")
    for row, points in enumerate(poses.keypoints):
        x, y = np.rint(points).astype(int).T
        assert (drawn[row, 0, y, x] > 0).all()  # on a limb, half of its brightness at least
        wanted = (painted[row].permute(1, 2, 0).numpy() + 1) * 127.5
        assert np.abs(frames.read(row) - wanted).max() < 4  # coordinates have two decimals


def test_a_translator_keeps_the_places_and_looks_of_labelled_frames(trained, workshop):
    shots, translator = read_poses(workshop.path / "frames-shots.npz"), load_translator(trained)
    assert translator.looks.shape == (len(shots), 6, 32, 32)
    assert translator.places.shape == (len(shots), 3)
    truth = read_poses(workshop.frames / "mannequin.coco.json")
    rows = [truth.image_ids.index(name) for name in shots.image_ids]
    unit = image_to_unit(shots.keypoints, boxes_to_crops(truth.boxes[rows]))
    again = placed(torch.from_numpy(normalised(shots.keypoints)), translator.places)
    np.testing.assert_allclose(again, unit, atol=1e-4)


def test_without_labels_and_looks_poses_stay_box_normalised(workshop, play, tmp_path):
    config = workshop.translator(steps=1, looks=False)
    play("train-translator", config, tmp_path / "train")
    translator = load_translator(tmp_path / "train")
    assert (len(translator.places), len(translator.looks)) == (0, 0)
    play("translate", settings(tmp_path / "train", workshop, tmp_path), tmp_path / "run")
    unit = canvas_to_unit(read_poses(tmp_path / "pictures" / "synthetic.coco.json").keypoints, 32)
    np.testing.assert_allclose(normalised(unit), unit, atol=2e-3)


def test_the_seed_decides_which_poses_and_where(pictures, trained, workshop, play, tmp_path):
    def contents(folder):
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.*")}

    play("translate", settings(trained, workshop, tmp_path, batch_size=3), tmp_path / "run")
    assert contents(tmp_path / "pictures") == contents(pictures)
    other = settings(trained, workshop, tmp_path, seed=1, out=tmp_path / "other")
    play("translate", other, tmp_path / "run")
    assert contents(tmp_path / "other").keys() == contents(pictures).keys()
    keypoints = [
        read_poses(p / "synthetic.coco.json").keypoints for p in (tmp_path / "other", pictures)
    ]
    assert not np.array_equal(*keypoints)


def test_only_results_of_its_own_are_replaced(trained, workshop, play, tmp_path):
    target = tmp_path / "pictures"
    config = settings(trained, workshop, tmp_path, n=2)
    play("translate", config, tmp_path / "run")
    failed(play("translate", config, tmp_path / "run"), ConfigError, "exists already")
    fewer = config.model_copy(update={"n": 1, "overwrite": True})
    assert isinstance(play("translate", fewer, tmp_path / "run")[-1], JobFinished)
    assert len(list((target / "synthetic").iterdir())) == 1
    (target / "mine.txt").write_text("mine")
    failed(play("translate", fewer, tmp_path / "run"), ConfigError, "did not write")
    assert (target / "mine.txt").read_text() == "mine"


def test_cancelled_it_leaves_nothing_and_stopped_what_it_has(trained, workshop, play, tmp_path):
    config = settings(trained, workshop, tmp_path)
    events = play("translate", config, tmp_path / "run", cancel_at=4)
    assert isinstance(events[-1], JobCancelled), events[-1]
    assert {path.name for path in tmp_path.iterdir()} == {"run"}
    events = play("translate", config, tmp_path / "run", stop_at=4)
    assert isinstance(events[-1], JobFinished), events[-1]
    assert len(read_poses(tmp_path / "pictures" / "synthetic.coco.json")) == 4


def test_training_can_be_cancelled_while_frames_are_read(workshop, play, tmp_path):
    events = play("train-translator", workshop.translator(), tmp_path, cancel_at=0)
    assert isinstance(events[-1], JobCancelled), events[-1]


def test_images_of_several_sizes_are_learned_whole(workshop, play, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number, side in enumerate((40, 48, 64)):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((side, 2 * side, 3), 90, np.uint8))
    config = workshop.translator(steps=1, frames={"path": folder, "crop": "whole"})
    assert isinstance(play("train-translator", config, tmp_path / "run")[-1], JobFinished)


def test_poses_may_come_from_a_model(trained, workshop, play, tmp_path):
    model = "body15"
    config = workshop.translator(steps=1, poses=None, source=model, num_poses=20)
    assert isinstance(play("train-translator", config, tmp_path / "train")[-1], JobFinished)
    config = settings(trained, workshop, tmp_path, poses=None, source=model, n=3)
    assert isinstance(play("translate", config, tmp_path / "run")[-1], JobFinished)
    poses = read_poses(tmp_path / "pictures" / "synthetic.coco.json")
    assert len(poses) == 3
    both = workshop.translator(source=model)
    failed(play("train-translator", both, tmp_path / "both"), FlexPoseError, "Found both poses")
    neither = workshop.translator(poses=None)
    failed(play("train-translator", neither, tmp_path / "none"), FlexPoseError, "Found neither")


def test_what_does_not_fit_is_said(trained, workshop, play, tmp_path, puppet_poses):
    def train(**changes):
        return play("train-translator", workshop.translator(**changes), tmp_path / "train")

    puppets = tmp_path / "puppets.npz"
    write_poses(puppet_poses(8), puppets)
    failed(train(labels=puppets, poses=puppets), FlexPoseError, "is among the frames")
    failed(train(labels=puppets), SkeletonMismatchError, "Poses of puppet lack the joints")
    (tmp_path / "empty").mkdir()
    empty = {"path": tmp_path / "empty", "crop": "whole"}
    failed(train(frames=empty), DataFormatError, "holds no images")
    truth = read_poses(workshop.frames / "mannequin.coco.json")
    keypoints = truth.keypoints.copy()
    keypoints[1:, 3] = np.nan
    partial = tmp_path / "partial.npz"
    write_poses(
        PoseSet.create(
            truth.skeleton, keypoints, truth.image_size, boxes=truth.boxes,
            image_ids=truth.image_ids,
        ),
        partial,
    )  # fmt: skip
    failed(train(poses=partial), FlexPoseError, "1 of 16 poses are complete")
    (warning,) = [e for e in train(labels=partial, steps=1) if isinstance(e, WarningRaised)]
    assert "15 of 16 labels lack joints" in warning.message
    write_poses(read_poses(partial)[1:], partial)
    failed(train(labels=partial), FlexPoseError, "none of the 15 labels has all joints")

    def paint(**changes):
        return play("translate", settings(trained, workshop, tmp_path, **changes), tmp_path / "p")

    failed(paint(poses=puppets), SkeletonMismatchError, "Poses of puppet lack the joints")
    failed(paint(n=17), FlexPoseError, "16 poses are complete, expected at least 17")
    failed(paint(out=None), ConfigError, "no place for the pictures")


def test_a_sheet_has_rows_of_enlarged_pictures_with_gaps():
    rows = [np.full((3, 64, 64, 3), level, np.uint8) for level in (100, 200)]
    rows[0][1] = 150
    table = sheet(rows)
    assert table.shape == (2 * 132 + 4, 3 * 132 + 4, 3)
    assert [table[y, x, 0] for y, x in ((0, 0), (4, 4), (131, 200), (263, 4))] == [
        17,
        100,
        150,
        200,
    ]
