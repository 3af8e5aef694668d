"""The table of docs/detector.md: ways to a detector from a dozen shots, over seeds.

    python benchmarks/detector.py --target mannequin --out docs/results/detector
    python benchmarks/detector.py --target golf jhmdb --data ../shared/data --out ...
    python benchmarks/detector.py --target studio --studio runs/studio --out ...

Each finished row is kept in OUT.jsonl, so that an interrupted run goes on where it stopped.
Every training is the command's own job; frames of test clips are in none.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from flexpose.commands import find_command, resolve
from flexpose.configs.base import load_config, read_values
from flexpose.evaluation.keypoints import score_keypoints
from flexpose.evaluation.report import Column, summary_table
from flexpose.frames import open_frames
from flexpose.geometry import canvas_poses, normalised, tight_boxes
from flexpose.io.base import atomic_write_text, read_poses
from flexpose.io.coco import write_coco
from flexpose.io.jhmdb import read_jhmdb, video_of
from flexpose.jobs import CancelToken, run_to_completion
from flexpose.mannequin import mannequin_frames
from flexpose.mapping import map_poses
from flexpose.mixup import pose_mixup
from flexpose.poseset import PoseSet
from flexpose.runs import RunDir
from flexpose.skeleton import load_skeleton

SEEDS = (0, 1, 2)
SHOTS = 12
POSES, MIXUPS = 8000, 1000
GAN_WIDTH = 8
"""A quarter of the published width: what two processor cores can train in a quarter of an hour."""
KEYS = ("pck@.05", "pck@.1", "pck@.1_swapped", "distance_percent", "oks_ap", "calibration_error")
COLUMNS = (
    Column("pck@.05", "PCK@.05", "high"),
    Column("pck@.1", "PCK@.1", "high"),
    Column("pck@.1_swapped", "PCK@.1, sides exchanged", "high"),
    Column("distance_percent", "distance, % of image", "low", 2),
    Column("oks_ap", "OKS AP", "high"),
    Column("calibration_error", "calibration error", "low"),
)
STRANGE = Column("pck@.1_other_videos", "PCK@.1, other videos", "high")
"""Of clips cut from videos that no training clip is of; those of JHMDB are often neighbours."""


@dataclass(frozen=True)
class Target:
    """Frames on disk with their truth, split by clip.

    Attributes
    ----------
    frames : folder; names of frames are the image ids of the truth
    train, test : true poses of all frames of the clips
    """

    name: str
    folder: Path
    train: PoseSet
    test: PoseSet

    def shots(self, seed: int) -> PoseSet:
        rows = self.train.spread_rows(SHOTS, np.random.default_rng([seed, SHOTS]))
        return self.train[rows]


# ---------------------------------------------------------------- targets


def mannequin(work: Path) -> Target:
    """The embedded sample; the third clip of each action is for testing."""
    folder = work / "mannequin"
    if not (folder / "mannequin.coco.json").exists():
        mannequin_frames(0).write(folder)
    poses = _boxed(read_poses(folder / "mannequin.coco.json"))
    return _split("mannequin", folder, poses, lambda clip: clip.endswith("_2"))


def jhmdb(work: Path, data: Path, family: str | None) -> Target:
    """Clips of real video with a resting camera and the better labels, three tenths for testing."""
    folder = work / "jhmdb"
    source = data / "jhmdb" / "jhmdb_joints.npz"
    poses = map_poses(read_jhmdb(source, grade="A", static=True), load_skeleton("body15"))
    videos = {
        str(path.relative_to(data / "jhmdb" / "videos").with_suffix("")): path
        for path in (data / "jhmdb" / "videos").rglob("*.avi")
    }
    assert poses.groups is not None
    poses = poses[np.array([group in videos for group in poses.groups])]
    names = []
    for clip in dict.fromkeys(poses.groups or ()):
        frames = open_frames(videos[clip])
        (folder / clip).mkdir(parents=True, exist_ok=True)
        for number in range(len(frames.names)):
            path = folder / clip / f"{number:04d}.png"
            if not path.exists():
                cv2.imwrite(str(path), frames.read(number)[..., ::-1])
    for name in poses.image_ids or ():
        clip, _, number = name.rpartition("/")
        names.append(f"{clip}/{int(number):04d}.png")
    poses = _boxed(replace(poses, image_ids=tuple(names), boxes=None))
    if family is not None:
        poses = poses[np.array([g.startswith(f"{family}/") for g in poses.groups or ()])]
    clips = np.random.default_rng(0).permutation(np.unique(np.array(poses.groups)))
    held = set(clips[: max(1, len(clips) * 3 // 10)].tolist())
    title = "JHMDB, static clips" if family is None else f"JHMDB {family}"
    return _split(title, folder, poses, lambda clip: clip in held)


def studio(folder: Path) -> Target:
    """What ``make-studio`` made."""
    train, test = (
        _boxed(_with_prefix(read_poses(folder / f"{part}.coco.json"), folder, part))
        for part in ("train", "test")
    )
    return Target("studio stand-in", folder, train, test)


def _with_prefix(poses: PoseSet, folder: Path, part: str) -> PoseSet:
    names = poses.image_ids or ()
    if (folder / names[0]).exists():
        return poses
    return replace(poses, image_ids=tuple(f"{part}/{name}" for name in names))


def _boxed(poses: PoseSet) -> PoseSet:
    """Complete poses with the boxes of their joints, grouped by clip: folders of their frames."""
    poses = poses[poses.complete]
    groups = tuple(name.rpartition("/")[0] for name in poses.image_ids or ())
    return replace(poses, boxes=tight_boxes(poses.keypoints), groups=groups)


def _split(name: str, folder: Path, poses: PoseSet, held: Callable[[str], bool]) -> Target:
    test = np.array([held(clip) for clip in poses.groups or ()])
    return Target(name, folder, poses[~test], poses[test])


# ---------------------------------------------------------------- rows


class Bench:
    """One target and seed: its files, and what is trained on them."""

    def __init__(self, target: Target, seed: int, work: Path, steps: Mapping[str, int]) -> None:
        self.target, self.seed, self.steps = target, seed, steps
        self.folder = work / target.name.replace(" ", "-").replace(",", "") / f"seed-{seed}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.shots = target.shots(seed)
        for name, poses in (("shots", self.shots), ("train", target.train), ("test", target.test)):
            if not self.file(name).exists():
                write_coco(poses, self.file(name))

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def job(self, command: str, name: str, values: Mapping[str, Any]) -> Path:
        """Run a job, unless it has been; its run folder."""
        row = find_command(command)
        run = RunDir(self.folder / name)
        if (run.path / "done").exists():
            return run.path
        run = RunDir.create(command, run.path, overwrite=True)
        config = load_config(resolve(row.config), overrides={"seed": self.seed, **values})
        run.begin(config)
        run_to_completion(resolve(row.target)(config, run, CancelToken(run)))
        (run.path / "done").touch()
        return run.path

    def poses(self, kind: str) -> Path | None:
        """A file of unpaired poses: what a detector may expect."""
        path = self.file(f"poses-{kind}")
        if path.exists():
            return path
        random = np.random.default_rng([self.seed, 7])
        mixed = normalised(pose_mixup(normalised(self.shots.keypoints), MIXUPS, random))
        skeleton = self.shots.skeleton
        if kind == "mixup":
            write_coco(canvas_poses(mixed, skeleton, 256), path)
        elif kind == "aligned":
            write_coco(canvas_poses(normalised(self.target.train.keypoints), skeleton, 256), path)
        else:
            preset = Path(__file__).parents[1] / "src_training/flexpose/presets/adapt-paper.yaml"
            model = "body15"
            if kind != "direct":
                extra = read_values(preset) if kind == "paper" else {}
                given = {**extra, "shots": self.file("shots")}
                model = str(self.job("adapt", f"adapted-{kind}", given))
            drawn = self.file(f"drawn-{kind}")
            self.job(
                "sample",
                f"sample-{kind}",
                {"model": model, "n": POSES, "out": drawn, "overwrite": True},
            )
            both = [normalised(read_poses(drawn).keypoints), mixed]
            write_coco(canvas_poses(np.concatenate(both), skeleton, 256), path)
        return path

    def detector(self, name: str, values: Mapping[str, Any]) -> PoseSet:
        """Train, and predict the test frames."""
        boxes = {"path": self.target.folder, "crop": "boxes"}
        trained = self.job(
            "train-detector",
            f"detector-{name}",
            {
                "frames": {**boxes, "boxes": self.file("train")},
                "shots": self.file("shots"),
                "preview_every": 500,
                "evaluate_every": 10_000,
                **values,
            },
        )
        found = self.folder / f"found-{name}.json"
        self.job(
            "predict",
            f"predict-{name}",
            {
                "model": trained,
                "frames": {**boxes, "boxes": self.file("test")},
                "out": found,
                "overwrite": True,
                "rounds": 1,
            },
        )
        return read_poses(found)

    def heatmaps(self, name: str, kind: str | None = "default", **own: Any) -> PoseSet:
        poses = {} if kind is None else {"poses": self.poses(kind)}
        values = {**poses, "heatmaps": own, "steps": self.steps["heatmaps"]}
        return self.detector(name, values)

    def keypoint_gan(self, kind: str) -> PoseSet:
        """Unpaired only: the shots say where in a crop people stand, nothing else."""
        values = {
            "method": "keypoint-gan",
            "poses": self.poses(kind),
            "steps": self.steps["gan"],
            "width": GAN_WIDTH,
            "gan": {"supervised_weight": 0.0, "reader": "body15-regressor"},
        }
        return self.detector(f"gan-{kind}", values)

    def mean_pose(self) -> PoseSet:
        """The mean of the shots, in each test frame's box."""
        mean = normalised(self.shots.keypoints).mean(axis=0)
        mean = normalised(mean[None])[0]
        boxes = self.target.test.boxes
        assert boxes is not None
        middle = boxes[:, None, :2] + boxes[:, None, 2:] / 2
        side = boxes[:, 2:].max(axis=1)[:, None, None]
        keypoints = middle + mean * side / (2 * 0.85)
        test = self.target.test
        return PoseSet.create(test.skeleton, keypoints, test.image_size, image_ids=test.image_ids)


