"""Train the shipped priors again, each from its preset, and put them into the package.

    python benchmarks/make_prior.py --data ../shared/data [--only body15]

Runs lie under runs/prior-NAME and resume where they stopped; ``--export`` only packs what a run
has so far. Each prior's curve goes to docs/results.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from flexpose.checkpoint import load_checkpoint, save_checkpoint
from flexpose.cli.__main__ import main as flexpose_train
from flexpose.evaluation.distributions import features
from flexpose.evaluation.embedding import PoseMap
from flexpose.evaluation.figures import curve_figure

PRIORS = Path(__file__).parents[1] / "src_training/flexpose/priors"
RESULTS = Path(__file__).parents[1] / "docs/results"
JOBS = {  # in this order: each may build on those before it
    "body15": ("train-prior", "body15"),
    "body15-image": ("train-prior", "body15-image"),
    "body15-regressor": ("train-regressor", "body15"),
}


def export(run: Path, name: str) -> Path:
    """Copy a run's latest checkpoint into the package, without what only training needs.

    The generator's moving average and the discriminator stay, a map of the source poses comes
    with them; paths become bare names.
    """
    found = load_checkpoint(run)
    tensors = {k: v for k, v in found.tensors.items() if not k.startswith("generator.")}
    if "source_sample" in tensors:
        poses = features(tensors["source_sample"].numpy())
        tensors["source_map"] = torch.tensor(PoseMap.fit(poses).positions, dtype=torch.float32)
    config = dict(found.meta.config)
    for key in {"validation", "teacher", "regressor", "generator", "start"} & set(config):
        config[key] = bare(config[key])
    config["source"] = {**config["source"], "poses": bare(config["source"]["poses"])}
    folder = PRIORS / name
    shutil.rmtree(folder, ignore_errors=True)
    save_checkpoint(folder, tensors=tensors, meta=replace(found.meta, config=config))
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


def curve(run: Path, name: str) -> Path | None:
    """Draw how near the generator came to held-out poses, step by step; None for a regressor."""
    events = map(json.loads, (run / "events.jsonl").read_text(encoding="utf-8").splitlines())
    told = [e for e in events if e["event"] == "MetricsReady" and "energy_distance" in e["metrics"]]
    if not told:
        return None
    steps = [e["step"] for e in told]
    curves = {
        title: (steps, [e["metrics"][key] for e in told])
        for title, key in (
            ("energy distance", "energy_distance"),
            ("Fréchet distance", "frechet_distance"),
        )
    }
    return curve_figure(curves, RESULTS / f"{name}-curve.png", title=name, log=True)


def bare(value: Any) -> Any:
    """A path without its folders; settings that are no path as they are."""
    return Path(value).name if isinstance(value, str) else value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", choices=JOBS, nargs="+", default=list(JOBS))
    parser.add_argument("--export", action="store_true", help="do not train")
    args = parser.parse_args()
    coco = args.data / "coco2017_keypoints"
    for name in args.only:
        command, preset = JOBS[name]
        run = Path("runs") / f"prior-{name}"
        if not args.export:
            words = [command, "--out", str(run)]
            if (run / "config.yaml").exists():
                words += ["--resume"]
            else:
                words += ["--config", preset]
                words += ["--source.poses", str((coco / "coco_keypoints_train2017.npz").resolve())]
                words += ["--validation", str((coco / "coco_keypoints_val2017.npz").resolve())]
            code = flexpose_train(words)
            if code:
                return code
        print(export(run, name))
        print(curve(run, name) or "no curve")
    return 0


if __name__ == "__main__":
    sys.exit(main())
