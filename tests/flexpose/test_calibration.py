"""From belief to probability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexpose.calibration import Calibration, drift_of

PLAIN = Calibration(0.0, 1.0, -0.5)


def test_without_drift_the_plain_one_believes_the_belief():
    belief = np.array([[0.1, 0.5], [0.9, 0.25]])
    np.testing.assert_allclose(PLAIN.probability(belief, np.zeros((2, 2))), belief, atol=1e-6)
    # a drift of 2 tenths takes 1 from the logit
    assert PLAIN.probability(np.array(0.5), np.array(2.0)) == pytest.approx(1 / (1 + np.e))


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 100))
def test_it_rises_with_belief_and_falls_with_drift(a, b, drift):
    low, high = min(a, b), max(a, b)
    at = PLAIN.probability(np.array([low, high]), np.array([drift, drift]))
    assert 0 <= at[0] <= at[1] <= 1
    assert PLAIN.probability(np.array(a), np.array(drift)) <= PLAIN.probability(
        np.array(a), np.array(0.0)
    )


def test_a_detector_that_believes_too_much_is_found_out():
    random = np.random.default_rng(0)
    belief = random.uniform(0.6, 0.99, 4000)
    found = random.random(4000) < belief - 0.3
    fitted = PLAIN.fitted(belief, np.zeros(4000), found)
    chance = fitted.probability(belief, np.zeros(4000))
    assert abs(chance.mean() - found.mean()) < 0.01
    top = belief > 0.9
    assert abs(chance[top].mean() - found[top].mean()) < 0.05


def test_a_few_joints_that_were_all_found_do_not_make_it_certain():
    fitted = PLAIN.fitted(np.full(5, 0.6), np.zeros(5), np.ones(5, bool))
    assert 0.6 < fitted.probability(np.array(0.6), np.array(0.0)) < 0.9
    assert PLAIN.fitted(np.zeros(0), np.zeros(0), np.zeros(0, bool)) == pytest.approx(PLAIN)


def test_drift_is_the_distance_to_the_middle_of_the_neighbours_of_the_clip():
    points = np.zeros((5, 1, 2))
    points[1, 0, 0] = 6.0
    points[4] = 99.0
    clip = np.array([0, 0, 0, 1, 2])
    drift = drift_of(points, clip, 2.0)[:, 0]
    # frame 1 is 6 from both neighbours, frames 0 and 2 are 6 from their only one
    np.testing.assert_allclose(drift, [3.0, 3.0, 3.0, 0.0, 0.0])
