"""Target domains of the adaptation benchmarks: shots from some clips, test poses from others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flexpose.io.jhmdb import read_jhmdb
from flexpose.io.mocap import read_mocap
from flexpose.mapping import map_poses
from flexpose.poseset import PoseSet
from flexpose.skeleton import load_skeleton

MAX_TEST = 5000


@dataclass(frozen=True)
class Target:
    """One target domain.

    Attributes
    ----------
    name : for tables
    train : complete body15 poses from which shots are drawn; also the floor
    test : complete body15 poses of other clips
    """

    name: str
    train: PoseSet
    test: PoseSet

    def shots(self, count: int, seed: int) -> PoseSet:
        """``count`` shots, spread over as many clips as there are."""
        return self.train[self.train.spread_rows(count, np.random.default_rng([seed, count]))]


def _split(name: str, poses: PoseSet) -> Target:
    mapped = map_poses(poses, load_skeleton("body15"))
    mapped = mapped[mapped.complete]
    assert mapped.groups is not None
    groups = np.array(mapped.groups)
    names = np.random.default_rng(0).permutation(np.unique(groups))
    train = np.isin(groups, names[: len(names) // 2])
    random = np.random.default_rng(1)

    def some(mask: np.ndarray) -> PoseSet:
        rows = np.flatnonzero(mask)
        return mapped[np.sort(random.permutation(rows)[:MAX_TEST])]

    return Target(name, some(train), some(~train))


def jhmdb_action(data: Path, *actions: str) -> Target:
    """Clips of real video of some actions, better labels only (grade A)."""
    poses = read_jhmdb(data / "jhmdb" / "jhmdb_joints.npz", grade="A")
    keep = np.array([str(g).split("/")[0] in actions for g in poses.groups or ()])
    return _split("JHMDB " + "+".join(actions), poses[keep])


def mocap(data: Path, file: str = "bandai_bvh/bandai1.npz", name: str = "Bandai") -> Target:
    """Motion capture under four fixed corner cameras."""
    return _split(f"{name}, 4 cameras", read_mocap(data / file))
