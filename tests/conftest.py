"""Shared fixtures: a five-joint puppet, its poses, and jobs driven to their end."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: tiny tensors, equal sums everywhere

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from flexpose.commands import find_command, resolve
from flexpose.events import JobEvent, StepCompleted
from flexpose.jobs import CancelToken, guarded, recorded
from flexpose.poseset import PoseSet
from flexpose.runs import RunDir
from flexpose.skeleton import Skeleton

# a machine with other work is slow, not wrong
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

PUPPET = Skeleton(
    name="puppet",
    joints=("hip", "head", "left_hand", "right_hand", "tail"),
    edges=((0, 1), (1, 2), (1, 3), (0, 4)),
    symmetric_pairs=((2, 3),),
)


def puppet_keypoints(count: int, seed: int = 0, reach: float = 1.0) -> np.ndarray:
    """Seeded image poses (count, 5, 2), about 100 px large, with arms of length ``reach``."""
    random = np.random.default_rng(seed)
    rest = np.array([[0, 0], [0, -50], [-40, -40], [40, -40], [0, 45]], dtype=np.float64)
    rest[2:4] = rest[1] + (rest[2:4] - rest[1]) * reach
    turn = random.normal(0, 0.4, (count, 5))
    cos, sin = np.cos(turn), np.sin(turn)
    x, y = rest[:, 0], rest[:, 1]
    moved = np.stack([cos * x - sin * y, sin * x + cos * y], axis=2)
    return (moved + 100 + random.normal(0, 3, (count, 5, 2))).astype(np.float32)


@pytest.fixture(autouse=True)
def plain_arithmetic() -> Iterator[None]:
    """Undo what a job sets for the whole process: hypothesis refuses to work without denormals."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture(scope="session")
def puppet() -> Skeleton:
    """Five joints, one pair of hands."""
    return PUPPET


@pytest.fixture(scope="session")
def puppet_poses() -> Callable[..., PoseSet]:
    """``(count, seed, reach) -> PoseSet`` of image poses."""

    def make(count: int = 16, seed: int = 0, reach: float = 1.0) -> PoseSet:
        return PoseSet.create(PUPPET, puppet_keypoints(count, seed, reach), (200, 200))

    return make


@pytest.fixture(scope="session")
def play() -> Callable[..., list[JobEvent]]:
    """``(command, config, folder, cancel_at, stop_at) -> events``, as the command line drives it.

    ``cancel_at`` cancels when that step is reported, ``stop_at`` stops early and keeps.
    """

    def run(
        command: str,
        config: object,
        path: Path,
        cancel_at: int | None = None,
        stop_at: int | None = None,
    ):
        path.mkdir(parents=True, exist_ok=True)
        run_dir, cancel = RunDir(path), CancelToken()
        if cancel_at == 0:
            cancel.cancel()
        job = resolve(find_command(command).target)(config, run_dir, cancel)
        events = []
        for event in recorded(guarded(job), run_dir):
            events.append(event)
            if isinstance(event, StepCompleted) and event.step in (cancel_at, stop_at):
                cancel.cancel(keep=event.step == stop_at)
        return events

    return run
