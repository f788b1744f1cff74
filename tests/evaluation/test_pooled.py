"""A contrast that is pooled over the cells of a crossed study: by hand, and on studies simulated with a known truth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from tinyrm.errors import ConfigError, DataError
from tinyrm.evaluation.arms import CountedUnits, Seeds, benchmark_of
from tinyrm.evaluation.benchmarks import benchmark_of_places
from tinyrm.evaluation.contrasts import Contrast, measure
from tinyrm.evaluation.crossed import Crossed
from tinyrm.evaluation.power import detectable_effect
from tinyrm.evaluation.predictions import predictions
from tinyrm.evaluation.verdicts import judge
from tinyrm.types import PairScores, PreferencePair

CELLS = (("rank=16 freeze=2", "rank=4 freeze=2"), ("rank=16 freeze=4", "rank=4 freeze=4"))
POOLED = Contrast("rank (pooled over freeze)", "rank=16", "rank=4", "better", 0.02, {}, CELLS)


def arm_of(*right: list[int]) -> Seeds:
    """Predictions of one arm that are right where 1 stands, a row a seed."""
    found = {}
    for seed, row in enumerate(right):
        pairs = [PreferencePair(f"p{i}", "q", "yes", "no", "chat", "s", "test") for i in range(len(row))]
        odds = 2.0 * np.array(row) - 1
        found[seed] = predictions(pairs, PairScores(odds, odds, np.zeros(len(row), bool), np.ones(len(row), np.int64)))
    return found


ARMS = {
    "rank=16 freeze=2": arm_of([1, 1, 0, 1], [1, 0, 1, 1]),
    "rank=4 freeze=2": arm_of([0, 1, 0, 0], [0, 0, 1, 1]),  # differences: 1 0 0 1, 1 0 0 0
    "rank=16 freeze=4": arm_of([0, 1, 1, 1], [1, 1, 1, 0]),
    "rank=4 freeze=4": arm_of([1, 1, 1, 0], [1, 0, 0, 0]),  # -1 0 0 1, 0 1 1 0
}
TABLE = benchmark_of("pairs", ARMS["rank=4 freeze=2"][0])


def counted(arms: dict[str, Seeds]) -> dict[str, dict[int, CountedUnits]]:
    return {
        arm: {s: CountedUnits(tuple(("chat/s", i) for i in p.id), (p.log_odds > 0) * 1.0) for s, p in seeds.items()}
        for arm, seeds in arms.items()
    }


def test_every_number_by_hand() -> None:
    found = measure(POOLED, counted(ARMS), TABLE)
    assert found.values.tolist() == [[0, 0, 0, 1], [0.5, 0.5, 0.5, 0]]  # the mean of the two cells, seed by seed
    assert found.gains[0].tolist() == [[0, 0.5, 0, 0.5], [0.5, 0, 0.5, 0]]  # of rank=16, less a coin's half
    effect = found.crossed()
    # Means of the seeds 2/8 and 3/8; of the units 2/8, 2/8, 2/8, 4/8: variances 1/128, halved, and 1/64, over four.
    assert (effect.value, effect.between, effect.units) == (0.3125, 1 / 256, 1 / 256)
    # What is left in a seed: 3 of 3/16 and 1 of 9/16, squared and over 3 degrees of freedom, 4 units, 2 seeds.
    assert effect.noise == pytest.approx(2 * (3 * 9 + 81) / 256 / 3 / 4 / 2)
    assert (effect.n, effect.seeds, effect.units_df) == (4, 2, 3)
    signs = found.signs()
    assert (signs.better, signs.worse) == (4, 0)


def test_it_is_judged_as_any_contrast() -> None:
    (finding,) = judge(ARMS, [POOLED], TABLE)
    singles = judge(ARMS, [Contrast(f"{number}", *cell, "better", 0.02) for number, cell in enumerate(CELLS)], TABLE)
    assert finding.effect.value == pytest.approx(np.mean([single.effect.value for single in singles]))
    assert (finding.seeds, finding.n) == (2, 4)
    (alone,) = judge(ARMS, [Contrast("one", *CELLS[0], "better", 0.02, {}, CELLS[:1])], TABLE)
    assert alone.effect == singles[0].effect  # of one cell it is that cell's


def test_only_seeds_that_all_cells_have_count() -> None:
    less = {**ARMS, "rank=4 freeze=4": {1: ARMS["rank=4 freeze=4"][1]}}
    (finding,) = judge(less, [POOLED], TABLE)
    assert (finding.seeds, finding.effect.value) == (1, 0.375)
    with pytest.raises(DataError, match="and rank=4 freeze=4 have no seed in common"):
        judge({**ARMS, "rank=4 freeze=4": {7: ARMS["rank=4 freeze=4"][1]}}, [POOLED], TABLE)
    with pytest.raises(ConfigError, match="second=rank=4 freeze=4 is no arm of this study"):
        judge({arm: seeds for arm, seeds in ARMS.items() if arm != "rank=4 freeze=4"}, [POOLED], TABLE)


# --- studies with a known truth: four cells, whose effects differ

PAIRS, SEEDS, SPREAD = 400, 3, (1.1, 0.3, 0.05, 0.5)  # of pairs, of a pair to an arm, of a seed, of noise
EASE = (0.0, 0.2, 0.4, 0.6)  # log-odds by cell


def truth(strengths: NDArray[np.float64]) -> float:
    """Mean over the cells of the difference of true accuracies."""
    total = np.sqrt(np.sum(np.square(SPREAD)))
    return float(
        np.mean(norm.cdf((0.8 + np.array(EASE) + strengths) / total) - norm.cdf((0.8 + np.array(EASE)) / total))
    )


def found_in(strengths: NDArray[np.float64], count: int, start: int) -> list[Crossed]:
    """What the pooled contrast comes to in many studies."""
    cells = tuple((f"a{number}", f"b{number}") for number in range(len(EASE)))
    keys = tuple(("chat/s", f"p{number}") for number in range(PAIRS))
    benchmark = benchmark_of_places([("chat", "s")] * PAIRS)
    contrast, found = Contrast("pooled", "a", "b", "better", 0.02, {}, cells), []
    for study in range(count):
        random = np.random.default_rng([start, study])
        difficulty = 0.8 + random.normal(0, SPREAD[0], PAIRS)
        units = {}
        for cell, ease, strength in zip(cells, EASE, strengths, strict=True):
            for arm, more in zip(cell, (strength, 0.0), strict=True):
                odds = difficulty + ease + more + random.normal(0, SPREAD[1], PAIRS)
                odds = odds + random.normal(0, SPREAD[2], (SEEDS, 1)) + random.normal(0, SPREAD[3], (SEEDS, PAIRS))
                units[arm] = {seed: CountedUnits(keys, (row > 0) * 1.0) for seed, row in enumerate(odds)}
        found.append(measure(contrast, units, benchmark).crossed())
    return found


def test_intervals_cover_the_mean_effect() -> None:
    """93% to 97% of them, give or take what 1,000 studies can tell (two standard errors: 1.4 points)."""
    strengths = np.array([0.0, 0.05, 0.15, 0.3])
    found = [each.interval() for each in found_in(strengths, 1000, start=3)]
    covered = np.mean([each.low <= truth(strengths) <= each.high for each in found])
    assert 0.93 - 0.014 < covered < 0.97 + 0.014, covered
    assert np.mean([each.value for each in found]) == pytest.approx(truth(strengths), abs=0.002)


def test_what_is_promised_before_a_study_is_seen_at_least_as_often() -> None:
    """The promise takes for shared by all cells what these studies draw anew in each: it may keep more than 80%."""
    random = np.random.default_rng(0)
    odds = 1.1 + random.normal(0, SPREAD[0], 50_000)  # two seeds of two arms of a cell
    one, two = (odds + random.normal(0, SPREAD[1], 50_000) for _ in range(2))
    seeds = [(x + random.normal(0, SPREAD[3], 50_000) > 0) * 1.0 for x in (one, two, one, two)]
    first, other = seeds[0] - seeds[1], seeds[2] - seeds[3]
    a_seed = norm.cdf((1.1 + SPREAD[2]) / 1.25) - norm.cdf(1.1 / 1.25)
    assumed = {
        "discordance": float(np.mean(first**2)),
        "shared": float(np.mean(first * other) / np.mean(first**2)),
        "seed_sd": np.sqrt(2) * a_seed,
    }
    promised = {n: detectable_effect({"chat": PAIRS}, {"chat": 1.0}, SEEDS, cells=n, **assumed) for n in (1, 4)}
    assert promised[4] < 0.75 * promised[1]
    tried = np.linspace(0, 0.5, 101)
    strength = float(np.interp(promised[4], [truth(np.full(4, x)) for x in tried], tried))
    seen = [each.p_value() < 0.05 and each.value > 0 for each in found_in(np.full(4, strength), 200, start=9)]
    assert 0.74 < np.mean(seen) < 0.99, (np.mean(seen), promised)
