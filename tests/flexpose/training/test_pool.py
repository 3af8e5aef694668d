"""Pools of what was made before: full first, then half old and half new."""

from __future__ import annotations

import torch

from flexpose.training.pool import ImagePool


def images(*values):
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)


def test_a_pool_gives_back_what_it_gets_until_it_is_full():
    pool, random = ImagePool(3), torch.Generator().manual_seed(0)
    for made in (images(1, 2), images(3, 4)):
        assert torch.equal(pool.swapped(made, random), made)
    assert pool.images.flatten().tolist() == [1, 2, 3]


def test_a_full_pool_exchanges_about_half_and_loses_nothing():
    pool, random = ImagePool(50), torch.Generator().manual_seed(0)
    pool.swapped(images(*range(50)), random)
    kept, exchanged = set(range(50)), 0
    for step in range(40):
        made = images(*range(50 + 10 * step, 60 + 10 * step))
        seen = pool.swapped(made, random)
        exchanged += int((seen != made).sum())
        kept |= set(made.flatten().tolist())
        assert set(seen.flatten().tolist()) | set(pool.images.flatten().tolist()) <= kept
    assert 150 < exchanged < 250
    assert len(set(pool.images.flatten().tolist())) == 50


def test_a_batch_may_be_larger_than_the_pool():
    pool, random = ImagePool(2), torch.Generator().manual_seed(0)
    for _ in range(4):
        assert len(pool.swapped(images(*range(9)), random)) == 9
    assert len(pool.images) == 2
