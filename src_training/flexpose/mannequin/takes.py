"""What is to be drawn: captured clips as takes for training and for testing.

A *take* is a captured clip, or a piece of a long one, as one person before one camera. More people
in more directions are worth more than the same moment from four sides; only when the motion is too
short for the frames asked for, pieces come again as other people before the next camera. Frames in
which the captured person is not upright are left out.

A captured clip belongs to the training or to the test, whatever is made of it. Takes come from all
activities in turn and are named ``<activity>_<number>``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flexpose.errors import ConfigError, DataFormatError
from flexpose.io.mocap import read_mocap_3d
from flexpose.mannequin.capture import joints_by_name, upright, world_from_mocap
from flexpose.skeleton import load_skeleton

Array = NDArray[np.float64]
Split = Literal["train", "test"]

CAMERAS = 4
SHORTEST, LONGEST = 4, 24  # upright frames of a clip that is used, frames of a take


@dataclass(frozen=True)
class CapturedClip:
    """Upright frames of a clip: (F, 15, 3) metres in the mannequin's axes, and their numbers."""

    file: str
    name: str
    activity: str
    points: Array
    frames: tuple[int, ...]

    def __getitem__(self, part: slice) -> CapturedClip:
        return replace(self, points=self.points[part], frames=self.frames[part])


@dataclass(frozen=True)
class Take:
    """A captured clip as one person before one view."""

    name: str
    split: Split
    clip: CapturedClip
    number: int
    view: int


def motion_files(motion: Sequence[Path]) -> list[Path]:
    """Files among ``motion`` and, by name, those of its folders.

    Raises
    ------
    DataFormatError : a folder holds no ``.npz`` file.
    """
    found = []
    for path in motion:
        files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
        if not files:
            raise DataFormatError(path, "", "holds no .npz files of motion capture")
        found += [file.resolve() for file in files]
    return list(dict.fromkeys(found))  # a clip read twice could fall into both splits


def read_clips(path: Path) -> list[CapturedClip]:
    """Clips of a file, without frames that are not upright and clips that mostly are not.

    Raises
    ------
    DataFormatError : the file is missing, damaged, or of another skeleton.
    """
    names, points = read_mocap_3d(path)
    points = world_from_mocap(points)
    good = upright(joints_by_name(points, load_skeleton("body15")))
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    clips = []
    for name, at in rows.items():
        kept = [number for number, row in enumerate(at) if good[row]]
        if len(kept) >= max(SHORTEST, len(at) / 2):
            track = points[np.array(at)[kept]]
            clips.append(CapturedClip(path.name, name, activity_of(name), track, tuple(kept)))
    return clips


def activity_of(clip: str) -> str:
    """Activity in a clip's name: ``walk`` of ``dataset-1_walk_sad_002``.

    Bandai-Namco's names end in a style and a number, others in a number.
    """
    content = re.fullmatch(r"dataset-\d+_(.+)_[^_]+_\d+", clip)
    name = content[1] if content else re.sub(r"_\d+$", "", clip)
    return re.sub(r"[^\w-]", "-", name)


def plan_takes(clips: Sequence[CapturedClip], train: int, test: int, seed: int) -> list[Take]:
    """Takes of exactly ``train`` and ``test`` frames, all activities in turn; the last is cut.

    Of each file's activities, a share of the clips as large as that of the test's frames, but at
    least one of two and never the last one, is the test's.

    Raises
    ------
    ConfigError : the motion is too short for so many frames.
    """
    rng = np.random.default_rng([seed, 3])
    kinds: dict[tuple[str, str], list[CapturedClip]] = {}
    for clip in clips:
        kinds.setdefault((clip.file, clip.activity), []).append(clip)
    queues: dict[Split, list[list[CapturedClip]]] = {"train": [], "test": []}
    for kind in kinds.values():
        mixed = [kind[i] for i in rng.permutation(len(kind))]
        share = round(len(kind) * test / (train + test))
        share = min(max(share, 1), len(kind) - 1)
        queues["test"].append([piece for clip in mixed[:share] for piece in _pieces(clip)])
        queues["train"].append([piece for clip in mixed[share:] for piece in _pieces(clip)])
    takes: list[Take] = []
    wanted: dict[Split, int] = {"train": train, "test": test}
    for split, number in wanted.items():
        turns = [clip for turn in zip_longest(*queues[split]) for clip in turn if clip is not None]
        takes += _takes(turns, split, number, len(takes), rng)
    return takes


def _pieces(clip: CapturedClip) -> list[CapturedClip]:
    """A clip in equal pieces of ``LONGEST`` frames at most."""
    ends = np.linspace(0, len(clip.frames), -(-len(clip.frames) // LONGEST) + 1).astype(int)
    return [clip[start:end] for start, end in pairwise(ends.tolist())]


def _takes(
    clips: Sequence[CapturedClip], split: Split, frames: int, first: int, rng: np.random.Generator
) -> list[Take]:
    """Takes of clips in order, again before the next camera when there are too few frames."""
    takes: list[Take] = []
    left = frames
    views = rng.integers(CAMERAS, size=len(clips)).tolist()
    for again in range(CAMERAS):
        for clip, view in zip(clips, views, strict=True):
            if left == 0:
                return takes
            number = first + len(takes)
            name = f"{clip.activity}_{number:04d}"
            takes.append(Take(name, split, clip[:left], number, (view + again) % CAMERAS))
            left -= len(takes[-1].clip.frames)
    if left:
        raise ConfigError(
            f"The motion gives {frames - left} upright frames for {split}, expected {frames}.",
            "Name more motion, or ask for fewer frames.",
        )
    return takes
