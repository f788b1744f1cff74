"""Which pairs are compared, and the strengths that come out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyrm.errors import DataError
from tinyrm.serving.ranking import Ranking, schedule


def played(truth: np.ndarray, method: str, spread: float = 0.0) -> tuple[Ranking, list[tuple[int, int]]]:
    """A ranking by a judge that knows the true strengths; its two orders are `spread` apart."""
    steps, asked = schedule(len(truth), method), []
    try:
        pairs = next(steps)
        while True:
            asked += pairs
            odds = np.array([truth[i] - truth[j] for i, j in pairs])
            pairs = steps.send(np.stack([odds + spread / 2, odds - spread / 2], axis=1))
    except StopIteration as end:
        return end.value, asked


@pytest.mark.parametrize("method", ["all", "tournament"])
def test_a_consistent_judge_is_recovered_exactly(method: str) -> None:
    truth = np.array([0.5, -1.0, 2.0, 0.0, -1.5, 0.7, 3.0])
    ranking, asked = played(truth, method)
    assert ranking.order == (6, 2, 5, 0, 3, 1, 4)
    assert ranking.best == 6 and ranking.ranks == (4, 6, 2, 5, 7, 3, 1)
    assert ranking.strengths == pytest.approx(truth - truth.mean(), abs=1e-4)
    assert np.array(ranking.high) - np.array(ranking.low) == pytest.approx(0, abs=1e-4)  # nothing disagrees
    assert ranking.comparisons == len(asked) == len({frozenset(pair) for pair in asked})
    assert ranking.inconsistent == 0


def test_two_responses_differ_by_their_log_odds_whatever_their_orders_say() -> None:
    ranking, _ = played(np.array([0.3, 0.0]), "all", spread=2.0)
    assert ranking.strengths == pytest.approx([0.15, -0.15], abs=1e-5)
    assert ranking.inconsistent == 1
    assert ranking.low[0] < -1 and ranking.high[0] > 1  # two observations: nearly nothing is known


def test_disagreement_widens_the_intervals() -> None:
    truth = np.linspace(-1, 1, 6)
    widths = [np.mean(np.subtract(r.high, r.low)) for s in (0.2, 1.0, 3.0) for r, _ in [played(truth, "all", s)]]
    assert 0 < widths[0] < widths[1] < widths[2]


def test_a_circle_gives_equal_strengths_and_wide_intervals() -> None:
    steps = schedule(3, "all")
    assert next(steps) == [(0, 1), (0, 2), (1, 2)]
    with pytest.raises(StopIteration) as end:
        steps.send(np.array([[2.0, 2.0], [-2.0, -2.0], [2.0, 2.0]]))  # 0 beats 1 beats 2 beats 0
    ranking = end.value.value
    assert ranking.strengths == pytest.approx([0, 0, 0], abs=1e-9)
    assert ranking.ranks == (1, 1, 1) and ranking.order == (0, 1, 2)
    assert min(ranking.high) > 0.5


def test_ties_and_certainty_stay_finite() -> None:
    ranking, _ = played(np.array([0.0, 0.0, 0.0]), "all")
    assert ranking.strengths == (0, 0, 0) and ranking.ranks == (1, 1, 1)
    sure, _ = played(np.array([1e4, 0.0, -1e4]), "all")
    assert sure.order == (0, 1, 2) and all(math.isfinite(s) for s in sure.strengths)


def test_one_response_needs_no_comparison() -> None:
    ranking, asked = played(np.array([1.0]), "auto")
    assert asked == [] and ranking.order == (0,) and ranking.strengths == (0.0,) and math.isnan(ranking.low[0])


def test_auto_compares_all_pairs_up_to_sixteen() -> None:
    assert played(np.arange(16.0), "auto")[0].comparisons == 120
    assert played(np.arange(17.0), "auto")[0].comparisons < 136


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=40))
def test_a_tournament_is_short_and_its_order_true(truth: list[float]) -> None:
    ranking, asked = played(np.array(truth), "tournament")
    n = len(truth)
    assert len(asked) <= n / 2 * math.log2(n) + 2 * n
    found = np.array(truth)[list(ranking.order)]
    assert np.all(np.diff(found) <= 1e-3)


@pytest.mark.parametrize(("n", "method", "told"), [(0, "all", "at least one"), (3, "al", "Did you mean 'all'")])
def test_nonsense_is_refused(n: int, method: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        schedule(n, method)
