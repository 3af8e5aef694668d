"""Bins of difficulty, and how training draws from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexpose.difficulty import BIN_SAMPLERS, BinnedRows, quantile_bins
from flexpose.errors import FlexPoseError


def test_bins_by_hand():
    scores = np.array([5.0, 1.0, 3.0, 2.0, 4.0, 0.0])
    np.testing.assert_array_equal(quantile_bins(scores, 3), [2, 0, 1, 1, 2, 0])


@given(st.lists(st.floats(0, 1e6), min_size=5, max_size=200), st.integers(1, 5))
def test_bins_are_alike_in_size_and_follow_the_score(values, count):
    scores = np.array(values)
    bins = quantile_bins(scores, count)
    sizes = np.bincount(bins, minlength=count)
    assert sizes.max() - sizes.min() <= 1
    for number in range(1, count):
        assert scores[bins == number - 1].max() <= scores[bins == number].min()


def test_too_few_poses_and_broken_scores_are_refused():
    with pytest.raises(FlexPoseError, match="2 poses for 3 bins"):
        quantile_bins(np.zeros(2), 3)
    with pytest.raises(FlexPoseError, match="not a number"):
        quantile_bins(np.array([0, np.nan]), 2)


@pytest.mark.parametrize("name", BIN_SAMPLERS)
@given(progress=st.floats(0, 1), bins=st.integers(1, 40))
def test_weights_are_probabilities(name, progress, bins):
    weights = BIN_SAMPLERS[name](progress, bins)
    assert weights.shape == (bins,)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)


def test_the_curriculum_opens_bins_from_easy_to_hard():
    opened = [(BIN_SAMPLERS["cl"](p, 4) > 0).tolist() for p in (0, 0.3, 0.6, 0.99, 1)]
    assert opened == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, False],
        [True] * 4,
        [True] * 4,
    ]


def test_hard_mining_favours_the_last_bin_by_hand():
    np.testing.assert_allclose(BIN_SAMPLERS["hm"](0.2, 3), [1 / 6, 2 / 6, 3 / 6])


def test_rows_are_drawn_as_often_as_the_weights_say():
    bins = np.array([0] * 90 + [1] * 10)
    rows = BinnedRows(bins, BIN_SAMPLERS["hm"]).draw(6000, 0.5, np.random.default_rng(0))
    assert set(rows) == set(range(100))
    assert (bins[rows] == 1).mean() == pytest.approx(2 / 3, abs=0.03)
    first = BinnedRows(bins, BIN_SAMPLERS["cl"]).draw(50, 0.0, np.random.default_rng(0))
    assert (bins[first] == 0).all()
