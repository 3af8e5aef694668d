"""The detector's data and task: clips, placements, moved shots, the pool."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flexpose.configs.detector import FramesConfig
from flexpose.errors import FlexPoseError
from flexpose.geometry import unit_to_image
from flexpose.io import read_poses
from flexpose.skeleton import load_skeleton
from flexpose.training.clips import Labels, load_clips, load_labels, placements


@pytest.fixture
def frames(workshop):
    labels = workshop.frames / "mannequin.coco.json"
    return FramesConfig(path=workshop.frames, crop="boxes", boxes=labels)


def test_clips_are_cropped_by_their_boxes_and_labels_follow(workshop, frames):
    clips = load_clips(frames, 32)
    assert clips.images.shape == (16, 3, 32, 32)
    assert clips.clip.tolist() == [n // 2 for n in range(16)]
    truth = read_poses(frames.boxes)
    labels = load_labels(frames.boxes, clips, load_skeleton("body15"))
    back = unit_to_image(labels.keypoints.numpy(), clips.crops[labels.rows.numpy()])
    np.testing.assert_allclose(back, truth.keypoints, atol=1e-3)


def test_neighbours_are_other_frames_of_the_clip(frames):
    clips = load_clips(frames, 32)
    rows = torch.arange(16)
    others = clips.neighbours(rows, torch.Generator().manual_seed(0))
    assert torch.equal(clips.clip[others], clips.clip)
    assert (others != rows).all()


def test_whole_frames_need_no_boxes(workshop):
    clips = load_clips(FramesConfig(path=workshop.frames, crop="whole"), 32)
    assert len(clips.names) == 16
    np.testing.assert_allclose(clips.crops, [[0, 0, 63]] * 16)
    with pytest.raises(FlexPoseError, match="need a file of them"):
        load_clips(FramesConfig(path=workshop.frames, crop="boxes"), 32)


def test_labels_of_other_frames_are_refused(workshop, frames):
    clips = load_clips(frames, 32)
    with pytest.raises(FlexPoseError, match="is among the frames"):
        load_labels(
            workshop.path / "shots.npz", clips, read_poses(workshop.path / "shots.npz").skeleton
        )


def test_placements_put_normalised_poses_where_people_stand():
    keypoints = torch.tensor([[[-0.2, -0.5], [0.6, 0.1]], [[0.0, 0.0], [float("nan"), 0.3]]])
    place = placements(Labels(torch.tensor([0, 1]), keypoints))
    torch.testing.assert_close(place, torch.tensor([[0.8 / 1.7, 0.2, -0.2]]))
