"""Job ``reproduce``: the cells of an experiment, then its table and figures."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flexpose.compute import hardware, resolve_device
from flexpose.configs.base import load_config
from flexpose.configs.experiment import ExperimentSpec, ReproduceConfig, ScaleSpec
from flexpose.errors import JobFailedError, MissingDependencyError, UnknownNameError
from flexpose.evaluation.distributions import COLUMNS
from flexpose.evaluation.report import Column, summary_table, write_report
from flexpose.events import (
    JobCancelled,
    JobEvent,
    JobFinished,
    JobStarted,
    PhaseChanged,
    StepCompleted,
)
from flexpose.experiments.cells import Bench, Cell
from flexpose.experiments.figures import draw
from flexpose.jobs import CancelToken
from flexpose.runs import RunDir
from flexpose.shipped import experiments

_LOOK = 0.5  # seconds between looks at cells elsewhere

DETECTOR = (
    Column("distance_128", "distance, px at 128", "low", 2),
    Column("pck@.05", "PCK@.05", "high"),
    Column("pck@.1", "PCK@.1", "high"),
    Column("whole@.1", "PCK10: all joints within .1 of the image", "high"),
    Column("whole@.2", "PCK20: within .2", "high"),
    Column("pck@.1_swapped", "PCK@.1, sides exchanged", "high"),
    Column("oks_ap", "OKS AP", "high"),
)
FACES = (
    Column("nme_percent", "NME, % of the eyes' distance", "low", 2),
    Column("pck@.1", "PCK@.1 of it", "high"),
    Column("whole@.2", "PCK20: all joints within .2 of the image", "high"),
    Column("distance_128", "distance, px at 128", "low", 2),
)
PICTURES = (
    Column("pck_crop", "PCK@.05 of the crop, limbs", "high"),
    Column("eval_pose", "EvalPose, centred", "high"),
    Column("pck@.1", "PCK@.1 of the box", "high"),
    Column("oks_ap", "OKS AP", "high"),
    Column("oks_ar", "OKS AR", "high"),
)
PAIRS = (Column("pairs", "what is left of Eq. 5, of the first step", "low", 4),)
_BESIDE = ("energy_distance", "precision", "recall")
"""What a detector's table tells of the poses that it learned from."""


def load_experiment(name: str) -> ExperimentSpec:
    """A shipped experiment, or a file of one.

    Raises
    ------
    UnknownNameError, ConfigError : there is none of this name, or the file is not one.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else experiments().get(name)
    if path is None:
        raise UnknownNameError("experiment", name, experiments())
    return load_config(ExperimentSpec, path)


def run(config: ReproduceConfig, run: RunDir, cancel: CancelToken) -> Iterator[JobEvent]:
    """Run what is not done yet, and write what there is.

    Raises
    ------
    FlexPoseError : data are missing, or a cell failed.
    """
    spec = load_experiment(config.experiment)
    bench = Bench(spec, config, run.path)
    total = len(bench.cells)
    yield JobStarted("reproduce", total, run.path)
    results: list[dict[str, Any]] = []
    try:
        for command, folder, settings in bench.shared():
            yield PhaseChanged(f"{command}: {folder.name}")
            bench.job(command, folder, settings, cancel)
        for cell, result in _finished(bench, run, cancel):
            results.append(result)
            yield PhaseChanged(f"{cell.target}: {cell.row}, seed {cell.seed}")
            yield StepCompleted(len(results), total, {"minutes": result["seconds"] / 60})
            _write(bench, run.path, results)
    except JobFailedError:
        if not cancel.cancelled:  # else the job inside a cell said that it was cancelled
            raise
    if cancel.cancelled:
        yield JobCancelled(len(results))
        return
    yield PhaseChanged("drawing figures")
    draw(bench, run.path, results, cancel)
    yield JobFinished(run.path / f"{_stem(config)}.md")


def _finished(
    bench: Bench, run: RunDir, cancel: CancelToken
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Cells as they come to an end: in this process, in several, or as jobs of a cluster."""
    config, cells = bench.config, bench.cells
    if config.workers == 1 and config.cluster is None:
        for cell in cells:
            if cancel.cancelled:
                return
            yield cell, bench.run(cell, cancel)
        return
    with _elsewhere(config, run.path) as submit:
        waiting = {submit(cell): cell for cell in cells}
        try:
            while waiting:
                for job in [job for job in waiting if job.done()]:
                    yield waiting.pop(job), job.result()
                if cancel.cancelled:
                    return
                time.sleep(_LOOK)
        finally:
            if waiting:
                run.request_cancel()  # those that run see the file and end
            for job in waiting:
                job.cancel()


