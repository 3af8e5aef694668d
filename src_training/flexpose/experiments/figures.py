"""Figures of experiments: before and after, maps, curves over a setting; PNG and SVG."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flexpose.compute import generator_for
from flexpose.evaluation.distributions import features
from flexpose.evaluation.embedding import PoseMap
from flexpose.evaluation.figures import curve_figure, map_figure, pose_sheet
from flexpose.experiments.cells import Bench, Cell
from flexpose.geometry import normalised
from flexpose.jobs import CancelToken
from flexpose.sampling import PoseSampler, keypoints, load_model
from flexpose.training.outcome import nearest_shots

_PAIRS = 8
_ON_MAP = 500
SUFFIXES = ("png", "svg")


def draw(bench: Bench, out: Path, results: list[dict[str, Any]], cancel: CancelToken) -> None:
    """Draw what the experiment's ``figure`` names, of its first seed, one file a target."""
    if bench.spec.figure == "curve":
        _curve(bench, out, results)
        return
    if bench.spec.figure == "bins":
        _bins(bench, out, results)
        return
    first: dict[tuple[str, str], Cell] = {}
    for cell in bench.cells:
        if bench.row(cell).recipe in ("adapt", "baseline"):
            first.setdefault((cell.target, cell.row), cell)
    for number, cell in enumerate(first.values()):
        stem = f"{bench.spec.figure}-{number + 1}"
        if bench.spec.figure == "pairs":
            _pairs(bench, cell, out / stem)
        elif bench.spec.figure == "map":
            _map(bench, cell, out / stem, cancel)


def _pairs(bench: Bench, cell: Cell, stem: Path) -> None:
    """Samples of the prior, the same latents adapted, and the shots nearest to these."""
    model = load_model(bench.out / cell.folder / "adapted")
    random = generator_for(cell.seed, 1 << 40)
    z = torch.randn(_PAIRS, model.prior.generator.z_dim, generator=random)
    with torch.no_grad():
        source = keypoints(model.prior.generator, model.prior, z)
        adapted = keypoints(model.generator, model.prior, z)
        if model.kinematics is not None:
            adapted = model.kinematics(adapted)
    shots = torch.from_numpy(
        normalised(bench.target(cell.target).shots(bench.row(cell).shots, cell.seed).keypoints)
    )
    rows = torch.cat([source, adapted, nearest_shots(adapted, shots)]).numpy()
    titles = [
        name if column == 0 else ""
        for name in ("prior", "adapted", "nearest shot")
        for column in range(_PAIRS)
    ]
    for suffix in SUFFIXES:
        path = stem.with_suffix(f".{suffix}")
        pose_sheet(rows, model.prior.skeleton, path, columns=_PAIRS, titles=titles)


def _map(bench: Bench, cell: Cell, stem: Path, cancel: CancelToken) -> None:
    """Source, target and adapted poses on a t-SNE map of all of them."""
    random = np.random.default_rng(cell.seed)
    model = load_model(bench.out / cell.folder / "adapted")
    draws = generator_for(cell.seed, 1 << 41)
    adapted = PoseSampler(model).draw(_ON_MAP, draws).numpy()
    test = normalised(bench.target(cell.target).test.keypoints)
    source = random.permutation(bench.source_poses(cell))[:_ON_MAP]
    target = random.permutation(test)[:_ON_MAP]
    together = PoseMap.fit(features(np.concatenate([source, target, adapted])), cell.seed)
    places = together.place(features(np.concatenate([source, target, adapted])))
    one, two, three = np.split(places, np.cumsum([len(source), len(target)]))
    labels = ("source", f"{cell.target}, true", "adapted")
    for suffix in SUFFIXES:
        map_figure(one, two, three, stem.with_suffix(f".{suffix}"), labels=labels)


def _curve(bench: Bench, out: Path, results: list[dict[str, Any]]) -> None:
    """The measure over what rows vary, ``x`` of each, a curve a target and ``line`` of rows."""
    measures = {"pairs-loss": "pairs", "detector": "pck@.1", "pictures": "oks_ap"}
    key = measures.get(bench.scale.measure, "energy_distance")
    known = {row.name: row for row in bench.spec.rows}
    values: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        row = known[result["row"]]
        names = [row.line] if row.line else []
        if not names or len(bench.scale.targets) > 1:
            names.append(result["target"])
        if row.x is not None:
            values[", ".join(names)][row.x].append(result["metrics"][key])
    curves = {
        name: (sorted(found), [float(np.mean(found[x])) for x in sorted(found)])
        for name, found in values.items()
    }
    for suffix in SUFFIXES:
        path = out / f"curve.{suffix}"
        curve_figure(curves, path, x_label=bench.spec.x_label, y_label=bench.spec.y_label)


def _bins(bench: Bench, out: Path, results: list[dict[str, Any]]) -> None:
    """PCK and EvalPose over bins of difficulty, a curve a row, two figures a target."""
    number = 0
    for target, spec in bench.scale.targets.items():
        for key, label in (("pck_crop", "PCK@.05 of the crop"), ("eval_pose", "EvalPose, centred")):
            values: dict[str, list[list[float]]] = defaultdict(list)
            for result in results:
                if result["target"] == target:
                    own, places = result["metrics"], range(1, bench.scale.bins + 1)
                    values[result["row"]].append([own[f"{key}/{n}"] for n in places])
            number += 1
            curves = {
                name: (np.arange(1, bench.scale.bins + 1), np.mean(runs, axis=0))
                for name, runs in values.items()
            }
            for suffix in SUFFIXES:
                path = out / f"bins-{number}.{suffix}"
                title, x_label = spec.title or target, "bin of difficulty, the easiest first"
                curve_figure(curves, path, title=title, x_label=x_label, y_label=label)
