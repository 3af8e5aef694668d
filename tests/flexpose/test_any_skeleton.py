"""The whole way through the jobs with skeletons that are no person's: nothing assumes a body."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from flexpose.commands import find_command, resolve
from flexpose.configs.base import load_config
from flexpose.events import JobFinished, MetricsReady
from flexpose.io.base import read_poses
from flexpose.io.coco import write_coco
from flexpose.io.coco_check import check_coco
from flexpose.poseset import PoseSet
from flexpose.sampling import load_model
from flexpose.skeleton import Skeleton, load_skeleton, save_skeleton
from flexpose.training.prior import PriorTask

SIZE, FRAMES = 64, 6
CORNERS = ("corner_1", "corner_2", "corner_3", "corner_4")
TINY = {
    "kind": "keypoints",
    "z_dim": 6,
    "w_dim": 8,
    "width": 16,
    "depth": 3,
    "mapping_depth": 2,
    "disc_width": 16,
}
SKELETONS = {
    "animal17": load_skeleton("animal17"),
    "dots": Skeleton(name="dots", joints=CORNERS, edges=()),
    # the only two bones that meet are left and right of each other
    "head": Skeleton(
        name="head",
        joints=("nose", "left_ear", "right_ear", "tail_root"),
        edges=((0, 1), (0, 2)),
        symmetric_pairs=((1, 2),),
    ),
    # every joint is one of the trunk
    "trunk": Skeleton(
        name="trunk", joints=("neck", "spine", "belly", "hip"), edges=((0, 1), (1, 2), (2, 3))
    ),
    "stick": Skeleton(name="stick", joints=("grip", "tip"), edges=((0, 1),)),
}


def swaying(skeleton: Skeleton, count: int, seed: int) -> PoseSet:
    """Seeded poses inside of small images: a fixed shape, turned and shaken."""
    random = np.random.default_rng(seed)
    rest = np.array(skeleton.neutral_pose or np.random.default_rng(7).normal(size=(17, 2)))
    rest = rest[: skeleton.num_joints].astype(np.float64)
    rest = (rest - rest.mean(axis=0)) / np.ptp(rest, axis=0).max() * SIZE * 0.5
    turn = random.normal(0, 0.4, count)
    cos, sin = np.cos(turn), np.sin(turn)
    matrix = np.stack([cos, -sin, sin, cos], axis=1).reshape(-1, 2, 2)
    points = rest @ matrix.transpose(0, 2, 1) + random.normal(0, 2, (count, len(rest), 2))
    names = tuple(f"{number:03d}.png" for number in range(count))
    inside = np.clip(points + SIZE / 2, 2, SIZE - 3)
    return PoseSet.create(skeleton, inside, (SIZE, SIZE), image_ids=names)


def draw(poses: PoseSet, folder: Path) -> None:
    """One image a pose: a blot at each joint, on noise."""
    folder.mkdir()
    ground = np.random.default_rng(1).integers(0, 60, (SIZE, SIZE, 3)).astype(np.uint8)
    for name, pose in zip(poses.image_ids or (), poses.keypoints, strict=True):
        picture = ground.copy()
        for joint, (x, y) in enumerate(np.rint(pose).astype(int).tolist()):
            cv2.circle(picture, (x, y), 3, (90 + 9 * joint, 240 - 9 * joint, 120), -1)
        cv2.imwrite(str(folder / name), picture)


class Shop:
    """Does one job after the other in a folder."""

    def __init__(self, folder: Path, play: Callable[..., Any]) -> None:
        self.folder, self._play = folder, play

    def do(self, command: str, name: str, **settings: Any) -> list[Any]:
        """Events of a job in the run ``name``, which must finish."""
        given = {"device": "cpu", "threads": 1, **settings}
        config = load_config(resolve(find_command(command).config), overrides=given)
        events = self._play(command, config, self.folder / name)
        assert isinstance(events[-1], JobFinished), events[-1]
        return list(events)


@pytest.fixture
def shop(tmp_path: Path, play: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Shop:
    sampled = PriorTask._sampled
    monkeypatch.setattr(PriorTask, "_sampled", lambda task, n, random: sampled(task, 3, random))
    return Shop(tmp_path / "shop", play)


@pytest.mark.parametrize("name", SKELETONS)
def test_a_prior_is_learned_and_adapted_and_a_detector_trained(name, shop, tmp_path):
    skeleton, files = SKELETONS[name], tmp_path
    save_skeleton(skeleton, files / "skeleton.yaml")
    write_coco(swaying(skeleton, 60, seed=0), files / "poses.coco.json")
    truth = swaying(skeleton, FRAMES, seed=1)
    draw(truth, files / "frames")
    write_coco(truth[::2], files / "shots.coco.json")
    write_coco(truth[1::2], files / "held-out.coco.json")

    source = {
        "poses": files / "poses.coco.json",
        "skeleton": str(files / "skeleton.yaml"),
        "min_side": 0,
    }
    events = shop.do(
        "train-prior", "prior", source=source, generator=TINY, steps=6, batch_size=8,
        evaluate_every=6,
    )  # fmt: skip
    (figures,) = [event.metrics for event in events if isinstance(event, MetricsReady)]
    assert np.isfinite([*figures.values()]).all()

    shop.do(
        "adapt", "adapted", prior=str(shop.folder / "prior"), shots=files / "shots.coco.json",
        steps=3, batch_size=16, weighting={"entropy_weight": 5},
    )  # fmt: skip
    drawn = files / "drawn.coco.json"
    shop.do("sample", "drawn", model=str(shop.folder / "adapted"), n=20, out=drawn)
    assert read_poses(drawn).skeleton.joints == skeleton.joints

    methods = ("heatmaps", "keypoint-gan") if name in ("animal17", "dots") else ("heatmaps",)
    for method in methods:
        frames = {"path": files / "frames", "crop": "whole"}
        shop.do(
            "train-detector", method, method=method, frames=frames, size=32, width=4, steps=2,
            batch_size=4, evaluate_every=2, num_poses=40, model=str(shop.folder / "adapted"),
            shots=files / "shots.coco.json", validation=files / "held-out.coco.json",
            heatmaps={"puppets": 4}, gan={"reader_steps": 1},
        )  # fmt: skip
        out = files / f"{method}.coco.json"
        shop.do("predict", f"predict-{method}", model=shop.folder / method, frames=frames, out=out)
        assert [f.message for f in check_coco(out) if f.severity == "error"] == []
        assert len(read_poses(out)) == FRAMES


def test_an_adapted_model_may_move_together_with_its_prior(shop, tmp_path):
    skeleton = SKELETONS["head"]
    for count, name in ((20, "poses"), (4, "shots")):
        write_coco(swaying(skeleton, count, seed=count), tmp_path / f"{name}.coco.json")
    save_skeleton(skeleton, tmp_path / "head.yaml")
    source = {"poses": tmp_path / "poses.coco.json", "skeleton": str(tmp_path / "head.yaml")}
    shop.do(
        "train-prior", "prior", source={**source, "min_side": 0}, generator=TINY, steps=1,
        batch_size=4,
    )  # fmt: skip
    shots = tmp_path / "shots.coco.json"
    prior = str(shop.folder / "prior")
    shop.do("adapt", "adapted", prior=prior, shots=shots, steps=1, batch_size=16)
    shutil.move(shop.folder, tmp_path / "elsewhere")
    model = load_model(tmp_path / "elsewhere" / "adapted")
    assert model.prior.skeleton.joints == skeleton.joints
