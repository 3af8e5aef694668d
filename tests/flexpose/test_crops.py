"""Crops: cut where geometry says, and found by motion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from flexpose.errors import DataFormatError
from flexpose.frames import open_frames
from flexpose.frames.crops import cut, motion_boxes, place, same_place, shrunk
from flexpose.geometry import boxes_to_crops, image_to_unit, unit_to_canvas
from flexpose.mannequin import mannequin_frames


@pytest.mark.parametrize(("side", "size"), [(40, 41), (80, 21), (13, 64)])
def test_a_point_lands_where_geometry_says(side, size):
    image = np.zeros((120, 160, 3), np.uint8)
    cv2.circle(image, (70, 50), max(2, side // 20), (255, 255, 255), -1)
    crop = np.array([70 - 0.3 * side, 50 - 0.6 * side, side], np.float32)
    part = cut(image, crop, size)
    assert part.shape == (size, size, 3)
    weights = part[..., 0].astype(float)
    grid = np.arange(size)
    centre = [(weights.sum(axis=axis) * grid).sum() / weights.sum() for axis in (0, 1)]
    point = np.array([[[70.0, 50.0]]], np.float32)
    expected = unit_to_canvas(image_to_unit(point, crop[None]), size)[0, 0]
    np.testing.assert_allclose(centre, expected, atol=0.15)


def test_beyond_the_image_its_border_goes_on():
    image = np.zeros((10, 10, 3), np.uint8)
    image[:, 0], image[:, 9] = 50, 200
    part = cut(image, np.array([-20.0, -20.0, 49.0]), 50)
    assert (part[:, 0] == 50).all()
    assert (part[:, -1] == 200).all()


def test_a_shrunk_crop_averages():
    image = np.zeros((200, 200, 3), np.uint8)
    image[:, ::2] = 255
    part = cut(image, np.array([20.0, 20.0, 160.0]), 17)
    assert np.abs(part.astype(float) - 127.5).max() < 10


def test_motion_finds_the_mannequin(tmp_path):
    sample = mannequin_frames(3, clips_per_action=1, frames_per_clip=24, image_size=160)
    sample.write(tmp_path)
    frames = open_frames(tmp_path)
    names = list(frames.names)
    shares = []
    for group in sorted(set(sample.poses.groups)):
        rows = [i for i, name in enumerate(names) if name.startswith(f"{group}/")]
        order = [sample.poses.image_ids.index(names[row]) for row in rows]
        shares += _overlap(motion_boxes(frames, rows), sample.poses.boxes[order]).tolist()
    # who hardly moves is partly taken for background
    assert np.median(shares) > 0.55


def test_other_clips_of_the_place_tell_where_a_person_who_stands_still_is(tmp_path):
    sample = mannequin_frames(3, clips_per_action=1, frames_per_clip=8, image_size=160)
    sample.write(tmp_path)
    frames = open_frames(tmp_path)
    names = list(frames.names)
    alone, helped = [], []
    elsewhere = [shrunk(frames.read(row)) for row in range(4, len(names), 8)]
    other_room = np.full((160, 160, 3), 40, np.uint8)
    for first in range(0, len(names), 8):
        rows = range(first, first + 8)
        order = [sample.poses.image_ids.index(names[row]) for row in rows]
        truth = sample.poses.boxes[order]
        alone += _overlap(motion_boxes(frames, rows, [other_room]), truth).tolist()
        helped += _overlap(motion_boxes(frames, rows, elsewhere), truth).tolist()
    assert np.mean(helped) > np.mean(alone) + 0.05


def test_the_place_is_what_its_pixels_mostly_are():
    random = np.random.default_rng(0)
    wall = np.full((20, 30, 3), 120, np.uint8)
    others = []
    for _ in range(12):  # somebody in another shirt before a third of the wall in seven
        other = wall.copy()
        other[:, : 10 if len(others) < 7 else 0] = random.integers(0, 255, 3)
        others.append(other)
    clip = np.stack([others[0]] * 5)
    np.testing.assert_array_equal(place(clip), others[0])
    another_room = np.full_like(wall, 30)
    elsewhere = [*others[1:], another_room, np.zeros((9, 9, 3), np.uint8)]
    same = same_place(clip, elsewhere)
    assert len(same) == 11
    np.testing.assert_array_equal(place(clip, [elsewhere[i] for i in same]), wall)


def _overlap(a, b):
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    both = (high - low).clip(0).prod(axis=1)
    return both / (a[:, 2:].prod(axis=1) + b[:, 2:].prod(axis=1) - both)


class Clip:
    """Frames in memory."""

    def __init__(self, images, root):
        self.images, self.root = images, root
        self.names = tuple(f"{i}.png" for i in range(len(images)))

    def read(self, index):
        return self.images[index]

    def size(self, index):
        return self.images[index].shape[1::-1]


def square_clip(count=12, skip=()):
    images = []
    for number in range(count):
        image = np.full((60, 80, 3), 90, np.uint8)
        if number not in skip:
            image[20:40, 4 * number : 4 * number + 16] = 220
        images.append(image)
    return images


def test_a_moving_square_is_boxed(tmp_path):
    boxes = motion_boxes(Clip(square_clip(skip=(6,)), tmp_path), range(12))
    for number in range(3, 9):  # the sixth by its neighbours
        np.testing.assert_allclose(boxes[number], [4 * number, 20, 16, 20], atol=4)
    crops = boxes_to_crops(boxes)
    assert (crops[:, 2] > 20).all()


def test_without_motion_the_frame_is_the_box(tmp_path):
    boxes = motion_boxes(Clip([np.full((60, 80, 3), 90, np.uint8)] * 4, tmp_path), range(4))
    np.testing.assert_allclose(boxes, [[0, 0, 79, 59]] * 4)


def test_stopping_and_mixed_sizes(tmp_path):
    clip = Clip([*square_clip(3), np.zeros((9, 9, 3), np.uint8)], tmp_path)
    assert motion_boxes(clip, range(3), stop=lambda: True).shape == (0, 4)
    with pytest.raises(DataFormatError, match="has 9 x 9 pixels, the first of its clip 80 x 60"):
        motion_boxes(clip, range(4))
