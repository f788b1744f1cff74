"""Two crossed random factors: known values, and by calculation how often the intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from tinyrm.evaluation.crossed import crossed, half_width

ONE = np.array(["s"] * 4)
VALUES = np.array([[1.0, 0, 0, 1], [1, 0, 1, 1]])  # 2 seeds, 4 units


def test_variances_by_hand() -> None:
    found = crossed(VALUES, ONE, {"s": 1.0})
    assert (found.value, found.n, found.seeds) == (0.625, 4, 2)
    assert found.units == pytest.approx(0.6875 / 3 / 4)  # of the unit means 1, 0, 0.5, 1
    assert found.units_df == pytest.approx(3)
    assert found.between == pytest.approx(0.03125 / 2)  # of the seed means 0.5, 0.75
    assert found.noise == pytest.approx(0.375 / 3 / 8)


def test_half_width_by_hand() -> None:
    counted = 5 * (3.182446 / 12.706205) ** 2  # of the noise; t with 3 and with 1 degrees of freedom
    units, extra = 0.6875 / 12, 0.015625 * (1 - counted)
    expected = (3.182446 * units + 12.706205 * extra) / np.sqrt(units + extra)
    assert crossed(VALUES, ONE, {"s": 1.0}).half_width() == pytest.approx(expected, rel=1e-6)


def test_one_seed_is_the_paired_t_test() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, 50)
    found, expected = crossed(values[None], np.array(["s"] * 50), {"s": 1.0}), stats.ttest_1samp(values, 0)
    assert found.p_value() == pytest.approx(expected.pvalue)
    interval, bounds = found.interval(), expected.confidence_interval()
    assert (interval.low, interval.high) == (pytest.approx(bounds.low), pytest.approx(bounds.high))


def test_p_is_the_level_whose_interval_just_reaches() -> None:
    values = np.random.default_rng(1).normal(0.4, 1, (3, 60)) + np.array([[0.0], [0.1], [0.2]])
    found = crossed(values, np.array(["a", "b"] * 30), {"a": 0.3, "b": 0.7})
    for at in (0.0, 0.2, 1.0):
        interval = found.interval(found.p_value(at))
        assert min(abs(interval.low - at), abs(interval.high - at)) < 1e-8
    assert found.p_value(found.value) == 1


def test_what_no_unit_shows_may_still_be_there() -> None:
    """100 units alike: a share d that differs stays unseen with probability (1 - d)^100."""
    found = crossed(np.zeros((3, 100)), np.array(["s"] * 100), {"s": 1.0})
    assert found.half_width() == pytest.approx(1 - 0.05**0.01)
    assert found.p_value(0.01) == pytest.approx(0.99**100)


def test_strata_weigh_as_told_and_one_unit_alone_is_as_varied_as_the_others() -> None:
    values, strata = np.array([[1.0, 0, 0, 0, 1]]), np.array(["a"] * 4 + ["b"])
    found = crossed(values, strata, {"a": 1.0, "b": -1.0})
    assert found.value == pytest.approx(0.25 - 1)
    assert found.units == pytest.approx(0.25 / 4 + 0.25)
    assert found.reach == 2
    assert crossed(values * 3, strata, {"a": 1.0, "b": -1.0}).units == pytest.approx(9 * found.units)


def miss_rates(seeds: int, alpha: float, most_noise: float) -> np.ndarray:
    """How often the interval misses, over noise (shares of U) and true variance between seeds (multiples of U).

    U is known, as hundreds of pairs are there; B is chi-squared about its mean: no simulation is needed.
    """
    drawn = special.chdtri(seeds - 1, (np.arange(1000) + 0.5) / 1000) / (seeds - 1)
    between = np.concatenate([[0.0], np.geomspace(0.03, 300, 31)])[:, None]
    rates = []
    for noise in np.linspace(0, most_noise, 7):
        half = half_width(1.0, np.inf, (between + noise) * drawn, float(noise), seeds, alpha)
        rates.append(2 * special.ndtr(-half / np.sqrt(1 + between)).mean(axis=1))
    return np.array(rates)


@pytest.mark.parametrize(
    ("seeds", "most_noise", "low", "high"),
    [(3, 0.6, 0.936, 0.973), (3, 1.0, 0.925, 0.975), (5, 1.0, 0.941, 0.974), (10, 1.0, 0.949, 0.974)],
)
def test_intervals_hold_what_the_module_promises(seeds: int, most_noise: float, low: float, high: float) -> None:
    covered = 1 - miss_rates(seeds, 0.05, most_noise)
    assert covered.min() > low
    assert covered.max() < high


@pytest.mark.parametrize("seeds", [3, 4, 5, 10])
@pytest.mark.parametrize("comparisons", [1, 2, 4, 10])
def test_tests_err_in_the_wrong_direction_no_more_often_than_their_level(seeds: int, comparisons: int) -> None:
    alpha = 0.05 / comparisons
    assert miss_rates(seeds, alpha, 1.0).max() / 2 < 1.01 * alpha
