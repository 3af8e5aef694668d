"""Why three defaults of `adapt` are what they are: docs/results/choices.md.

    python benchmarks/choices.py --data ../shared/data --out docs/results/choices

The pull of tau towards the identity is chosen on targets that docs/results/adaptation.md does not
report; the features of Eq. 5 (Gamma) on those that it does; the share of pose-mixups on both. Each
finished row is kept in OUT.jsonl.
"""

from __future__ import annotations

import argparse
import platform
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from adaptation import NO_KINEMATICS, NO_WEIGHTS, SEEDS, adapted_rows, measure, read_log
from targets import Target, jhmdb_action, mocap

from flexpose.compute import prepare
from flexpose.configs.adaptation import AdaptConfig, PairsConfig, TransferConfig
from flexpose.evaluation.report import markdown_table
from flexpose.io.base import atomic_write_text

COUNT = 12  # shots
PULLS = (0.0, 0.1, 0.3, 1.0)
SHARES = (0.0, 0.1, 0.25, 0.5)
GAMMAS = ("beta", "mobilenet", "keypoints")


def pulls() -> dict[str, AdaptConfig]:
    """The default with other pulls towards the identity, and without tau."""
    configs = {
        f"pull {pull:g}": AdaptConfig(
            shots=Path("-"), transfer=TransferConfig(identity_weight=pull), mixup_share=0
        )
        for pull in PULLS
    }
    configs["no tau"] = AdaptConfig(
        shots=Path("-"), transfer=TransferConfig(matching="none"), mixup_share=0
    )
    return configs


def shares() -> dict[str, AdaptConfig]:
    """The default with other shares of pose-mixups among what is drawn."""
    return {
        f"mixup share {share:g}": AdaptConfig(shots=Path("-"), mixup_share=share)
        for share in SHARES
    }


def gammas() -> dict[str, AdaptConfig]:
    """Eq. 5 alone under each Gamma, with the paper's pairs and with transport's."""
    configs = {}
    for matching in ("index", "ot"):
        for features in GAMMAS:
            transfer = TransferConfig(
                matching=matching,
                identity_weight=0.0,
                pairs=PairsConfig(features=features),
            )
            configs[f"{matching}, {features}"] = AdaptConfig(
                shots=Path("-"),
                transfer=transfer,
                kinematics=NO_KINEMATICS,
                weighting=NO_WEIGHTS,
                mixup_share=0,
            )
    return configs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--only", choices=("pulls", "shares", "gammas"), nargs="+")
    args = parser.parse_args()
    prepare(torch.device("cpu"), args.threads)
    log = args.out.with_suffix(".jsonl")
    log.parent.mkdir(parents=True, exist_ok=True)
    cmu = "cmu_mocap/cmu_expmap38_10fps.npz"

    def reported() -> tuple[Target, ...]:
        return (jhmdb_action(args.data, "golf"), mocap(args.data))

    def others() -> tuple[Target, ...]:
        actions = (jhmdb_action(args.data, name) for name in ("catch", "throw", "pullup"))
        return (*actions, mocap(args.data, cmu, "CMU"))

    tables: dict[str, tuple[dict[str, AdaptConfig], Callable[[], tuple[Target, ...]]]] = {
        "pulls": (pulls(), others),
        "shares": (shares(), lambda: (*reported(), *others())),
        "gammas": (gammas(), reported),
    }
    for name in args.only or tables:
        configs, targets = tables[name]
        for target in targets():
            measure(target, COUNT, adapted_rows(target, COUNT, configs), log)
    done = read_log(log)
    text = (
        f"Written by `benchmarks/choices.py`; {platform.machine()}, torch {torch.__version__}. "
        f"Energy distance to test poses of other clips, M = {COUNT}, prior body15, seeds "
        f"{', '.join(map(str, SEEDS))}: mean ± standard deviation; the last columns are means over "
        "the targets, of the energy distance, the spread ratio and the precision.\n"
        f"\n### Pull of tau towards the identity, within the default\n\n{table(done, pulls())}"
        f"\n### Share of pose-mixups, within the default\n\n{table(done, shares())}"
    )
    if any(r["row"] in gammas() for r in done):
        text += f"\n### Gamma in Eq. 5, tau alone\n\n{table(done, gammas())}"
    atomic_write_text(args.out.with_suffix(".md"), text)


def table(done: list[dict], configs: dict[str, AdaptConfig]) -> str:
    """One row a config, one column a target."""
    values: dict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for r in done:
        if r["row"] in configs:
            values[r["row"], r["target"]].append(r["metrics"])
    targets = sorted({target for _, target in values})
    lines = []
    for row in configs:
        cells, energies, spreads, precisions = [], [], [], []
        for target in targets:
            found = values[row, target]
            energy = [m["energy_distance"] for m in found]
            cells.append(f"{np.mean(energy):.3f} ± {np.std(energy):.3f}" if found else "")
            energies += energy
            spreads += [m["spread_ratio"] for m in found]
            precisions += [m["precision"] for m in found]
        means = ["", "", ""]
        if energies:
            means = [
                f"{np.mean(v):.{n}f}" for v, n in ((energies, 3), (spreads, 2), (precisions, 2))
            ]
        lines.append([row, *cells, *means])
    return markdown_table(["", *targets, "energy, mean", "spread, mean", "precision, mean"], lines)


if __name__ == "__main__":
    main()
