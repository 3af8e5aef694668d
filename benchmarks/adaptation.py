"""The table of docs/adaptation.md: ways to come from COCO's poses to a target's, over seeds.

    python benchmarks/adaptation.py --data ../shared/data --out docs/results/adaptation

Each finished row is kept in OUT.jsonl, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from targets import Target, jhmdb_action, mocap

from flexpose.compute import generator_for, prepare
from flexpose.configs.adaptation import (
    AdaptConfig,
    KinematicsConfig,
    PairsConfig,
    TransferConfig,
    WeightingConfig,
)
from flexpose.configs.base import load_config
from flexpose.configs.prior import SourceConfig
from flexpose.evaluation.distributions import COLUMNS, compare
from flexpose.evaluation.report import summary_table
from flexpose.geometry import canvas_poses, normalised
from flexpose.io.base import atomic_write_text
from flexpose.mixup import pose_mixup
from flexpose.models.prior import load_prior
from flexpose.sampling import PoseModel, PoseSampler
from flexpose.shipped import shipped_priors
from flexpose.skeleton import load_skeleton
from flexpose.training.adaptation import AdaptationTask
from flexpose.training.data import load_source

COUNT = 5000  # poses of every generated set
SEEDS = (0, 1, 2)
NO_KINEMATICS = KinematicsConfig(enabled=False)
NO_WEIGHTS = WeightingConfig(enabled=False)


def variants() -> dict[str, AdaptConfig]:
    """Every way to adapt, on the keypoint prior unless its name says otherwise."""

    def config(
        matching: str = "none", kinematics: bool = False, weights: bool = False, **transfer: object
    ) -> AdaptConfig:
        return AdaptConfig(
            shots=Path("-"),
            transfer=TransferConfig(matching=matching, **transfer),
            kinematics=KinematicsConfig() if kinematics else NO_KINEMATICS,
            weighting=WeightingConfig() if weights else NO_WEIGHTS,
            mixup_share=0,
        )

    keypoints = PairsConfig(features="keypoints", batch_size=128)
    rows = {
        "index (Eq. 5), keypoint prior": config("index", identity_weight=0.0, pairs=keypoints),
        "ot, keypoint prior": config("ot", identity_weight=0.0, pairs=keypoints),
        "energy": config("energy", identity_weight=0.0),
        "energy, pulled to identity": config("energy"),
        "kinematic transfer": config(kinematics=True),
        "energy-weighted sampling": config(weights=True),
        "kinematic + weighted": config(kinematics=True, weights=True),
        "energy + weighted": config("energy", weights=True),
        "default (energy + kinematic + weighted)": AdaptConfig(shots=Path("-")),
    }
    if "body15-image" in shipped_priors():
        presets = Path(__file__).parents[1] / "src_training/flexpose/presets"
        paper = load_config(
            AdaptConfig, presets / "adapt-paper.yaml", {"shots": Path("-"), "prior": "body15-image"}
        )
        rows["paper (index, image prior)"] = paper
        rows["default, image prior"] = AdaptConfig(shots=Path("-"), prior="body15-image")
    return rows


def adapted(config: AdaptConfig, shots: np.ndarray) -> np.ndarray:
    """Unit poses of an adapted prior."""
    prior = load_prior(config.prior)
    task = AdaptationTask(config, prior, torch.from_numpy(shots), torch.device("cpu"))
    for step in range(1, task.total_steps + 1):
        task.step(step)
    return drawn(task.model(), config.seed)


def drawn(model: PoseModel, seed: int) -> np.ndarray:
    return PoseSampler(model).draw(COUNT, generator_for(seed, 1 << 42)).numpy()


def table_rows(target: Target, count: int, source: np.ndarray) -> dict[str, Callable]:
    """Name of each row, and what makes its unit poses for a seed."""

    def mixed(seed: int, number: int = COUNT) -> np.ndarray:
        shots = normalised(target.shots(count, seed).keypoints)
        return normalised(pose_mixup(shots, number, np.random.default_rng(seed)))

    def direct(seed: int) -> np.ndarray:
        both = np.concatenate([source, mixed(seed, 1000)])
        return np.random.default_rng(seed).permutation(both)[:COUNT]

    rows: dict[str, Callable] = {
        "source prior": lambda seed: drawn(PoseModel(load_prior("body15")), seed),
        "mixup only (T*)": mixed,
        "Direct (S and T*)": direct,
        "floor: other clips of the target": lambda seed: normalised(target.train.keypoints),
    }
    return rows | adapted_rows(target, count, variants())


def adapted_rows(
    target: Target, count: int, configs: dict[str, AdaptConfig]
) -> dict[str, Callable]:
    """For each config, what adapts with it to the shots of a seed, and draws."""

    def maker(config: AdaptConfig) -> Callable:
        def make(seed: int) -> np.ndarray:
            shots = normalised(target.shots(count, seed).keypoints)
            return adapted(config.model_copy(update={"seed": seed}), shots)

        return make

    return {name: maker(config) for name, config in configs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--shots", type=int, nargs="+", default=[12, 30])
    parser.add_argument("--rows", nargs="+", help="only rows that contain one of these words")
    args = parser.parse_args()
    prepare(torch.device("cpu"), args.threads)
    log = args.out.with_suffix(".jsonl")
    log.parent.mkdir(parents=True, exist_ok=True)
    coco = args.data / "coco2017_keypoints" / "coco_keypoints_train2017.npz"
    source = load_source(SourceConfig(poses=coco)).keypoints.numpy()
    targets = (jhmdb_action(args.data, "golf"), mocap(args.data))
    for target in targets:
        for count in args.shots:
            rows = table_rows(target, count, source)
            if args.rows:
                rows = {n: make for n, make in rows.items() if any(w in n for w in args.rows)}
            measure(target, count, rows, log)
    atomic_write_text(args.out.with_suffix(".md"), markdown(read_log(log), targets))


def read_log(log: Path) -> list[dict]:
    """Rows that are finished."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def measure(target: Target, count: int, rows: dict[str, Callable], log: Path) -> None:
    """Make and judge what the log lacks of ``rows``: name to maker of unit poses for a seed."""
    have = {(r["target"], r["shots"], r["row"], r["seed"]) for r in read_log(log)}
    skeleton = load_skeleton("body15")
    for row, make in rows.items():
        for seed in SEEDS:
            key = (target.name, count, row, seed)
            if key in have:
                continue
            began = time.perf_counter()
            poses = make(seed)
            seconds = time.perf_counter() - began
            report = compare(canvas_poses(poses, skeleton, 256), target.test).metrics()
            entry = dict(zip(("target", "shots", "row", "seed"), key, strict=True))
            with log.open("a") as file:
                file.write(json.dumps({**entry, "seconds": seconds, "metrics": report}) + "\n")
            print(key, f"energy {report['energy_distance']:.4f}, {seconds:.1f} s", flush=True)


def markdown(done: list[dict], targets: tuple[Target, ...]) -> str:
    """All tables, with what a reader needs to judge them."""
    parts = [
        f"Written by `benchmarks/adaptation.py`; {platform.machine()}, torch {torch.__version__}, "
        f"CPU. {COUNT} poses a set, seeds {', '.join(map(str, SEEDS))} (draw of shots, T*, fit and "
        "samples); mean ± standard deviation over them.\n"
    ]
    for target in targets:
        for count in sorted({r["shots"] for r in done}):
            results: dict[str, list[dict[str, float]]] = defaultdict(list)
            for r in done:
                if r["target"] == target.name and r["shots"] == count:
                    results[r["row"]].append(r["metrics"])
            floor = [name for name in results if name.startswith("floor")]
            parts.append(
                f"\n### {target.name}, M = {count}\n\n{len(target.test)} test poses of clips that "
                f"give no shots.\n\n{summary_table(results, COLUMNS, unranked=floor)}"
            )
    return "".join(parts)


if __name__ == "__main__":
    main()
