"""Cost of a training step: FLOPs counted, against what the networks imply and what the machine can.

python benchmarks/detector_speed.py --out docs/results/detector-speed.md
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from flexpose.compute import prepare
from flexpose.configs.base import load_config, read_values
from flexpose.configs.detector import DetectorConfig
from flexpose.evaluation.report import markdown_table
from flexpose.geometry import normalised
from flexpose.io.base import atomic_write_text
from flexpose.mannequin import mannequin_frames
from flexpose.training.clips import Clips, Labels
from flexpose.training.heatmaps import HeatmapTask
from flexpose.training.keypoint_gan import KeypointGanTask
from flexpose.training.puppets import Puppets

PRESETS = Path(__file__).parents[1] / "src_training/flexpose/presets"
PUBLISHED = {"encoder": 0.92, "reader": 0.86, "decoder": 1.7, "judge": 0.75}
"""GMACs of one 128-px image through the released networks, counted from their definition
(tomasjakab/keypointgan@541b769:models/networks.py); encoder and decoder each serve twice."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/results/detector-speed.md"))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    device = torch.device("cpu")
    prepare(device, args.threads)
    rows = []
    for name, preset in (
        ("KeypointGAN, `paper`", "train-detector-paper.yaml"),
        ("KeypointGAN, `keypoint-gan`", "train-detector-keypoint-gan.yaml"),
        ("heatmaps, default", None),
    ):
        values = read_values(PRESETS / preset) if preset else {}
        config = load_config(DetectorConfig, overrides={**values, "frames": {"path": Path("-")}})
        task, step = make_task(config, device)
        with FlopCounterMode(display=False) as counter:
            task.step(step)
        macs = counter.get_total_flops() / 2e9
        began = time.perf_counter()
        for extra in range(args.steps):
            task.step(step + 1 + extra)
        seconds = (time.perf_counter() - began) / args.steps
        implied = f"{implied_macs(config):.0f}" if config.method == "keypoint-gan" else ""
        share = macs / seconds / peak(config)
        rows.append(
            [
                name,
                f"{macs:.1f}",
                implied,
                f"{seconds:.2f}",
                f"{macs / seconds:.1f}",
                f"{share:.2f}",
            ]
        )
        print(rows[-1], flush=True)
    header = [
        "",
        "GMAC a step",
        "implied",
        "seconds a step",
        "GMAC/s",
        "share of a lone convolution's",
    ]
    text = (
        f"Written by `benchmarks/detector_speed.py`: {platform.machine()}, torch "
        f"{torch.__version__}, {args.threads} threads, mean of {args.steps} steps in one run.\n\n"
        f"{markdown_table(header, rows)}\n"
        "*Implied*: what the released networks need for the same passes, forward once and backward "
        "twice, by the MACs of their definition. *Lone convolution*: 3 x 3, 128 to 128 channels, "
        "forward and backward, on a quarter of the crop's side and 16 crops, in the same run. "
        "Steps of KeypointGAN are those after the reader's first ones; those of the "
        "heatmap detector are with frames without labels.\n"
    )
    atomic_write_text(args.out, text)


def make_task(
    config: DetectorConfig, device: torch.device
) -> tuple[KeypointGanTask | HeatmapTask, int]:
    """A task on a few frames, and a step at which all of its losses count."""
    sample = mannequin_frames(0, clips_per_action=1, frames_per_clip=4, image_size=config.size)
    images = torch.from_numpy(np.stack([sample.image(i) for i in range(len(sample))]))
    clips = Clips(
        images.permute(0, 3, 1, 2).contiguous(),
        np.tile(np.array([[0, 0, config.size - 1]], np.float32), (len(sample), 1)),
        sample.poses.image_ids or (),
        torch.arange(len(sample)) // 4,
    )
    points = torch.from_numpy(normalised(sample.poses.keypoints))
    shots = Labels(torch.arange(12), points[:12])
    skeleton = sample.poses.skeleton
    if config.method == "keypoint-gan":
        task = KeypointGanTask(config, skeleton, clips, points, shots, None, device)
        return task, config.gan.reader_steps + 1
    puppets = Puppets(clips.images, points)
    return HeatmapTask(config, skeleton, clips, shots, puppets, None, device), config.steps // 2


def implied_macs(config: DetectorConfig) -> float:
    """GMACs of a step by the published networks at this size and width."""
    net = PUBLISHED
    painter = net["encoder"] + net["decoder"]
    reconstructor = 2 * net["encoder"] + net["decoder"]
    # Phi and Psi learn; beta and the judge pass gradients on; the judge sees two batches and beta
    # two more, both with backward passes
    passes = 3 * (painter + reconstructor) + 2 * (net["reader"] + net["judge"])
    passes += 3 * 2 * net["judge"] + 3 * net["reader"] + 2 * net["reader"] + net["reader"]
    scale = (config.size / 128) ** 2 * (config.width / 32) ** 2
    return passes * scale * config.batch_size


def peak(config: DetectorConfig) -> float:
    """GMAC/s of one convolution, forward and backward."""
    side = config.size // 4
    conv = nn.Conv2d(128, 128, 3, padding=1).to(memory_format=torch.channels_last)
    x = torch.randn(16, 128, side, side).contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    conv(x).sum().backward()
    began = time.perf_counter()
    for _ in range(5):
        conv(x).square().mean().backward()
    seconds = (time.perf_counter() - began) / 5
    return 3 * 128 * 128 * 9 * side * side * 16 / 1e9 / seconds


if __name__ == "__main__":
    main()
