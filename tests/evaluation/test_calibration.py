"""Calibration and temperature: exact on hand-made log-odds, right on simulated ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyrm.evaluation.calibration import calibration, fit_temperature

LOG3 = math.log(3)  # log-odds of the confidence 3/4


def mixed(right: int, wrong: int, z: float = LOG3) -> np.ndarray:
    return np.array([z] * right + [-z] * wrong)


def calibrated(n: int, spread: float = 2.0, seed: int = 0) -> np.ndarray:
    """Log-odds that the chosen response is better, of a model whose confidences are true."""
    random = np.random.default_rng(seed)
    size = np.abs(random.normal(0, spread, n))
    return np.where(random.random(n) < 1 / (1 + np.exp(-size)), size, -size)


def test_the_numbers_of_a_model_that_is_always_equally_sure() -> None:
    found = calibration(mixed(24, 16))  # confidence 0.75, right in 0.6
    assert found.ece == pytest.approx(0.15)
    assert found.brier.value == pytest.approx(0.6 * 0.25**2 + 0.4 * 0.75**2)
    assert found.nll.value == pytest.approx(0.6 * math.log(4 / 3) + 0.4 * math.log(4))
    assert [(b.confidence, b.accuracy.value, b.accuracy.n) for b in found.bins] == [(pytest.approx(0.75), 0.6, 40)]


def test_bins_have_equal_mass_and_ece_is_their_weighted_mean() -> None:
    """25 pairs at 0.75 of which 20 are right, 25 at 0.9 of which 20 are right."""
    z = np.concatenate([mixed(20, 5), mixed(20, 5, math.log(9))])
    found = calibration(z)
    assert [b.accuracy.n for b in found.bins] == [25, 25]
    assert [b.confidence for b in found.bins] == pytest.approx([0.75, 0.9])
    assert found.ece == pytest.approx((0.05 + 0.1) / 2)
    assert calibration(np.random.default_rng(1).permutation(z)).bins == found.bins, "whatever the order of the pairs"


def test_a_tie_has_half_a_chance_and_is_half_right() -> None:
    found = calibration(np.zeros(30))
    assert (found.ece, found.brier.value, found.nll.value) == (0, 0.25, pytest.approx(math.log(2)))


def test_what_chance_alone_gives_is_told_beside() -> None:
    """A calibrated model is within it in 95% of cases, one that is three times too sure far above."""
    runs = [calibration(calibrated(1000, seed=s)) for s in range(40)]
    inside = sum(r.ece_by_chance.low <= r.ece <= r.ece_by_chance.high for r in runs)
    assert 35 <= inside <= 40
    assert all(0.005 < r.ece_by_chance.value < 0.05 for r in runs)
    off = calibration(3 * calibrated(1000))
    assert off.ece > 2 * off.ece_by_chance.high


def test_the_temperature_of_a_single_confidence_is_exact() -> None:
    """Confidence 0.9, right in 3 of 4: the best log-odds are log 3, so that the temperature is log 9 / log 3 = 2."""
    found = fit_temperature(mixed(30, 10, math.log(9)))
    assert found.value.value == pytest.approx(2, rel=1e-5)
    assert found.value.low < 2 < found.value.high
    assert (found.value.n, found.limit) == (40, None)
    assert calibration(mixed(30, 10, math.log(9)) / found.value.value).ece == pytest.approx(0, abs=1e-5)


def test_the_temperature_of_calibrated_log_odds_is_1_and_covers_it() -> None:
    found = [fit_temperature(calibrated(500, seed=s)).value for s in range(60)]
    assert np.mean([t.value for t in found]) == pytest.approx(1, abs=0.03)
    assert 53 <= sum(t.low < 1 < t.high for t in found) <= 60


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1e-5, 0.2, 3.0, 400.0]))
def test_scaled_log_odds_have_a_scaled_temperature_and_the_same_verdicts(seed: int, factor: float) -> None:
    z = calibrated(120, seed=seed)
    one, other = fit_temperature(z).value, fit_temperature(factor * z).value
    assert other.value == pytest.approx(factor * one.value, rel=1e-4)
    assert (other.low, other.high) == (
        pytest.approx(factor * one.low, rel=1e-3),
        pytest.approx(factor * one.high, rel=1e-3),
    )
    assert np.array_equal(np.sign(z / one.value), np.sign(z))
    assert calibration(z / one.value).nll.value <= calibration(z).nll.value + 1e-9


@pytest.mark.parametrize(
    ("z", "limit"),
    [
        (mixed(10, 20), "no better than a coin"),
        (mixed(10, 0), "no verdict is wrong"),
        (np.zeros(5), "every pair is a tie"),
    ],
)
def test_where_no_temperature_is_best_the_reason_is_told(z: np.ndarray, limit: str) -> None:
    found = fit_temperature(z)
    assert found.limit == limit
    assert found.value.value > 0
    assert np.array_equal(np.sign(z / found.value.value), np.sign(z))


def test_what_is_no_log_odds_is_refused() -> None:
    for bad in (np.array([]), np.array([1.0, math.nan])):
        with pytest.raises(ValueError, match="finite log-odds of at least one pair"):
            calibration(bad)
        with pytest.raises(ValueError, match="finite log-odds of at least one pair"):
            fit_temperature(bad)