@contextmanager
def _elsewhere(config: ReproduceConfig, out: Path) -> Iterator[Callable[[Cell], Any]]:
    """What starts a cell in a process or on a cluster: gives a job with done, result, cancel.

    Raises
    ------
    MissingDependencyError : a cluster is asked for and submitit is not installed.
    """
    if config.cluster is not None:
        try:
            import submitit
        except ImportError:
            raise MissingDependencyError("submitit", "Running cells on a cluster") from None
        executor = submitit.AutoExecutor(out / "cluster", cluster=config.cluster)
        executor.update_parameters(**config.cluster_settings)
        yield lambda cell: executor.submit(_apart, config, out, cell)
        return
    context = multiprocessing.get_context("spawn")
    numbers = context.Queue()
    for number in range(config.workers):
        numbers.put(number)
    threads = config.threads or max(1, (os.cpu_count() or 1) // config.workers)
    config = config.model_copy(update={"threads": threads})
    with ProcessPoolExecutor(
        config.workers, context, initializer=_take_device, initargs=(numbers,)
    ) as pool:
        yield lambda cell: pool.submit(_apart, config, out, cell)


def _take_device(numbers: Any) -> None:
    """Give a process its graphics card, where there are several, before torch looks."""
    number = numbers.get()
    count = torch.cuda.device_count()
    if count > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(number % count)


def _apart(config: ReproduceConfig, out: Path, cell: Cell) -> dict[str, Any]:
    """A cell in a process of its own."""
    bench = Bench(load_experiment(config.experiment), config, out)
    return bench.run(cell, CancelToken(RunDir(out)))


def _stem(config: ReproduceConfig) -> str:
    return f"{Path(config.experiment).stem}-{config.scale}"


def _write(bench: Bench, out: Path, results: list[dict[str, Any]]) -> None:
    """The table of what is finished, and the same as JSON."""
    order = {cell: number for number, cell in enumerate(bench.cells)}
    results = sorted(results, key=lambda r: order[Cell(r["target"], r["row"], r["seed"])])
    write_report(out / _stem(bench.config), {"cells": results}, markdown(bench, results))


def _columns(scale: ScaleSpec) -> tuple[Column, ...]:
    if scale.measure == "pairs-loss":
        return PAIRS
    if scale.measure == "pictures":
        return PICTURES
    if scale.measure == "distribution":
        return COLUMNS
    beside = tuple(column for column in COLUMNS if column.key in _BESIDE)
    return (FACES if scale.reference == "inter-ocular" else DETECTOR) + beside


def markdown(bench: Bench, results: list[dict[str, Any]]) -> str:
    """Tables by target, with what a reader needs to judge them."""
    config, spec, scale = bench.config, bench.spec, bench.scale
    seeds = ", ".join(str(seed) for seed in config.seeds or scale.seeds)
    device = config.cluster or hardware(resolve_device(config.device))
    threads = f", threads: {config.threads}" if config.threads is not None else ""
    parts = [
        f"# {spec.title}\n\n{spec.about.strip()}\n\n{scale.about.strip()}\n\n"
        f"`flexpose-train reproduce --experiment {config.experiment} --scale {config.scale}`; "
        f"{device}{threads}, torch {torch.__version__}; seeds {seeds} (draw of shots, fit, "
        f"samples); mean ± standard deviation over them.\n"
    ]
    reported = list(dict.fromkeys(key for row in spec.rows for key in row.paper))
    columns = [
        *_columns(scale),
        *(Column(f"paper {key}", f"paper: {key}", quoted=True) for key in reported),
    ]
    paper = {row.name: {f"paper {k}": v for k, v in row.paper.items()} for row in spec.rows}
    unranked = [
        row.name
        for row in spec.rows
        if row.recipe == "aligned" or row.settings.get("method") == "oracle"
    ]
    if len(scale.targets) > 1 and len(results) == len(bench.cells):
        parts.append(f"\n## All targets\n\n{_overview(bench, results, unranked)}")
    for target in scale.targets:
        rows: dict[str, list[dict[str, float]]] = {}
        for result in results:
            if result["target"] == target:
                own = {**result["metrics"], **paper[result["row"]]}
                rows.setdefault(result["row"], []).append(own)
        if rows:
            title = scale.targets[target].title or target
            tested = len(bench.target(target).test)
            table = summary_table(rows, columns, unranked=unranked)
            parts.append(
                f"\n## {title}\n\n{tested} test poses of clips that give no shots.\n\n{table}"
            )
            if spec.figure == "bins":
                parts += _by_difficulty(rows, scale.bins, unranked)
    return "".join(parts)


def _overview(bench: Bench, results: list[dict[str, Any]], unranked: list[str]) -> str:
    """The first measure on all targets side by side, and means of the main ones over targets."""
    targets = bench.scale.targets
    first, *others = _columns(bench.scale)
    main = [first, *(column for column in others if column.key in _BESIDE)]
    seen: dict[str, dict[int, dict[str, dict[str, float]]]] = {}
    for r in results:
        seen.setdefault(r["row"], {}).setdefault(r["seed"], {})[r["target"]] = r["metrics"]
    rows: dict[str, list[dict[str, float]]] = {}
    for row, seeds in seen.items():
        for found in seeds.values():
            told = {name: m[first.key] for name, m in found.items() if first.key in m}
            for column in main:
                values = [m[column.key] for m in found.values() if column.key in m]
                if len(values) == len(targets):  # means over fewer say something else
                    told[f"mean {column.key}"] = float(np.mean(values))
            rows.setdefault(row, []).append(told)
    columns = [
        *(
            Column(name, f"{first.title}, {target.title or name}", first.best)
            for name, target in targets.items()
        ),
        *(Column(f"mean {c.key}", f"mean {c.title}", c.best) for c in main),
    ]
    return summary_table(rows, columns, unranked=unranked)


def _by_difficulty(
    rows: dict[str, list[dict[str, float]]], bins: int, unranked: list[str]
) -> list[str]:
    """A table for each measure that is told of bins; those of the easiest poses stand first."""
    tables = []
    for column in PICTURES[:2]:
        numbers = [
            Column(f"{column.key}/{n + 1}", str(n + 1), column.best, digits=2) for n in range(bins)
        ]
        table = summary_table(rows, numbers, unranked=unranked)
        tables.append(f"\n{column.title}, by bins of difficulty, the easiest first:\n\n{table}")
    return tables
