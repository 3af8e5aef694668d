"""Judges of patches: what they are asked for."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from flexpose.models.patches import PatchDiscriminator, lsgan


def test_lsgan_by_hand():
    scores = [torch.tensor([1.0, 3.0]), torch.tensor([2.0])]
    assert lsgan(scores, 1.0).item() == pytest.approx((2 + 1) / 2)


def test_one_scale_is_cycle_gans():
    judge = PatchDiscriminator(3, scales=1)
    # 70 x 70 PatchGAN of 3 channels: five convolutions of 4 x 4, with biases
    widths = (3, 64, 128, 256, 512, 1)
    wanted = sum(16 * a * b + b for a, b in pairwise(widths))
    assert sum(p.numel() for p in judge.parameters()) == wanted == 2764737
    (scores,) = PatchDiscriminator(3, 4, scales=1)(torch.zeros(2, 3, 256, 256))
    assert scores.shape == (2, 1, 30, 30)
