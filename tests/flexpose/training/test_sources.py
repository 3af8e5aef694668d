"""Source poses of priors, batches drawn from them, and trainings that are refused at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from flexpose.checkpoint import load_checkpoint
from flexpose.configs.prior import SourceConfig
from flexpose.errors import (
    CheckpointError,
    ConfigError,
    FlexPoseError,
    SkeletonMismatchError,
)
from flexpose.events import JobFailed, JobFinished, MetricsReady, PreviewReady, StepCompleted
from flexpose.geometry import FILL
from flexpose.io import write_poses
from flexpose.models.keypoint_generator import box_normalised
from flexpose.models.prior import load_generator
from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton, bone_tree
from flexpose.training.data import draw_batch, load_source
from flexpose.training.pictures import to_uint8
from flexpose.training.regressor import corrupted, distorted, joined, limbs_turned


def config_for(workshop, poses, path, **changes):
    write_poses(poses, path)
    return SourceConfig.model_validate({**workshop.source, "poses": path, **changes})


def test_small_and_incomplete_poses_are_left_out(workshop, puppet_poses, tmp_path):
    poses = puppet_poses(20)
    keypoints, visibility = poses.keypoints.copy(), poses.visibility.copy()
    visibility[3, 1] = 0
    keypoints[7] = 100 + (keypoints[7] - 100) * 0.1
    changed = replace(poses, keypoints=keypoints, visibility=visibility)
    source = load_source(config_for(workshop, changed, tmp_path / "a.npz"))
    assert source.keypoints.shape == (18, 5, 2)
    assert source.keypoints.dtype == torch.float32
    sides = source.keypoints.amax(dim=1) - source.keypoints.amin(dim=1)
    assert torch.allclose(sides.amax(dim=1), torch.full((18,), 2 * FILL), atol=1e-4)
    assert source.notes[-1] == (
        "20 poses, 19 with all joints of puppet, 18 of those at least 48 px large"
    )
    every = load_source(config_for(workshop, changed, tmp_path / "a.npz", min_side=0))
    assert len(every.keypoints) == 19


def test_too_few_poses_are_counted_in_the_error(workshop, puppet_poses, tmp_path):
    config = config_for(workshop, puppet_poses(15), tmp_path / "a.npz")
    with pytest.raises(FlexPoseError, match="of 15 poses 15 are complete and 15 of those at least"):
        load_source(config)
    poses = puppet_poses(20)
    nothing = replace(poses, visibility=np.zeros((20, 5)))
    with pytest.raises(FlexPoseError, match="of 20 poses 0 are complete and 0"):
        load_source(config_for(workshop, nothing, tmp_path / "b.npz"))


def test_poses_that_lack_joints_are_refused(workshop, tmp_path):
    other = Skeleton(name="other", joints=("hip", "head"), edges=((0, 1),))
    poses = PoseSet.create(other, np.zeros((20, 2, 2)), (9, 9))
    with pytest.raises(SkeletonMismatchError, match="left_hand"):
        load_source(config_for(workshop, poses, tmp_path / "a.npz"))


def test_batches_mirror_half_of_the_poses(puppet):
    poses = torch.zeros(1, 5, 2)
    poses[0] = torch.tensor([[0.0, 0.5], [0, -0.5], [-0.85, 0], [0.85, 0.1], [0.2, 0.7]])
    batch = draw_batch(poses, 400, puppet, torch.Generator().manual_seed(0))
    same = (batch == poses).flatten(1).all(dim=1)
    mirrored = poses[:, [0, 1, 3, 2, 4]] * torch.tensor([-1.0, 1.0])
    assert ((batch == mirrored).flatten(1).all(dim=1) == ~same).all()
    assert 150 < same.sum() < 250
    plain = draw_batch(poses, 50, puppet, torch.Generator().manual_seed(0), mirror=False)
    assert (plain == poses).all()


def test_rotated_batches_stay_in_their_box(puppet):
    poses = torch.rand(3, 5, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    batch = draw_batch(poses, 50, puppet, torch.Generator().manual_seed(0), False, 20.0)
    side = (batch.amax(dim=1) - batch.amin(dim=1)).amax(dim=1)
    assert torch.allclose(side, torch.full((50,), 2 * FILL), atol=1e-4)
    assert len(batch.unique(dim=0)) == 50


def test_pictures_for_people():
    images = torch.tensor([-1.0, 0.0, 1.0, 3.0]).view(1, 1, 2, 2)
    out = to_uint8(images)
    assert out.shape == (1, 2, 2, 3)
    assert out[0, :, :, 0].tolist() == [[0, 128], [255, 255]]


def test_distorted_poses_stay_on_the_canvas_and_differ():
    poses = torch.rand(40, 5, 2, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    out = distorted(poses, torch.Generator().manual_seed(1))
    assert out.abs().max() <= 0.98
    assert not torch.allclose(out, poses)
    assert torch.equal(out, distorted(poses, torch.Generator().manual_seed(1)))


def test_half_of_the_drawings_stay_clean():
    images = torch.rand(400, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    out = corrupted(images, torch.Generator().manual_seed(1))
    clean = torch.isclose(out, images, atol=1e-6).flatten(1).all(dim=1)
    assert 160 < clean.sum() < 240
    assert out.isfinite().all()


def test_turned_limbs_keep_the_proportions_of_a_pose(puppet):
    random = torch.Generator().manual_seed(0)
    poses = box_normalised(torch.rand(300, 5, 2, generator=random) * 2 - 1)
    bones = bone_tree(puppet)
    out = limbs_turned(poses, bones, torch.Generator().manual_seed(1))
    a, b = (torch.tensor(ends) for ends in zip(*bones, strict=True))
    before, after = ((p[:, a] - p[:, b]).norm(dim=2) for p in (poses, out))
    shares = before / before.sum(dim=1, keepdim=True), after / after.sum(dim=1, keepdim=True)
    assert torch.allclose(*shares, atol=1e-5)
    same = torch.isclose(out, poses, atol=1e-5).flatten(1).all(dim=1)
    assert 110 < int(same.sum()) < 190


def test_joined_poses_bring_a_pair_of_joints_together():
    random = torch.Generator().manual_seed(0)
    poses = torch.rand(400, 5, 2, generator=random)
    out = joined(poses, ((1, 2), (3, 4)), torch.Generator().manual_seed(1), share=0.5)
    changed = (out != poses).any(dim=2)
    assert set(changed.sum(dim=1).tolist()) == {0, 2}
    assert 150 < int(changed.any(dim=1).sum()) < 250
    assert torch.equal(changed[:, 1], changed[:, 2])
    assert torch.equal(changed[:, 3], changed[:, 4])
    for a, b in ((1, 2), (3, 4)):
        rows = changed[:, a]
        apart = (out[rows, a] - out[rows, b]).norm(dim=1)
        before = (poses[rows, a] - poses[rows, b]).norm(dim=1)
        assert (apart <= 0.4 * before + 1e-6).all()
    assert torch.equal(joined(poses, (), random), poses)


def refused(events, text):
    assert isinstance(events[-1], JobFailed), events[-1]
    expected = (ConfigError, SkeletonMismatchError)
    assert isinstance(events[-1].error, expected), events[-1].details
    assert text in str(events[-1].error)


def test_a_teacher_must_fit(workshop, puppet, puppet_poses, play, tmp_path):
    config = workshop.draws(teacher_steps=2)
    refused(play("train-prior", config, tmp_path / "a"), "no teacher is given")
    bigger = {**workshop.draws().generator.model_dump(), "z_dim": 7}
    config = workshop.taught(generator=bigger)
    refused(play("train-prior", config, tmp_path / "b"), "z_dim is 7")
    config = workshop.prior(teacher=str(workshop.keypoints))
    refused(play("train-prior", config, tmp_path / "c"), "A teacher is a keypoint prior")
    config = workshop.taught(teacher=str(workshop.images))
    refused(play("train-prior", config, tmp_path / "d"), "A teacher is a keypoint prior")
    other = Skeleton(name="other", joints=puppet.joints[::-1], edges=puppet.edges)
    (tmp_path / "other.yaml").write_text(str(other.to_dict()), encoding="utf-8")
    config = workshop.taught(source={**workshop.source, "skeleton": str(tmp_path / "other.yaml")})
    refused(play("train-prior", config, tmp_path / "e"), "The teacher makes poses of puppet")
    fewer = Skeleton(name="fewer", joints=puppet.joints[:4], edges=puppet.edges[:3])
    (tmp_path / "fewer.yaml").write_text(str(fewer.to_dict()), encoding="utf-8")
    config = workshop.taught(source={**workshop.source, "skeleton": str(tmp_path / "fewer.yaml")})
    refused(play("train-prior", config, tmp_path / "f"), "The teacher makes poses of puppet")


def test_each_phase_has_its_learning_rate(workshop, play, tmp_path):
    config = workshop.taught(steps=3, teacher_steps=2, lr=0.002, teacher_lr=0.03)
    events = play("train-prior", config, tmp_path)
    assert [e.lr for e in events if isinstance(e, StepCompleted)] == [0.015, 0.0015, 0.002]
    before, after = (
        {k: v for k, v in load_checkpoint(path).tensors.items() if ".mapping.teacher." in k}
        for path in (workshop.images, tmp_path)
    )
    assert before
    assert all(torch.equal(before[name], after[name]) for name in before)  # it learns no more


def test_some_source_poses_travel_with_a_prior(workshop):
    sample = load_generator(workshop.keypoints).source_sample
    assert sample.shape == (80, 5, 2)
    source = load_source(SourceConfig.model_validate(workshop.source)).keypoints
    distances = torch.cdist(sample.flatten(1), source.flatten(1)).amin(dim=1)
    assert distances.max() < 1e-3


def test_the_regressor_needs_an_image_prior_that_fits(workshop, play, tmp_path):
    config = workshop.regressor(generator=str(workshop.keypoints))
    refused(play("train-regressor", config, tmp_path / "a"), "had no teacher")
    config = workshop.regressor(generator=str(workshop.images), size=64)
    refused(play("train-regressor", config, tmp_path / "b"), "same skeleton, size and channels")


def test_an_image_prior_is_evaluated_through_beta_only(workshop, play, tmp_path):
    plain = play("train-prior", workshop.draws(steps=1), tmp_path / "a")
    (metrics,) = [e for e in plain if isinstance(e, MetricsReady)]
    assert metrics.metrics == {}
    read = play(
        "train-prior", workshop.draws(steps=1, regressor=str(workshop.beta)), tmp_path / "b"
    )
    assert isinstance(read[-1], JobFinished)
    (metrics,) = [e for e in read if isinstance(e, MetricsReady)]
    assert "energy_distance" in metrics.metrics


def test_beta_of_an_evaluated_prior_must_fit(workshop, play, tmp_path):
    play("train-regressor", workshop.regressor(channels=1, steps=1), tmp_path / "gray")
    config = workshop.draws(regressor=str(tmp_path / "gray"))
    events = play("train-prior", config, tmp_path / "run")
    assert isinstance(events[-1], JobFailed)
    assert "Train it with train-regressor" in str(events[-1].error)


def test_held_out_poses_are_measured_against(workshop, play, tmp_path, puppet_poses):
    write_poses(puppet_poses(20, seed=7), tmp_path / "held.npz")
    for command, config in (
        ("train-prior", workshop.prior(validation=tmp_path / "held.npz", steps=1)),
        ("train-regressor", workshop.regressor(validation=tmp_path / "held.npz", steps=1)),
    ):
        events = play(command, config, tmp_path / command)
        assert isinstance(events[-1], JobFinished), events[-1]
        (metrics,) = [e for e in events if isinstance(e, MetricsReady)]
        assert metrics.split == "val"
        assert all(np.isfinite(list(metrics.metrics.values())))
        (preview,) = [e for e in events if isinstance(e, PreviewReady)]
        assert preview.images.dtype == np.uint8


def test_a_prior_can_start_from_another(workshop, play, tmp_path):
    config = workshop.prior(start=str(workshop.keypoints), steps=1, lr=1e-12)
    events = play("train-prior", config, tmp_path / "a")
    assert isinstance(events[-1], JobFinished), events[-1]
    before, after = load_checkpoint(workshop.keypoints).tensors, load_checkpoint(tmp_path / "a")
    for name, tensor in after.tensors.items():
        if name.startswith(("generator_ema.", "discriminator.")) and "w_mean" not in name:
            assert torch.allclose(tensor, before[name], atol=1e-6), name
    config = workshop.prior(start=str(workshop.images), steps=1)
    events = play("train-prior", config, tmp_path / "b")
    assert "its weights do not fit its config" in str(events[-1].error)
    assert "\n" not in str(events[-1].error)


def test_checkpoints_say_what_they_were_trained_on(workshop):
    for folder in (workshop.keypoints, workshop.beta):
        assert "80 poses, 80 with all joints" in load_checkpoint(folder).meta.notes[-1]


def test_a_regressor_can_start_from_another(workshop, play, tmp_path):
    config = workshop.regressor(start=str(workshop.beta), steps=1, lr=1e-12)
    events = play("train-regressor", config, tmp_path / "a")
    assert isinstance(events[-1], JobFinished), events[-1]
    before, after = (load_checkpoint(p).tensors for p in (workshop.beta, tmp_path / "a"))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    config = workshop.regressor(start=str(workshop.beta), steps=1, width=5)
    events = play("train-regressor", config, tmp_path / "b")
    assert isinstance(events[-1], JobFailed)
    assert isinstance(events[-1].error, CheckpointError)


def test_a_trained_reader_must_read_what_is_drawn(workshop, play, tmp_path):
    config = workshop.keypoint_gan({"reader": "body15-regressor"}, size=32)
    error = play("train-detector", config, tmp_path)[-1].error
    assert "The regressor body15-regressor reads body15" in str(error)
