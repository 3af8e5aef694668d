"""Puppets of the embedded mannequin, as train-detector makes them; a picture for docs/detector.md.

flexpose-train demo --out demo
python benchmarks/puppet_sheet.py --demo demo --out docs/results/puppets.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from flexpose.configs.detector import FramesConfig
from flexpose.geometry import normalised
from flexpose.io.base import atomic_write_bytes, read_poses
from flexpose.training.clips import backgrounds, load_clips, load_labels
from flexpose.training.puppets import make_puppets

SIZE, COLUMNS, ROWS = 128, 8, 4
SHOWN = (0, 4, 8)  # of the twelve shots


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/puppets.png"))
    args = parser.parse_args()
    frames, shots_file = FramesConfig(path=args.demo / "frames"), args.demo / "shots.coco.json"
    skeleton = read_poses(shots_file).skeleton
    clips = load_clips(frames, SIZE)
    assert clips is not None  # nobody asked to stop
    shots = load_labels(shots_file, clips, skeleton)
    images = clips.images[shots.rows].permute(0, 2, 3, 1).numpy()
    places = backgrounds(frames, clips, shots.rows)
    poses = normalised(read_poses(args.demo / "poses.coco.json").keypoints)
    puppets = make_puppets(shots, images, places, poses, skeleton, COLUMNS * ROWS, 0.1, 0)
    made = puppets.images.permute(0, 2, 3, 1).numpy()
    pairs = [picture for i in SHOWN for picture in (images[i], places[i])]
    blank = np.full_like(images[0], 255)
    first = np.hstack([*pairs, *[blank] * (COLUMNS - len(pairs))])
    rows = [np.hstack(list(made[i : i + COLUMNS])) for i in range(0, len(made), COLUMNS)]
    gap = np.full((10, first.shape[1], 3), 255, np.uint8)
    sheet = np.vstack([first, gap, *rows])
    encoded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1]
    atomic_write_bytes(args.out, encoded.tobytes())


if __name__ == "__main__":
    main()
