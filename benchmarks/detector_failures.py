"""Pictures of what the detector gets wrong, on the embedded mannequin.

flexpose-train demo --out demo
python benchmarks/detector_failures.py --demo demo --out docs/results/detector-failures.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flexpose.frames.crops import cut, motion_boxes
from flexpose.geometry import FILL, boxes_to_crops, tight_boxes, unit_to_image
from flexpose.io.base import read_poses
from flexpose.mannequin import MannequinSample, mannequin_frames
from flexpose.models.detector import Detector, load_detector
from flexpose.rendering.raster import draw_overlay
from flexpose.training.clips import signed


class Case(NamedTuple):
    """A picture with what was found in it, and one line about it."""

    picture: np.ndarray
    words: str


class Moving:
    """Frames in memory, seen by a camera that pans."""

    root = Path()

    def __init__(self, images: list[np.ndarray]) -> None:
        self.images = [np.roll(image, 9 * i, axis=1) for i, image in enumerate(images)]
        self.names = tuple(str(i) for i in range(len(images)))

    def read(self, index: int) -> np.ndarray:
        return self.images[index]

    def size(self, index: int) -> tuple[int, int]:
        return self.images[index].shape[1::-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/detector-failures.png"))
    args = parser.parse_args()
    sample = mannequin_frames(0)
    detector = load_detector(args.demo / "detector")
    found = read_poses(args.demo / "labels.coco.json")
    cases = [*exchanged(sample, found), *hidden(sample, found)]
    cases += [two_people(sample, detector), moving_camera(sample, detector)]
    draw(cases, args.out)


def exchanged(sample: MannequinSample, found) -> list[Case]:
    """The two clips in which exchanging left and right helps most."""
    truth, points = aligned(sample, found)
    flipped = points[:, list(sample.poses.skeleton.flip_index)]
    gain = np.linalg.norm(points - truth, axis=2).mean(axis=1)
    gain -= np.linalg.norm(flipped - truth, axis=2).mean(axis=1)
    rows, clips = [], []
    for row in np.argsort(-gain):
        clip = sample.poses.groups[row]
        if clip not in clips:
            rows.append(int(row))
            clips.append(clip)
        if len(rows) == 2:
            break
    return [Case(overlay(sample, r, points[r]), "left and right exchanged") for r in rows]


def hidden(sample: MannequinSample, found) -> list[Case]:
    """The two frames whose hidden joints are farthest off, sides being right."""
    truth, points = aligned(sample, found)
    error = np.linalg.norm(points - truth, axis=2)
    error_sum = error.sum(axis=1)
    error[sample.poses.visibility != 1] = 0
    flipped = points[:, list(sample.poses.skeleton.flip_index)]
    error[np.linalg.norm(flipped - truth, axis=2).sum(axis=1) < error_sum] = 0
    order = np.argsort(-error.max(axis=1))
    rows = [int(order[0])]
    rows.append(
        next(int(r) for r in order if sample.poses.groups[r] != sample.poses.groups[rows[0]])
    )
    return [Case(overlay(sample, r, points[r]), "a hidden joint guessed") for r in rows]


def two_people(sample: MannequinSample, detector: Detector) -> Case:
    """Two people in one picture: parts of both in one pose."""
    picture, other, shift = sample.image(3).copy(), 300, 56
    mask = np.roll(sample.person_mask(other), shift, axis=1)
    picture[mask] = np.roll(sample.image(other), shift, axis=1)[mask]
    points = find(detector, picture, np.array([0, 0, 255.0], np.float32))
    return Case(draw_overlay(picture, points, detector.skeleton), "two people, one pose")


def moving_camera(sample: MannequinSample, detector: Detector) -> Case:
    """A camera that pans: everything moves, so the person is not found by motion."""
    frames = Moving([sample.image(i) for i in range(24)])
    box = motion_boxes(frames, range(24))[12]
    picture = frames.read(12).copy()
    points = find(detector, picture, boxes_to_crops(box[None])[0])
    x, y, w, h = (round(float(v)) for v in box)
    drawn = draw_overlay(picture, points, detector.skeleton)
    cv2.rectangle(drawn, (x, y), (x + w, y + h), (255, 255, 255), 1)
    return Case(drawn, "a camera that moves: the box is wrong")


def aligned(sample: MannequinSample, found) -> tuple[np.ndarray, np.ndarray]:
    """True and found points in the order of the sample."""
    rows = {name: row for row, name in enumerate(found.image_ids)}
    order = [rows[name] for name in sample.poses.image_ids]
    return sample.poses.keypoints, found.keypoints[order]


def overlay(sample: MannequinSample, row: int, points: np.ndarray) -> np.ndarray:
    return draw_overlay(sample.image(row), points, sample.poses.skeleton)


def find(detector: Detector, picture: np.ndarray, crop: np.ndarray) -> np.ndarray:
    """Look twice, as ``predict`` does."""
    for _ in range(2):
        part = torch.from_numpy(cut(picture, crop, detector.size)).permute(2, 0, 1)[None]
        unit = detector.read(signed(part)).keypoints.numpy()
        points = unit_to_image(unit, crop[None])
        crop = boxes_to_crops(tight_boxes(points), FILL)[0]
    return points[0]


def draw(cases: list[Case], path: Path) -> None:
    figure = Figure(figsize=(9, 6.6), facecolor="white")
    for place, case in enumerate(cases, start=1):
        axes = figure.add_subplot(2, 3, place)
        axes.imshow(cv2.resize(case.picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC))
        axes.set_title(case.words, fontsize=10)
        axes.set_axis_off()
    figure.tight_layout()
    FigureCanvasAgg(figure).print_png(path)


if __name__ == "__main__":
    main()
