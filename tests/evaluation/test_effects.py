"""Main effects and interactions, on numbers whose answer is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from tinyrm.evaluation.effects import effects, frontier


def grid(rank: list[int], freeze: list[int], seed: list[int]) -> list[dict[str, int]]:
    return [{"rank": r, "freeze": f, "seed": s} for r, f, s in itertools.product(rank, freeze, seed)]


def test_an_additive_grid_gives_its_own_means() -> None:
    rows = grid([4, 8], [0, 2], [0, 1])
    values = [0.8 + 0.1 * (r["rank"] == 8) - 0.02 * (r["freeze"] == 2) + 0.01 * r["seed"] for r in rows]
    found = effects("m", rows, values)
    by_name = {e.factors[0]: e for e in found.main}
    assert [e.factors[0] for e in found.main] == ["rank", "freeze", "seed"]  # by how much each accounts for
    assert by_name["rank"].span == pytest.approx(0.1)
    assert [v.names[0] for v in by_name["rank"].levels] == ["4", "8"]
    assert [v.mean.value for v in by_name["rank"].levels] == pytest.approx([0.795, 0.895])
    assert sum(e.share for e in found.main) == pytest.approx(1)
    assert found.n == 8
    assert found.residual_df == 4


def test_the_interval_is_the_t_interval_of_one_way_groups() -> None:
    first, second = [0.1, 0.3, 0.2], [0.6, 0.5, 0.9]
    found = effects("m", [{"a": "x"}] * 3 + [{"a": "y"}] * 3, first + second)
    pooled = math.sqrt((np.var(first, ddof=1) + np.var(second, ddof=1)) / 2)
    half = stats.t.ppf(0.975, 4) * pooled / math.sqrt(3)
    level = found.main[0].levels[0].mean
    assert (level.value, level.low, level.high, level.n) == pytest.approx((0.2, 0.2 - half, 0.2 + half, 3))
    assert found.main[0].p_value == pytest.approx(stats.f_oneway(first, second).pvalue)
    assert found.noise == pytest.approx(pooled)


def test_a_grid_with_holes_counts_all_levels_of_the_others_alike() -> None:
    """Rank 8 was run at the better freeze mostly; its marginal mean must not profit from that."""
    rows = [{"rank": 4, "freeze": 0}, {"rank": 4, "freeze": 2}, {"rank": 8, "freeze": 0}, {"rank": 8, "freeze": 0}]
    values = [0.9 if r["freeze"] == 0 else 0.5 for r in rows]
    rank = next(e for e in effects("m", rows, values).main if e.factors == ("rank",))
    assert [v.mean.value for v in rank.levels] == pytest.approx([0.7, 0.7])
    assert rank.span == pytest.approx(0)


def test_an_interaction_is_told_from_the_sum() -> None:
    random = np.random.default_rng(0)
    rows = grid([4, 8], [0, 2], [0, 1, 2, 3])
    crossed = [0.5 + 0.2 * ((r["rank"] == 8) == (r["freeze"] == 2)) + 0.01 * random.standard_normal() for r in rows]
    summed = [0.5 + 0.1 * (r["rank"] == 8) + 0.1 * (r["freeze"] == 2) + 0.01 * random.standard_normal() for r in rows]
    assert effects("m", rows, crossed).interactions[0].p_value < 1e-6
    assert effects("m", rows, summed).interactions[0].p_value > 0.05
    cells = {v.names: v.mean for v in effects("m", rows, crossed).interactions[0].levels}
    inside = [v for r, v in zip(rows, crossed, strict=True) if (r["rank"], r["freeze"]) == (4, 2)]
    assert cells["4", "2"].value == pytest.approx(np.mean(inside))
    assert cells["4", "2"].n == 4


def test_what_was_not_crossed_has_no_interaction() -> None:
    rows = [{"a": 0, "b": 0}, {"a": 1, "b": 0}, {"a": 0, "b": 1}, {"a": 0, "b": 1}]
    assert effects("m", rows, [0.1, 0.2, 0.3, 0.4]).interactions == ()


def test_no_trial_left_over_means_no_interval_and_no_p() -> None:
    found = effects("m", [{"a": 0}, {"a": 1}], [0.4, 0.6])
    assert found.residual_df == 0
    assert math.isnan(found.noise)
    assert math.isnan(found.main[0].p_value)
    assert math.isnan(found.main[0].levels[0].mean.low)
    assert found.main[0].levels[1].mean.value == pytest.approx(0.6)


def test_a_sampled_number_is_cut_into_bins() -> None:
    rows = [{"lr": 1e-4 * 1.1**i} for i in range(40)]
    found = effects("m", rows, [float(i) for i in range(40)])
    (lr,) = found.main
    assert lr.binned
    assert [v.mean.n for v in lr.levels] == [10, 10, 10, 10]
    assert [v.mean.value for v in lr.levels] == pytest.approx([4.5, 14.5, 24.5, 34.5])
    assert lr.levels[0].names[0].startswith("0.0001 to ")


def test_factors_that_do_not_vary_and_settings_that_are_missing() -> None:
    rows: list[dict[str, object]] = [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 1}]
    found = effects("m", rows, [0.1, 0.2, 0.3])
    assert [e.factors for e in found.main] == [("b",)]
    assert "(not set)" in [v.names[0] for v in found.main[0].levels]
    assert effects("m", [{"a": 1}], [0.5]).main == ()


def test_numbers_come_in_the_order_of_numbers() -> None:
    rows = [{"rank": r} for r in ("16", "2", "8", "16", "2", "8")]
    levels = effects("m", rows, [0.1, 0.2, 0.3, 0.1, 0.2, 0.3]).main[0].levels
    assert [v.names[0] for v in levels] == ["2", "8", "16"]


def test_values_must_be_finite() -> None:
    with pytest.raises(ValueError, match="one finite value a trial"):
        effects("m", [{"a": 1}], [math.nan])


def test_the_frontier_of_cost_and_gain() -> None:
    assert frontier([1, 2, 2, 3, 3], [0.5, 0.6, 0.4, 0.6, 0.9]) == [True, True, False, False, True]
    assert frontier([], []) == []