def rows(bench: Bench) -> dict[str, Callable[[], PoseSet]]:
    """Name to what predicts the test frames."""
    alone = {"puppets": 0, "unlabelled_weight": 0.0}
    return {
        "mean pose of the shots": bench.mean_pose,
        "heatmaps, shots only": lambda: bench.heatmaps("alone", None, **alone),
        "heatmaps from ImageNet, shots only": lambda: bench.heatmaps(
            "alone-imagenet", None, backbone="mobilenet", **alone
        ),
        "ours, default": lambda: bench.heatmaps("ours"),
        "ours, from ImageNet": lambda: bench.heatmaps("ours-imagenet", backbone="mobilenet"),
        "ours, puppets in source poses": lambda: bench.heatmaps("ours-source", "direct"),
        "ours, puppets in mixed-up shots": lambda: bench.heatmaps("ours-mixup", "mixup"),
        "ours, puppets in true poses": lambda: bench.heatmaps("ours-true", "aligned"),
        "ours, without puppets": lambda: bench.heatmaps("unposed", None, puppets=0),
        "ours, without unlabelled frames": lambda: bench.heatmaps(
            "untaught", unlabelled_weight=0.0
        ),
        "KeypointGAN, Direct": lambda: bench.keypoint_gan("direct"),
        "KeypointGAN, mixup only": lambda: bench.keypoint_gan("mixup"),
        "KeypointGAN, FlexPose paper": lambda: bench.keypoint_gan("paper"),
        "KeypointGAN, FlexPose default": lambda: bench.keypoint_gan("default"),
        "KeypointGAN, Aligned": lambda: bench.keypoint_gan("aligned"),
    }


