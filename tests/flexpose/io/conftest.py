from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flexpose.poseset import PoseSet
from flexpose.skeleton import Skeleton


@pytest.fixture
def trio() -> Skeleton:
    """Three joints, two of them a pair."""
    return Skeleton(
        name="trio",
        joints=("head", "left_hand", "right_hand"),
        edges=((0, 1), (0, 2)),
        symmetric_pairs=((1, 2),),
        oks_sigmas=(0.03, 0.06, 0.06),
        category="puppet",
    )


@pytest.fixture
def poses(trio: Skeleton) -> PoseSet:
    """Three poses in two images, the second joint of the second pose not labelled."""
    keypoints = np.array(
        [
            [[10, 10], [20.25, 30], [30, 30.75]],
            [[40, 12], [0, 0], [60, 40]],
            [[5, 5], [8, 44], [63, 47]],
        ]
    )
    return PoseSet(
        skeleton=trio,
        keypoints=keypoints,
        visibility=[[2, 2, 1], [2, 0, 1], [1, 2, 2]],
        image_size=(64, 48),
        image_ids=("a/one.png", "a/one.png", "b/two.png"),
        source=("made by hand",),
    )


@pytest.fixture
def find_data() -> Callable[[str], Path]:
    """Path of a file of the public datasets; skips where they are not at hand."""
    folder = Path(os.environ.get("FLEXPOSE_DATA", Path(__file__).parents[4] / "shared" / "data"))

    def find(name: str) -> Path:
        if not (folder / name).exists():
            pytest.skip(f"{name} is not in {folder}; set FLEXPOSE_DATA to the datasets")
        return folder / name

    return find
