"""How long the main job takes, and where the time goes: docs/results/speed.md.

    python benchmarks/speed.py --out docs/results/speed --threads 2

Needs no data: shots are frames of the embedded mannequin. Run it on a machine that does nothing
else.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from flexpose.compute import generator_for, prepare
from flexpose.configs.adaptation import AdaptConfig
from flexpose.evaluation.report import markdown_table
from flexpose.geometry import normalised
from flexpose.io.base import atomic_write_text
from flexpose.mannequin import mannequin_frames
from flexpose.models.prior import load_prior
from flexpose.sampling import PoseModel, PoseSampler
from flexpose.shipped import shipped_priors
from flexpose.training.adaptation import AdaptationTask

COUNTS = {"body15": 20_000, "body15-image": 600}  # samples of one run
RUNS = {"body15": 3, "body15-image": 1}
WARM = 10  # steps that do not count, and those that are profiled


def timed(job: Callable[[], object], runs: int) -> list[float]:
    """Seconds of each run."""
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - began)
    return seconds


def adapt(name: str, shots: torch.Tensor, steps: int | None = None) -> AdaptationTask:
    """The default adaptation, or only its first steps."""
    task = AdaptationTask(
        AdaptConfig(prior=name, shots=Path("-")), load_prior(name), shots, torch.device("cpu")
    )
    for step in range(1, (steps or task.total_steps) + 1):
        task.step(step)
    return task


def sampling(model: PoseModel, count: int) -> Callable[[], torch.Tensor]:
    """Draws so many poses; the filter's threshold is set before, once."""
    sampler = PoseSampler(model)
    return lambda: sampler.draw(count, generator_for(0, 1))


def hot_spots(job: Callable[[], object], rows: int = 8) -> str:
    """The operations that take most of a job's CPU time."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        job()
    events = sorted(recorded.key_averages(), key=lambda e: -e.self_cpu_time_total)
    total = sum(e.self_cpu_time_total for e in events)
    table = [
        [e.key, str(e.count), f"{100 * e.self_cpu_time_total / total:.0f} %"] for e in events[:rows]
    ]
    return markdown_table(["operation", "calls", "share of CPU time"], table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--priors", nargs="+", choices=COUNTS, default=list(COUNTS))
    args = parser.parse_args()
    prepare(torch.device("cpu"), args.threads)
    poses = mannequin_frames().poses
    shots = torch.from_numpy(normalised(poses.keypoints[:: len(poses) // 12][:12]))
    rows, profiles = [], []
    for name in args.priors:
        if name not in shipped_priors():
            continue
        count = COUNTS[name]
        adapt(name, shots, WARM)
        tasks: list[AdaptationTask] = []
        fit = timed(lambda n=name, t=tasks: t.append(adapt(n, shots)), RUNS[name])
        task = tasks[-1]
        plain = timed(sampling(PoseModel(load_prior(name)), count), RUNS[name])
        adapted = timed(sampling(task.model(), count), RUNS[name])
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        rows.append(
            [
                name,
                *(f"{statistics.median(fit):.1f} s ({min(fit):.1f}-{max(fit):.1f})",),
                f"{count / statistics.median(plain):,.0f}",
                f"{count / statistics.median(adapted):,.0f}",
                f"{memory:.1f} GiB",
            ]
        )
        profiles.append(
            f"\n{name}, adapting, {WARM} steps:\n\n"
            f"{hot_spots(lambda n=name: adapt(n, shots, WARM))}"
        )
        profiles.append(
            f"\n{name}, sampling from the adapted model:\n\n"
            f"{hot_spots(sampling(task.model(), count))}"
        )
    head = ["prior", "adapt, 12 shots", "samples/s, prior", "samples/s, adapted", "peak memory"]
    text = (
        f"Written by `benchmarks/speed.py`: {platform.machine()}, {args.threads} threads, torch "
        f"{torch.__version__}; median of some runs after a short one (least and "
        f"most). Peak memory is that of the process until then.\n\n"
        f"{markdown_table(head, rows)}{''.join(profiles)}"
    )
    atomic_write_text(args.out.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