# ---------------------------------------------------------------- the table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", nargs="+", default=["mannequin"])
    parser.add_argument("--data", type=Path, default=os.environ.get("FLEXPOSE_DATA"))
    parser.add_argument("--studio", type=Path, default=Path("runs/studio"))
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-detector"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/detector"))
    parser.add_argument("--rows", nargs="*", help="only rows whose name has one of these words")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--steps", type=int, default=1500, help="of the heatmap detectors")
    parser.add_argument("--gan-steps", type=int, default=1200)
    args = parser.parse_args()
    log = args.out.with_suffix(".jsonl")
    log.parent.mkdir(parents=True, exist_ok=True)
    steps = {"heatmaps": args.steps, "gan": args.gan_steps}
    for name in args.target:
        if name == "mannequin":
            target = mannequin(args.work)
        elif name == "studio":
            target = studio(args.studio)
        else:
            target = jhmdb(args.work, args.data, None if name == "jhmdb" else name)
        for seed in args.seeds:
            measure(Bench(target, seed, args.work, steps), args.rows, log)
    atomic_write_text(args.out.with_suffix(".md"), markdown(read_log(log)))


def read_log(log: Path) -> list[dict]:
    """Rows that are finished."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def measure(bench: Bench, words: list[str] | None, log: Path) -> None:
    """Do what the log lacks."""
    for row, predict in rows(bench).items():
        key = {"target": bench.target.name, "row": row, "seed": bench.seed}
        done = [{k: r[k] for k in key} for r in read_log(log)]
        if key in done or (words and not any(word in row for word in words)):
            continue
        began = time.perf_counter()
        found = predict()
        report = score_keypoints(found, bench.target.test, "box")
        minutes = (time.perf_counter() - began) / 60
        figures = {**report.overall, "calibration_error": report.calibration_error}
        metrics = {k: round(figures[k], 5) for k in KEYS if np.isfinite(figures.get(k, np.nan))}
        strange = of_other_videos(bench.target)
        if strange.any() and not strange.all():
            apart = score_keypoints(found, bench.target.test[strange], "box")
            metrics[STRANGE.key] = round(apart.overall["pck@.1"], 5)
        frames = {"train": len(bench.target.train), "test": len(bench.target.test)}
        entry = {
            **key,
            **frames,
            "steps": dict(bench.steps),
            "metrics": metrics | {"minutes": minutes},
        }
        with log.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        print(key, metrics, f"{minutes:.1f} min", flush=True)


def of_other_videos(target: Target) -> NDArray[np.bool_]:
    """Which test frames are of videos that no training clip was cut from; all but of JHMDB."""
    known = {video_of(str(group)) for group in target.train.groups or ()}
    return np.array([video_of(str(group)) not in known for group in target.test.groups or ()])


def markdown(done: list[dict]) -> str:
    """All tables, with what a reader needs to judge them."""
    parts = [
        f"Written by `benchmarks/detector.py`; {platform.machine()}, torch {torch.__version__}, "
        f"CPU, M = {SHOTS} shots; mean ± standard deviation over seeds (draw of shots, adaptation, "
        "training). PCK in shares of the longer side of the box around the joints; crops from "
        "these boxes, for training and test alike. 64 px; width 16, "
        f"of KeypointGAN {GAN_WIDTH}.\n"
    ]
    for target in dict.fromkeys(r["target"] for r in done):
        results: dict[str, list[dict[str, float]]] = defaultdict(list)
        own = [r for r in done if r["target"] == target]
        for r in own:
            results[r["row"]].append(r["metrics"])
        results = {f"{row}, {len(runs)} seeds": runs for row, runs in results.items()}
        columns = [*COLUMNS, STRANGE] if all(STRANGE.key in r["metrics"] for r in own) else COLUMNS
        oracle = [row for row in results if row.startswith("ours, puppets in true poses")]
        seeds = sorted({r["seed"] for r in own})
        steps: dict[str, set[int]] = defaultdict(set)
        for r in own:
            if not r["row"].startswith("mean pose"):
                gan = r["row"].startswith("KeypointGAN")
                steps["KeypointGAN" if gan else "heatmaps"].add(
                    r["steps"]["gan" if gan else "heatmaps"]
                )
        said = "; ".join(f"{name} {', '.join(map(str, sorted(n)))}" for name, n in steps.items())
        parts.append(
            f"\n### {target}\n\n{own[0]['train']} frames of training clips, {own[0]['test']} test "
            f"frames of other clips; seeds {', '.join(map(str, seeds))}; steps: {said}.\n\n"
            f"{summary_table(results, columns, unranked=oracle)}"
        )
    return "".join(parts)


if __name__ == "__main__":
    main()
