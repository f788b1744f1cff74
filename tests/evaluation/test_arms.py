"""Arms compared pair by pair over seeds: known values, the size of the test under no difference, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tinyrm.errors import DataError
from tinyrm.evaluation.arms import benchmark_of, compare_arms, holm, over_seeds
from tinyrm.evaluation.benchmarks import REWARDBENCH
from tinyrm.evaluation.metrics import wilson
from tinyrm.evaluation.paired import compare
from tinyrm.evaluation.predictions import Predictions, predictions
from tinyrm.types import PairScores, PreferencePair


def made(right: NDArray[np.bool_], section: str = "chat", first: int = 0) -> Predictions:
    """Predictions that are right where asked."""
    pairs = [PreferencePair(f"p{first + i}", "q", "yes", "no", section, "s", "test") for i in range(len(right))]
    odds = np.where(right, 1.0, -1.0)
    return predictions(pairs, PairScores(odds, odds, np.zeros(len(right), bool), np.ones(len(right), np.int64)))


def pattern(*ones: int, n: int = 20) -> NDArray[np.bool_]:
    return np.isin(np.arange(n), ones)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_one_seed_is_mcnemar_and_the_paired_bootstrap() -> None:
    a, b = made(pattern(*range(15))), made(pattern(*range(5)))
    table = benchmark_of("pairs", a)
    (found,) = compare_arms({"a": {0: a}, "b": {0: b}}, table)
    alone = compare(a, b, table)
    assert (found.difference, found.p_value, found.seeds) == (alone.difference, alone.p_value, 1)
    assert found.p_value == pytest.approx(2 * 0.5**10)
    assert found.differ


def test_seeds_that_agree_add_nothing_to_the_variance_between_pairs() -> None:
    """The same verdicts in each seed: what is left is the paired t test over pairs."""
    a, b = pattern(*range(15)), pattern(*range(5))
    (found,) = compare_arms(
        {"a": {0: made(a), 1: made(a)}, "b": {0: made(b), 1: made(b)}}, benchmark_of("pairs", made(a))
    )
    difference = a.astype(float) - b
    error = np.std(difference, ddof=1) / np.sqrt(20)
    assert found.difference.value == pytest.approx(0.5)
    assert found.difference.high - found.difference.value == pytest.approx(2.093024 * error, rel=1e-5)  # t, 19 df
    assert found.seeds == 2


def test_seeds_that_disagree_widen_the_interval() -> None:
    base, good, bad = made(pattern(*range(10))), made(pattern(*range(18))), made(pattern(*range(4)))
    table = benchmark_of("pairs", base)
    (found,) = compare_arms({"a": {0: good, 1: bad}, "b": {0: base, 1: base}}, table)
    assert found.difference.value == pytest.approx((0.4 - 0.3) / 2)
    assert found.difference.low < -0.4
    assert not found.differ


def test_under_no_difference_one_in_twenty_is_called_one() -> None:
    """Both pairs and seeds vary, the arms do not differ: the share of p < 0.05 must be near 5%."""
    random, rejected, trials = np.random.default_rng(1), 0, 300
    for _ in range(trials):
        easy = random.normal(1.0, 1.0, 60)
        arms = {}
        for arm in "ab":
            arms[arm] = {s: made(easy + random.normal(0, 0.3) + random.normal(0, 1.0, 60) > 0) for s in range(3)}
        rejected += compare_arms(arms, benchmark_of("pairs", arms["a"][0]))[0].p_value < 0.05
    assert 0.01 < rejected / trials < 0.09


def test_sections_weigh_as_in_the_benchmark() -> None:
    """30 pairs of chat, 10 of safety: the overall number is the mean of the two sections."""
    chat, safety = made(pattern(*range(15), n=30)), made(pattern(*range(10), n=10), "safety", first=100)
    joined = Predictions(
        **{
            name: np.concatenate([getattr(chat, name), getattr(safety, name)])
            if isinstance(getattr(chat, name), np.ndarray)
            else getattr(chat, name) + getattr(safety, name)
            for name in Predictions.__dataclass_fields__
            if getattr(chat, name) is not None
        }
    )
    assert over_seeds({0: joined, 1: joined}, benchmark_of("pairs", joined)).value == pytest.approx(0.75)


def test_an_arm_that_is_always_right_has_wilsons_interval() -> None:
    perfect = made(pattern(*range(20)))
    found = over_seeds({0: perfect, 1: perfect}, benchmark_of("pairs", perfect))
    assert (found.value, found.low) == (1.0, pytest.approx(wilson(20, 20).low))


def test_arms_on_other_pairs_are_refused_and_without_a_common_seed_left_out() -> None:
    a, b = made(pattern(1)), made(pattern(1), first=7)
    table = benchmark_of("pairs", a)
    with pytest.raises(DataError, match="not on the same pairs"):
        compare_arms({"a": {0: a, 1: a}, "b": {0: b, 1: b}}, table)
    with pytest.raises(DataError, match="not on the same pairs"):
        over_seeds({0: a, 1: b}, table)
    with pytest.raises(DataError, match="no accuracy"):
        over_seeds({}, table)
    assert compare_arms({"a": {0: a}, "b": {1: a}}, table) == []


def test_the_table_of_a_fixed_benchmark_is_its_own() -> None:
    assert benchmark_of("rewardbench", made(pattern(1))) is REWARDBENCH
