"""Pose VAE: what is rare scores high, and the bins that come of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from flexpose.configs.difficulty import ScoreConfig, VaeConfig
from flexpose.errors import CheckpointError, FlexPoseError
from flexpose.events import JobFailed, JobFinished, StepCompleted
from flexpose.geometry import normalised
from flexpose.io import read_poses, write_poses
from flexpose.models.pose_vae import PoseVae, divergence, load_vae, reconstruction


@pytest.fixture(scope="module")
def vae(workshop, play, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae") / "run"
    config = VaeConfig.model_validate(
        {"source": workshop.source, "width": 32, "latent": 3, "steps": 150, "batch_size": 32}
    )
    events = play("train-vae", config, folder)
    assert isinstance(events[-1], JobFinished), events[-1]
    steps = [e for e in events if isinstance(e, StepCompleted)]
    assert steps[-1].losses["distance"] < 0.5 * steps[0].losses["distance"]
    return folder


def test_score_and_divergence_by_hand():
    poses = torch.zeros(2, 3, 2)
    again = poses.clone()
    again[1, 0] = torch.tensor([3.0, 4.0])
    again[1, 2, 0] = 1.0
    assert reconstruction(again, poses).tolist() == [0, 26]
    mean, log_variance = torch.tensor([[0.0, 0], [1, 2]]), torch.zeros(2, 2)
    assert divergence(mean, log_variance).tolist() == [0, 2.5]
    assert divergence(torch.zeros(1, 1), torch.tensor([[1.0]])).item() == pytest.approx(
        (np.e - 2) / 2
    )


def test_planted_outliers_score_last(vae, workshop):
    model, skeleton = load_vae(vae)
    poses = normalised(read_poses(workshop.path / "source.npz").keypoints)
    odd = np.random.default_rng(0).uniform(-1, 1, (5, skeleton.num_joints, 2))
    both = torch.from_numpy(np.concatenate([poses, normalised(odd)]).astype(np.float32))
    scores = model.score(both)
    assert set(scores.argsort()[-5:].tolist()) == set(range(len(poses), len(both)))


def test_poses_are_scored_binned_and_drawn(vae, workshop, play, tmp_path):
    config = ScoreConfig(model=vae, poses=workshop.path / "source.npz", bins=5)
    events = play("score", config, tmp_path / "run")
    assert isinstance(events[-1], JobFinished), events[-1]
    with np.load(tmp_path / "run" / "scores.npz") as found:
        scores, bins, rows = found["score"], found["bin"], found["row"]
    assert len(scores) == len(bins) == len(rows) == 80
    means = [scores[bins == number].mean() for number in range(5)]
    assert means == sorted(means)
    names = {path.name for path in (tmp_path / "run").glob("*.png")}
    assert names == {
        "bins.png",
        "likeness.png",
        "bin-01.png",
        "bin-02.png",
        "bin-04.png",
        "bin-05.png",
    }
    data = json.loads((tmp_path / "run" / "report.json").read_text())
    assert np.allclose(np.array(data["likeness"]), np.array(data["likeness"]).T)
    assert "| 5 |" in (tmp_path / "run" / "report.md").read_text()


def test_what_cannot_be_scored_is_said(vae, workshop, play, tmp_path):
    few = read_poses(workshop.path / "source.npz")[:3]
    write_poses(few, tmp_path / "few.npz")
    events = play("score", ScoreConfig(model=vae, poses=tmp_path / "few.npz"), tmp_path / "a")
    assert isinstance(events[-1], JobFailed)
    assert isinstance(events[-1].error, FlexPoseError)
    assert "3 of 3 poses are complete, expected at least 25" in str(events[-1].error)
    wrong = ScoreConfig(model=workshop.keypoints, poses=workshop.path / "source.npz")
    events = play("score", wrong, tmp_path / "b")
    assert isinstance(events[-1].error, CheckpointError)


def test_a_code_stays_finite_for_any_pose():
    model = PoseVae(4, 8, 2)
    mean, log_variance = model.code(torch.full((1, 4, 2), 1e6))
    assert bool(log_variance.exp().isfinite().all())
    assert mean.shape == (1, 2)
