"""How good the shipped priors are: figures, sheets and the table of docs/priors.md.

python benchmarks/prior_report.py --data ../shared/data --out docs/results
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from targets import jhmdb_action, mocap

from flexpose.compute import generator_for, prepare
from flexpose.configs.prior import SourceConfig
from flexpose.evaluation.distributions import COLUMNS, compare
from flexpose.evaluation.figures import pose_sheet
from flexpose.evaluation.report import markdown_table, summary_table
from flexpose.geometry import canvas_poses, normalised
from flexpose.io.base import atomic_write_text
from flexpose.models.generator import styles
from flexpose.models.prior import load_prior, load_regressor
from flexpose.models.regressor import PoseRegressor
from flexpose.rendering.fit import PoseFit
from flexpose.rendering.soft import Renderer
from flexpose.sampling import PoseModel, PoseSampler
from flexpose.shipped import shipped_priors
from flexpose.training.data import load_source
from flexpose.training.regressor import taught_generator

SEEDS = (0, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=None)
    args = parser.parse_args()
    prepare(torch.device("cpu"), args.threads)
    coco = args.data / "coco2017_keypoints"
    config = SourceConfig(poses=coco / "coco_keypoints_train2017.npz")
    train = load_source(config)
    val = load_source(config, coco / "coco_keypoints_val2017.npz").keypoints.numpy()
    skeleton = train.skeleton
    reference = canvas_poses(val, skeleton, 256)
    results = {}
    for name in ("body15", "body15-image"):
        if name in shipped_priors():
            sampler_of = PoseModel(load_prior(name))
            results[name] = []
            for seed in SEEDS:
                poses = PoseSampler(sampler_of).draw(5000, generator_for(seed, 1)).numpy()
                results[name].append(
                    compare(canvas_poses(poses, skeleton, 256), reference).metrics()
                )
                if seed == 0:
                    pose_sheet(poses[:64], skeleton, args.out / f"{name}.png")
    real = []
    for seed in SEEDS:
        rows = np.random.default_rng(seed).permutation(len(train.keypoints))[:5000]
        poses = train.keypoints.numpy()[rows]
        real.append(compare(canvas_poses(poses, skeleton, 256), reference).metrics())
    results["floor: COCO train2017"] = real
    pose_sheet(val[:64], skeleton, args.out / "coco-val2017.png")
    text = (
        f"Written by `benchmarks/prior_report.py`: 5,000 poses a set against {len(val)} of COCO "
        f"val2017, seeds {SEEDS}, mean ± standard deviation.\n\n"
        f"{summary_table(results, COLUMNS, unranked=['floor: COCO train2017'])}"
    )
    if "body15-regressor" in shipped_priors():
        text += "\n" + regressor_table(args.data, val)
    atomic_write_text(args.out / "priors.md", text)
    atomic_write_text(args.out / "priors.json", json.dumps(results, indent=1) + "\n")
    print(text)


@torch.no_grad()
def regressor_table(data: Path, val: np.ndarray) -> str:
    """Joint distance of beta, alone and fitted, on drawings of poses it never saw."""
    beta, skeleton, style = load_regressor("body15-regressor")
    render = Renderer(skeleton, style)
    fit = PoseFit(render)
    rows = []
    for name, poses in {
        "COCO val2017": val,
        "JHMDB golf": normalised(jhmdb_action(data, "golf").test.keypoints),
        "Bandai, 4 cameras": normalised(mocap(data).test.keypoints[:2000]),
    }.items():
        wanted = torch.from_numpy(poses)
        chunks = [(part, render(part)) for part in wanted.split(200)]
        rows += read_rows(name, chunks, beta, fit, style.size)
    if "body15-image" in shipped_priors():
        drawer = taught_generator("body15-image", skeleton, style, torch.device("cpu"))
        z = torch.randn(2000, drawer.z_dim, generator=generator_for(0, 2))
        chunks = [
            (drawer.mapping.pose(part), drawer.synthesize(styles(drawer, part)).images)
            for part in z.split(100)
        ]
        rows += read_rows("body15-image, its teacher's poses", chunks, beta, fit, style.size)
    head = ["drawings of", "poses", "read by", "mean px", "median", "95 %", "99 %"]
    return (
        f"Reading keypoints, joint distance in pixels of a {style.size} px canvas. *Fitted* is "
        "what sampling uses: two steps of `rendering/fit.py` from where beta sees the joints.\n\n"
        f"{markdown_table(head, rows)}"
    )


def read_rows(
    name: str,
    chunks: list[tuple[torch.Tensor, torch.Tensor]],
    beta: PoseRegressor,
    fit: PoseFit,
    size: int,
) -> list[list[str]]:
    """A row of beta alone and one of beta and fit, over chunks of poses and their images."""
    seen = [beta(images)[0] for _, images in chunks]
    fitted = [fit(s, images)[0] for s, (_, images) in zip(seen, chunks, strict=True)]
    wanted = torch.cat([poses for poses, _ in chunks])
    rows = []
    for reader, read in (("beta", seen), ("beta, fitted", fitted)):
        pixels = (torch.cat(read) - wanted).norm(dim=2).flatten() * (size - 1) / 2
        quantiles = pixels.quantile(torch.tensor([0.5, 0.95, 0.99])).tolist()
        figures = [f"{v:.2f}" for v in (pixels.mean(), *quantiles)]
        rows.append([name, str(len(wanted)), reader, *figures])
    return rows


if __name__ == "__main__":
    main()
