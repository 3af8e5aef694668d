"""How fast the default detector learns on the embedded mannequin, on this machine.

    python benchmarks/detector_curve.py --out docs/results/detector-curve

All frames are there without labels, as for a user; twelve are labelled; those of clips that
gave no shots are what is measured.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import torch
from detector import Bench, mannequin

from flexpose.configs.base import load_config
from flexpose.configs.detector import DetectorConfig
from flexpose.evaluation.figures import curve_figure
from flexpose.evaluation.report import markdown_table
from flexpose.events import MetricsReady
from flexpose.io.base import atomic_write_text
from flexpose.jobs import CancelToken
from flexpose.runs import RunDir
from flexpose.training import detector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-detector"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/detector-curve"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    bench = Bench(mannequin(args.work), 0, args.work, {})
    frames = args.work / "mannequin"
    values = {
        "frames": {"path": frames, "crop": "boxes", "boxes": frames / "mannequin.coco.json"},
        "shots": bench.file("shots"),
        "poses": bench.poses("default"),
        "validation": bench.file("test"),
        "evaluate_every": 250,
        "threads": args.threads,
    }
    config = load_config(DetectorConfig, overrides=values)
    run = RunDir.create("train-detector", args.work / "curve", overwrite=True)
    run.begin(config)
    began, rows = time.perf_counter(), []
    for event in detector.run(config, run, CancelToken(run)):
        if isinstance(event, MetricsReady):
            minutes = (time.perf_counter() - began) / 60
            rows.append((event.step, minutes, event.metrics["pck@.05"], event.metrics["pck@.1"]))
            print(rows[-1], flush=True)
    steps = [row[0] for row in rows]
    curves = {"PCK@.05": (steps, [r[2] for r in rows]), "PCK@.1": (steps, [r[3] for r in rows])}
    curve_figure(curves, args.out.with_suffix(".png"), y_label="share of joints, of the crop")
    cells = [[str(s), f"{m:.1f}", f"{a:.3f}", f"{b:.3f}"] for s, m, a, b in rows]
    text = (
        f"Written by `benchmarks/detector_curve.py`: {platform.machine()}, torch "
        f"{torch.__version__}, {args.threads} threads, seed 0, default settings; minutes from the "
        "start of the job, with reading frames, making puppets and measuring. PCK in shares of the "
        f"crop.\n\n{markdown_table(['step', 'minutes', 'PCK@.05', 'PCK@.1'], cells)}"
    )
    atomic_write_text(args.out.with_suffix(".md"), text)


if __name__ == "__main__":
    main()
