"""Adapting: what is fitted, what it warns of, and shots that are refused."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from flexpose.checkpoint import load_checkpoint
from flexpose.errors import (
    CheckpointError,
    ConfigError,
    DataFormatError,
    FlexPoseError,
    PoseShapeError,
    SkeletonMismatchError,
    UnknownNameError,
)
from flexpose.events import (
    TERMINAL,
    CheckpointSaved,
    JobFailed,
    JobFinished,
    MapReady,
    MetricsReady,
    PreviewReady,
    StepCompleted,
    WarningRaised,
)
from flexpose.geometry import canvas_poses
from flexpose.io import write_poses
from flexpose.kinematics import KinematicTransfer
from flexpose.models.prior import load_generator
from flexpose.poseset import PoseSet
from flexpose.sampling import PoseModel, PoseSampler, load_model
from flexpose.skeleton import Skeleton
from flexpose.training import adaptation


def failed(events, kind, text):
    """The one failure of a job, checked."""
    assert isinstance(events[-1], JobFailed), events[-1]
    assert sum(isinstance(e, TERMINAL) for e in events) == 1
    error = events[-1].error
    assert type(error) is kind, events[-1].details
    assert text in str(error)
    assert "\n" not in str(error)


def test_longer_arms_of_the_shots_are_found(workshop, puppet, play, tmp_path):
    planted = KinematicTransfer(puppet)
    with torch.no_grad():
        planted.log_ratio[2] = 0.5
    model = PoseModel(load_generator(workshop.keypoints), kinematics=planted)
    poses = PoseSampler(model).draw(40, torch.Generator().manual_seed(5))
    shots = written(canvas_poses(poses.numpy(), puppet, 256), tmp_path / "long.npz")
    config = workshop.adapt(
        shots=shots,
        steps=60,
        batch_size=64,
        transfer={"matching": "none"},
        weighting={"enabled": 0},
    )
    events = play("adapt", config, tmp_path / "run")
    assert isinstance(events[-1], JobFinished)
    losses = [e.losses["energy"] for e in events if isinstance(e, StepCompleted) and e.losses]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    back, tail, left, right = load_model(tmp_path / "run").kinematics.ratios().tolist()
    assert left == right
    assert left > 1.15 * max(back, tail)


def test_the_events_tell_what_was_measured(workshop, play, tmp_path):
    events = play("adapt", workshop.adapt(preview_every=1), tmp_path)
    saved = next(i for i, e in enumerate(events) if isinstance(e, CheckpointSaved))
    assert isinstance(events[saved - 1], (MetricsReady, WarningRaised))
    (metrics,) = [e for e in events if isinstance(e, MetricsReady)]
    assert set(metrics.metrics) == {"energy_distance", "spread_ratio", "kept_share"}
    assert load_checkpoint(tmp_path).meta.metrics == metrics.metrics
    previews = [e for e in events if isinstance(e, PreviewReady)]
    assert [e.step for e in previews] == [1, 2, 3, 4]
    assert previews[0].images.shape == (24, 64, 64, 3)
    assert previews[0].images.dtype == np.uint8
    assert previews[0].keypoints.shape == (24, 5, 2)


def test_a_map_places_adapted_poses_among_fixed_source_poses(workshop, play, tmp_path):
    events = play("adapt", workshop.adapt(map=True), tmp_path)
    assert isinstance(events[-1], JobFinished), events[-1]
    first, *others = [e for e in events if isinstance(e, MapReady)]
    assert [e.step for e in (first, *others)] == [
        e.step for e in events if isinstance(e, PreviewReady)
    ]
    assert first.counts["source"] == 80
    assert first.counts["shots"] == 8
    assert len(first.places) == len(first.poses) == sum(first.counts.values())
    fixed = first.counts["source"] + first.counts["shots"]
    for event in others:
        assert np.array_equal(event.places[:fixed], first.places[:fixed])
        assert not np.array_equal(event.poses[fixed:], first.poses[fixed:])


def test_stopping_early_keeps_the_weights_found_so_far(workshop, play, tmp_path):
    events = play("adapt", workshop.adapt(steps=6), tmp_path, stop_at=3)
    assert isinstance(events[-1], JobFinished), events[-1]
    assert load_model(tmp_path).weights is not None
    assert load_checkpoint(tmp_path).meta.step == 3


def test_an_adapted_model_knows_its_prior(workshop, play, tmp_path):
    meta = load_checkpoint(workshop.adapted).meta
    assert meta.kind == "adapted"
    assert meta.skeleton["name"] == "puppet"
    assert meta.parent["path"] == str(workshop.keypoints)
    assert len(meta.parent["sha256"]) == 64
    assert meta.licence == load_checkpoint(workshop.keypoints).meta.licence


def test_pairs_alone_decide_tau(workshop, play, tmp_path):
    pairs = {"steps": 2, "batch_size": 4, "features": "keypoints", "num_mixups": 8}
    config = workshop.adapt(transfer={"matching": "index", "pairs": pairs})
    play("adapt", config, tmp_path / "paired", cancel_at=2)
    play("adapt", config, tmp_path / "whole")
    paired, whole = (load_checkpoint(tmp_path / name).tensors for name in ("paired", "whole"))
    assert torch.equal(paired["transfer.U.3"], whole["transfer.U.3"])
    assert not torch.equal(whole["transfer.U.3"], torch.eye(16))
    assert not torch.equal(paired["kinematics.log_ratio"], whole["kinematics.log_ratio"])


@pytest.mark.parametrize("features", ["keypoints", "beta"])
def test_pairs_tell_what_is_left_of_their_first_distance(workshop, play, tmp_path, features):
    pairs = {"batch_size": 4, "features": features, "num_mixups": 8, "steps": 3}
    config = workshop.adapt_image(transfer={"matching": "index", "pairs": pairs})
    events = play("adapt", config, tmp_path / "run")
    told = [e.losses for e in events if isinstance(e, StepCompleted) and "pairs" in e.losses]
    left = [losses["pairs_left"] for losses in told]
    assert left[0] == pytest.approx(1)
    if features == "keypoints":
        shares = [losses["pairs"] / told[0]["pairs"] for losses in told]
        assert left == pytest.approx(shares, rel=1e-4)
    else:  # the loss itself is relative to running means
        assert left[-1] != pytest.approx(told[-1]["pairs"], rel=1e-5)


def test_held_out_shots_choose_what_stays(workshop, play, tmp_path, monkeypatch):
    monkeypatch.setattr(adaptation, "_CHECK_EVERY", 1)
    # steps so large that the first one is the best
    config = workshop.adapt(
        hold_out=3,
        steps=4,
        kinematics={"enabled": False},
        weighting={"enabled": False},
        transfer={"layers": "all", "lr": 0.5, "identity_weight": 0},
    )
    play("adapt", config, tmp_path / "whole")
    best = load_checkpoint(tmp_path / "whole").train_state["best"]
    tensors = load_checkpoint(tmp_path / "whole").tensors
    assert all(torch.equal(tensors[name], best[name]) for name in best)
    play("adapt", config, tmp_path / "parts", cancel_at=2)
    play("adapt", config, tmp_path / "parts")
    again = load_checkpoint(tmp_path / "parts").tensors
    assert all(torch.equal(tensors[name], again[name]) for name in tensors)


@pytest.mark.parametrize("hold_out", [7, 8, 10])
def test_too_many_held_out_shots_are_refused(hold_out, workshop, play, tmp_path):
    events = play("adapt", workshop.adapt(hold_out=hold_out), tmp_path)
    failed(events, FlexPoseError, f"With {hold_out} of 8 shots held out fewer than 2 are left")


def test_a_collapsed_generator_is_told(workshop, play, tmp_path):
    shutil.copytree(workshop.keypoints, tmp_path / "prior")
    from safetensors.torch import load_file, save_file

    (path,) = (tmp_path / "prior").rglob("weights.safetensors")
    tensors = load_file(path)
    tensors["generator_ema.synthesis.2.weight"] *= 0  # every pose is the bias
    tensors["generator_ema.synthesis.2.bias"] += torch.arange(10.0)
    save_file(tensors, path)
    config = workshop.adapt(prior=str(tmp_path / "prior"))
    events = play("adapt", config, tmp_path / "run")
    assert isinstance(events[-1], JobFinished), events[-1]
    (warning,) = [e for e in events if isinstance(e, WarningRaised)]
    assert warning.code == "collapse"
    assert "vary only 0.00 times as much as the shots" in warning.message
    assert warning.suggestion


def test_a_healthy_generator_is_not(workshop, play, tmp_path):
    events = play("adapt", workshop.adapt(), tmp_path)
    assert not [e for e in events if isinstance(e, WarningRaised)]


def written(poses, path):
    write_poses(poses, path)
    return path


def test_one_shot_is_too_few(workshop, puppet_poses, play, tmp_path):
    shots = written(puppet_poses(1), tmp_path / "one.npz")
    events = play("adapt", workshop.adapt(shots=shots), tmp_path / "run")
    failed(events, FlexPoseError, "one.npz: 1 of 1 poses have all joints of puppet, expected at")


def test_shots_of_one_pose_are_refused(workshop, puppet_poses, play, tmp_path):
    poses = puppet_poses(1)
    shots = written(poses[[0, 0, 0]], tmp_path / "same.npz")
    events = play("adapt", workshop.adapt(shots=shots), tmp_path / "run")
    failed(events, FlexPoseError, "same.npz: all 3 shots show the same pose")


def test_incomplete_shots_are_left_out_aloud(workshop, puppet_poses, play, tmp_path):
    poses = puppet_poses(5)
    visibility = poses.visibility.copy()
    visibility[0, 3] = visibility[4, 0] = 0
    shots = written(replace(poses, visibility=visibility), tmp_path / "some.npz")
    events = play("adapt", workshop.adapt(shots=shots), tmp_path / "run")
    assert isinstance(events[-1], JobFinished)
    warning = next(e for e in events if isinstance(e, WarningRaised))
    assert warning.message == "2 of 5 shots lack joints of puppet and are left out."
    assert len(load_checkpoint(tmp_path / "run").tensors["shots"]) == 3
    visibility[:, 1] = 0
    shots = written(replace(poses, visibility=visibility), tmp_path / "none.npz")
    events = play("adapt", workshop.adapt(shots=shots), tmp_path / "run2")
    failed(events, FlexPoseError, "none.npz: 0 of 5 poses have all joints")


def test_shots_of_another_skeleton_are_refused(workshop, play, tmp_path):
    other = Skeleton(name="other", joints=("hip", "head", "fin"), edges=((0, 1),))
    shots = written(
        PoseSet.create(other, np.eye(3)[None, :, :2].repeat(3, 0), (9, 9)), tmp_path / "o.npz"
    )
    events = play("adapt", workshop.adapt(shots=shots), tmp_path / "run")
    failed(events, SkeletonMismatchError, "lack the joints left_hand, right_hand, tail of puppet")
    assert "o.npz" in str(events[-1].error)


def test_shots_are_matched_by_name(workshop, puppet_poses, play, tmp_path, puppet):
    order = [3, 0, 4, 1, 2]
    joints = tuple(puppet.joints[i] for i in order)
    poses = puppet_poses(8, seed=1, reach=1.4)
    mixed = PoseSet.create(
        Skeleton(name="mixed", joints=joints, edges=()), poses.keypoints[:, order], (200, 200)
    )
    shots = written(mixed, tmp_path / "mixed.npz")
    play("adapt", workshop.adapt(shots=shots), tmp_path / "a")
    play("adapt", workshop.adapt(), tmp_path / "b")
    a, b = (load_checkpoint(tmp_path / name).tensors for name in "ab")
    assert all(torch.equal(a[name], b[name]) for name in b)


def test_a_shot_without_extent_is_refused(workshop, puppet, play, tmp_path):
    points = np.ones((3, 5, 2))
    points[1:] = np.random.default_rng(0).normal(size=(2, 5, 2))
    shots = written(PoseSet.create(puppet, points, (9, 9)), tmp_path / "flat.npz")
    events = play("adapt", workshop.adapt(shots=shots), tmp_path / "run")
    failed(events, PoseShapeError, "Pose 0 has no extent")


def test_a_missing_file_is_refused(workshop, play, tmp_path):
    events = play("adapt", workshop.adapt(shots=tmp_path / "none.npz"), tmp_path / "run")
    failed(events, DataFormatError, "none.npz: does not exist")


def test_other_shots_do_not_resume_a_run(workshop, puppet_poses, play, tmp_path):
    shots = written(puppet_poses(6), tmp_path / "shots.npz")
    config = workshop.adapt(shots=shots)
    play("adapt", config, tmp_path / "run", cancel_at=2)
    written(puppet_poses(6, seed=5), shots)
    events = play("adapt", config, tmp_path / "run")
    failed(events, CheckpointError, "other shots than there are now")


@pytest.mark.parametrize(
    ("layers", "text"),
    [((9,), "Layer 9 was chosen"), ((0,), "layers 1 to 3"), ((), "No layer was chosen")],
)
def test_layers_that_do_not_exist_are_refused(layers, text, workshop, play, tmp_path):
    config = workshop.adapt(transfer={"layers": layers})
    failed(play("adapt", config, tmp_path), ConfigError, text)


def test_an_unknown_prior_offers_the_nearest(workshop, play, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "flexpose.models.prior.shipped_priors", lambda: {"puppet": workshop.keypoints}
    )
    events = play("adapt", workshop.adapt(prior="pupet"), tmp_path / "run")
    failed(events, UnknownNameError, "Did you mean 'puppet'?")
    events = play("adapt", workshop.adapt(prior="puppet"), tmp_path / "run2")
    assert isinstance(events[-1], JobFinished)


def test_something_that_is_no_prior_is_refused(workshop, play, tmp_path):
    events = play("adapt", workshop.adapt(prior=str(workshop.beta)), tmp_path / "a")
    failed(events, CheckpointError, "of kind 'regressor', expected 'prior'")
    events = play("adapt", workshop.adapt(prior=str(workshop.path)), tmp_path / "b")
    failed(events, CheckpointError, "neither a checkpoint")


def test_beta_must_fit_the_prior(workshop, play, tmp_path):
    play("train-regressor", workshop.regressor(channels=1, steps=1), tmp_path / "gray")
    config = workshop.adapt_image(regressor=str(tmp_path / "gray"))
    events = play("adapt", config, tmp_path / "run")
    failed(events, CheckpointError, "Train it with train-regressor")
    pairs = {"matching": "ot", "pairs": {"features": "beta"}}
    config = workshop.adapt(regressor=str(workshop.beta), transfer=pairs)  # 32 px, not 64
    events = play("adapt", config, tmp_path / "run2")
    failed(events, CheckpointError, "Train it with train-regressor")
