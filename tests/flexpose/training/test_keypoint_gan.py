"""KeypointGAN in training: what is kept of it, and the sizes that it has."""

from __future__ import annotations

import copy

import pytest
import torch

from flexpose.compute import generator_for
from flexpose.geometry import normalised
from flexpose.io.base import read_poses
from flexpose.training.clips import load_clips
from flexpose.training.keypoint_gan import KeypointGanTask


def task_of(workshop, size: int) -> KeypointGanTask:
    config = workshop.keypoint_gan({"reader_steps": 0}, size=size, shots=None, validation=None)
    poses = read_poses(config.poses)
    clips = load_clips(config.frames, size, lambda: False)
    unpaired = torch.from_numpy(normalised(poses.keypoints))
    return KeypointGanTask(config, poses.skeleton, clips, unpaired, None, None, torch.device("cpu"))


def test_the_average_of_phi_has_batch_statistics_of_its_own(workshop):
    task = task_of(workshop, 32)
    for step in (1, 2, 3):
        task.step(step)
    before = copy.deepcopy(task.painter_ema)
    task.step(4)
    rows = torch.randint(len(task.clips.names), (2,), generator=generator_for(task.config.seed, 4))
    before.load_state_dict(  # the weights after the step, and the statistics before it
        task.painter_ema.state_dict() | dict(before.named_buffers())
    )
    before.train()(task.clips.batch(rows))
    for name, wanted in before.named_buffers():
        torch.testing.assert_close(task.painter_ema.get_buffer(name), wanted)
    assert not task.painter_ema.training
    seen = [b for name, b in task.painter_ema.named_buffers() if name.endswith("tracked")]
    assert seen
    assert set(map(int, seen)) == {1}


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_the_judge_sees_every_size_down_to_32_px(workshop, size):
    judge = task_of(workshop, size).nets["judge"]
    scores = judge(torch.zeros(1, 3, size, size))
    assert [tuple(score.shape[2:]) for score in scores][-1] == (2, 2)
    assert len(scores) == {32: 1, 64: 2, 128: 3, 256: 4}[size]
