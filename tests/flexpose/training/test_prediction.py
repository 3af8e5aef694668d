"""Job predict: a pose and a confidence for every frame, and nothing where it was cancelled."""

from __future__ import annotations

import numpy as np
import pytest

from flexpose import prediction
from flexpose.configs.detector import DetectorConfig, PredictConfig
from flexpose.errors import ConfigError, FlexPoseError
from flexpose.events import JobCancelled, JobFinished, MetricsReady, PreviewReady, StepCompleted
from flexpose.geometry import boxes_to_crops, tight_boxes
from flexpose.io import read_poses
from flexpose.io.coco_check import check_coco
from flexpose.jobs import CancelToken, guarded, run_to_completion
from flexpose.runs import RunDir
from flexpose.training import detector


@pytest.fixture(scope="module")
def trained(workshop, tmp_path_factory):
    run = RunDir.create("train-detector", root=tmp_path_factory.mktemp("detector"))
    run_to_completion(detector.run(workshop.detector(), run, CancelToken(run)))
    return run.path


def predict(trained, workshop, folder, **changes):
    values = {
        "model": trained,
        "frames": {"path": workshop.frames, "crop": "whole"},
        "out": folder / "found.json",
        "device": "cpu",
        **changes,
    }
    run = RunDir.create("predict", root=folder)
    config = PredictConfig.model_validate(values)
    return list(guarded(prediction.run(config, run, CancelToken(run))))


def test_every_frame_gets_a_pose_and_a_confidence(trained, workshop, tmp_path):
    events = predict(trained, workshop, tmp_path)
    assert isinstance(events[-1], JobFinished)
    assert events[-1].result == tmp_path / "found.json"
    found = read_poses(tmp_path / "found.json")
    truth = read_poses(workshop.frames / "mannequin.coco.json")
    assert sorted(found.image_ids) == sorted(truth.image_ids)
    assert found.complete.all()
    assert (found.image_size == truth.image_size[0]).all()
    assert found.confidence is not None
    assert ((found.confidence > 0) & (found.confidence < 1)).all()
    assert not [f for f in check_coco(tmp_path / "found.json") if f.severity == "error"]
    steps = [e for e in events if isinstance(e, StepCompleted)]
    assert (steps[-1].step, steps[-1].total_steps) == (32, 32)
    (pictures,) = [e.images for e in events if isinstance(e, PreviewReady)]
    assert pictures.shape == (8, 192, 192, 3)
    (metrics,) = [e.metrics for e in events if isinstance(e, MetricsReady)]
    assert metrics["frames"] == 16
    assert metrics["confidence"] == pytest.approx(found.confidence.mean(), abs=1e-3)


def test_a_second_look_moves_the_crop_to_the_person(trained, workshop, tmp_path, monkeypatch):
    seen, cut = [], prediction._crops

    def watched(frames, index, crops, size):
        seen.append(crops)
        return cut(frames, index, crops, size)

    monkeypatch.setattr(prediction, "_crops", watched)
    predict(trained, workshop, tmp_path, rounds=1)
    assert not seen
    first = read_poses(tmp_path / "found.json")
    predict(trained, workshop, tmp_path, rounds=2, overwrite=True)
    np.testing.assert_allclose(
        np.concatenate(seen), boxes_to_crops(tight_boxes(first.keypoints)), atol=0.05
    )


def test_cancelled_it_leaves_no_file(trained, workshop, tmp_path):
    run = RunDir.create("predict", root=tmp_path)
    token = CancelToken(run)
    config = PredictConfig(
        model=trained,
        frames={"path": workshop.frames, "crop": "whole"},
        out=tmp_path / "found.json",
        batch_size=4,
        device="cpu",
    )
    events = []
    for event in guarded(prediction.run(config, run, token)):
        events.append(event)
        if isinstance(event, StepCompleted):
            token.cancel()
    assert isinstance(events[-1], JobCancelled)
    assert not (tmp_path / "found.json").exists()


@pytest.mark.parametrize("crop", ["whole", "motion"])
def test_cancelled_while_frames_are_read_it_ends_as_cancelled(trained, workshop, tmp_path, crop):
    for name, values in (
        ("predict", {"model": trained, "out": tmp_path / "found.json"}),
        ("train-detector", {"shots": workshop.frames / "mannequin.coco.json"}),
    ):
        run = RunDir.create(name, root=tmp_path)
        token = CancelToken(run)
        token.cancel()
        frames = {"path": workshop.frames, "crop": crop}
        config, job = {
            "predict": (PredictConfig, prediction.run),
            "train-detector": (DetectorConfig, detector.run),
        }[name]
        events = list(guarded(job(config(frames=frames, device="cpu", **values), run, token)))
        assert isinstance(events[-1], JobCancelled)


def test_results_are_not_replaced_unasked_and_only_coco_is_written(trained, workshop, tmp_path):
    (tmp_path / "found.json").write_text("mine")
    events = predict(trained, workshop, tmp_path)
    assert isinstance(events[-1].error, ConfigError)
    assert (tmp_path / "found.json").read_text() == "mine"
    events = predict(trained, workshop, tmp_path, out=tmp_path / "found.npz")
    assert "expected a COCO file" in str(events[-1].error)


def test_what_is_no_detector_is_refused(workshop, tmp_path):
    events = predict(workshop.keypoints, workshop, tmp_path)
    assert isinstance(events[-1].error, FlexPoseError)
