from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from tinyrm.errors import DataError
from tinyrm.evaluation.benchmarks import REWARDBENCH, REWARDBENCH2
from tinyrm.evaluation.paired import compare, mcnemar, paired_difference, two_way_bootstrap
from tinyrm.evaluation.predictions import predictions


def test_mcnemar_by_hand() -> None:
    assert mcnemar(1, 8) == pytest.approx(2 * (1 + 9) / 2**9)
    assert mcnemar(0, 0) == 1


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_two_sided_sign_test(b: int, c: int) -> None:
    expected = binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(expected)
    assert mcnemar(b, c) == mcnemar(c, b)


def test_the_bootstrap_agrees_with_the_normal_interval_and_its_seed() -> None:
    difference = np.repeat([1.0, 0.0, -1.0], [120, 800, 80])
    metric = paired_difference(difference)
    error = 1.96 * difference.std() / np.sqrt(1000)
    assert metric.value == pytest.approx(0.04)
    assert (metric.low, metric.high) == (pytest.approx(0.04 - error, abs=0.002), pytest.approx(0.04 + error, abs=0.002))
    assert paired_difference(difference) == metric
    assert paired_difference(difference, seed=1) != metric


def test_strata_are_weighed_and_drawn_apart() -> None:
    difference = np.array([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    metric = paired_difference(difference, ["a", "a", "b", "b", "b", "b"], {"a": 3, "b": 1})
    assert (metric.value, metric.low, metric.high) == (0.75, 0.75, 0.75)
    with pytest.raises(ValueError, match=r"no weight for \['b'\]"):
        paired_difference(difference, ["a", "a", "b", "b", "b", "b"], {"a": 1})


def test_drawing_seeds_and_pairs_at_once() -> None:
    """Where only pairs vary it is the plain bootstrap; where only seeds do, seeds are drawn."""
    strata, weights = np.array(["s"] * 1000), {"s": 1.0}
    pairs = np.repeat([1.0, 0.0, -1.0], [120, 800, 80])
    metric, error = two_way_bootstrap(np.stack([pairs] * 3), strata, weights), 1.96 * pairs.std() / np.sqrt(1000)
    assert (metric.value, metric.n) == (pytest.approx(0.04), 1000)
    assert (metric.low, metric.high) == (pytest.approx(0.04 - error, abs=0.003), pytest.approx(0.04 + error, abs=0.003))
    seeds = two_way_bootstrap(np.array([[1.0] * 1000, [0.0] * 1000, [0.0] * 1000]), strata, weights)
    assert (seeds.value, seeds.low, seeds.high) == (pytest.approx(1 / 3), 0, 1)  # 1 in 27 draws the first seed thrice
    both = two_way_bootstrap(np.stack([pairs, -pairs]), strata, {"s": -2.0})
    assert both.value == pytest.approx(0)
    assert both == two_way_bootstrap(np.stack([pairs, -pairs]), strata, {"s": -2.0})


def test_compare_aligns_by_id_and_counts_discordant_units(pair, scored) -> None:
    data = [pair(str(i)) for i in range(6)]
    first = predictions(data, scored([1, 1, 1, -1, 1, 0]))
    second = predictions(data[::-1], scored([-1, 1, -1, -1, -1, 1]))  # of the pairs 5, 4, 3, 2, 1, 0
    result = compare(first, second)
    assert (result.first_only, result.second_only) == (3, 0)
    assert result.difference.value == pytest.approx((1 + 1 + 0.5) / 6)
    assert result.p_value == pytest.approx(0.25)
    assert result.difference.n == 6


def test_compare_counts_what_the_benchmark_counts(pair, scored) -> None:
    data = [pair(f"q/0-{j}", subset="Math", group="q") for j in range(3)]
    data.append(pair("r/0-0", subset="Math", group="r"))
    one, other = predictions(data, scored([1, 1, 1, -1])), predictions(data, scored([-1, -1, 1, -1]))
    by_pair, by_question = compare(one, other), compare(one, other, REWARDBENCH2)
    assert (by_pair.first_only, by_pair.second_only, by_pair.difference.n) == (2, 0, 4)
    assert (by_question.first_only, by_question.second_only, by_question.difference.n) == (1, 0, 2)
    assert by_question.difference.value == 0.5


def test_compare_with_the_weights_of_a_benchmark(pair, scored) -> None:
    data = [pair("1", subset="math-prm"), pair("2", subset="hep-go")]
    result = compare(predictions(data, scored([1, 1])), predictions(data, scored([-1, 1])), REWARDBENCH)
    assert result.difference.value == pytest.approx(6 / 7)


def test_compare_refuses_other_pairs(pair, scored) -> None:
    with pytest.raises(DataError, match="2 are in only one, as 'a'"):
        compare(predictions([pair("a")], scored([1])), predictions([pair("b")], scored([1])))
