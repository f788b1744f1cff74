"""Studies simulated with a known truth: how often a verdict is wrong, how often it sees what it should.

The log-odds of a pair are difficulty + strength of the arm + what the pair is to this arm + seed of the arm + noise of
this seed on this pair, all normal, so that the true accuracy of an arm is a normal probability. The magnitudes give
accuracies of 69% to 84%, arms that differ on about one pair in six, and seeds of an arm whose accuracies differ with
the standard deviation given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from tinyrm.evaluation.arms import Seeds, benchmark_of
from tinyrm.evaluation.benchmarks import Benchmark
from tinyrm.evaluation.contrasts import Contrast
from tinyrm.evaluation.crossed import Crossed, crossed
from tinyrm.evaluation.power import detectable_effect
from tinyrm.evaluation.predictions import Predictions, predictions
from tinyrm.evaluation.verdicts import Verdict, judge
from tinyrm.types import PairScores, PreferencePair

EASE = {"chat": 0.8, "chat_hard": 0.65, "reasoning": 1.1, "safety": 1.3}  # mean log-odds of the pairs of a section
STUDIES = 200


@dataclass(frozen=True)
class World:
    """Standard deviations of the parts of the log-odds, and how large a study is."""

    difficulty: float = 1.1
    own: float = 0.3  # of a pair to an arm
    seed: float = 0.05  # of a seed of an arm; 0.05 is 1.4 points of accuracy
    noise: float = 0.5
    pairs: int = 250  # of each section
    seeds: int = 3

    def accuracy(self, strength: float) -> float:
        """The truth: mean over the sections."""
        spread = np.sqrt(self.difficulty**2 + self.own**2 + self.seed**2 + self.noise**2)
        return float(np.mean([norm.cdf((ease + strength) / spread) for ease in EASE.values()]))

    def strength(self, effect: float) -> float:
        """Of an arm so much better than one of strength 0."""
        tried = np.linspace(-1, 1, 2001)
        return float(np.interp(effect, [self.accuracy(x) - self.accuracy(0) for x in tried], tried))

    def log_odds(self, arms: Mapping[str, float], random: np.random.Generator) -> dict[str, NDArray[np.float64]]:
        """(seeds, pairs) of each arm, in one study."""
        n = self.pairs * len(EASE)
        difficulty = np.repeat(list(EASE.values()), self.pairs) + random.normal(0, self.difficulty, n)
        return {
            arm: difficulty
            + strength
            + random.normal(0, self.own, n)
            + random.normal(0, self.seed, (self.seeds, 1))
            + random.normal(0, self.noise, (self.seeds, n))
            for arm, strength in arms.items()
        }

    @property
    def strata(self) -> NDArray[np.str_]:
        return np.repeat([f"{section}/s" for section in EASE], self.pairs)

    def studies(self, arms: Mapping[str, float], start: int = 0) -> Iterator[tuple[dict[str, Seeds], Benchmark]]:
        """Predictions of each arm and seed, as a sweep leaves them."""
        pairs = [
            PreferencePair(f"{section}{i}", "q", "yes", "no", section, "s", "made")
            for section in EASE
            for i in range(self.pairs)
        ]
        table = _scored(pairs)
        benchmark = benchmark_of("pairs", table)
        for study in range(STUDIES):
            odds = self.log_odds(arms, np.random.default_rng([start, study]))
            yield (
                {arm: {s: replace(table, log_odds=row) for s, row in enumerate(rows)} for arm, rows in odds.items()},
                benchmark,
            )


def _scored(pairs: list[PreferencePair]) -> Predictions:
    n = len(pairs)
    return predictions(pairs, PairScores(np.ones(n), np.ones(n), np.zeros(n, bool), np.ones(n, np.int64)))


def measured(world: World, strength: float, studies: int, start: int) -> list[Crossed]:
    """The difference of an arm of that strength and one of 0, in many studies."""
    found, weights = [], {stratum: 1 / len(EASE) for stratum in np.unique(world.strata)}
    for study in range(studies):
        odds = world.log_odds({"a": strength, "b": 0.0}, np.random.default_rng([start, study]))
        found.append(crossed((odds["a"] > 0).astype(float) - (odds["b"] > 0), world.strata, weights))
    return found


def test_without_effects_at_most_one_study_in_twenty_supports_any_of_its_claims() -> None:
    claims = [
        Contrast("overall", "a", "b", "better", 0.02),
        Contrast("another arm", "c", "b", "better", 0.02),
        Contrast("on chat", "a", "b", "better", 0.02, {"chat": 1}),
        Contrast("more on reasoning", "c", "b", "better", 0.02, {"reasoning": 1, "chat": -0.5, "safety": -0.5}),
    ]
    wrong = 0
    for study, benchmark in World().studies(dict.fromkeys("abc", 0.0)):
        wrong += any(f.verdict is Verdict.SUPPORTED for f in judge(study, claims, benchmark, resamples=10))
    assert wrong <= 0.05 * STUDIES


@pytest.mark.parametrize("seeds", [3, 6])
def test_the_effect_that_was_promised_is_seen_as_often_as_promised(seeds: int) -> None:
    """80% of studies, within what 200 studies can tell (a two-sided binomial test at 1 in 1,000)."""
    world = World(seeds=seeds)
    large = replace(world, pairs=50_000, seeds=2).log_odds(
        {"a": world.strength(0.04), "b": 0.0}, np.random.default_rng(0)
    )
    one, other = (large["a"] > 0).astype(float) - (large["b"] > 0)
    promised = detectable_effect(
        dict.fromkeys(EASE, world.pairs),
        dict.fromkeys(EASE, 1 / len(EASE)),
        seeds,
        discordance=float(np.mean(one**2)),
        seed_sd=np.sqrt(2) * (world.accuracy(world.seed) - world.accuracy(0)),
        shared=float(np.mean(one * other) / np.mean(one**2)),
    )
    claim = [Contrast("overall", "a", "b", "better", 0.02)]
    seen = 0
    for study, benchmark in world.studies({"a": world.strength(promised), "b": 0.0}, start=seeds):
        seen += judge(study, claim, benchmark, resamples=10)[0].verdict is Verdict.SUPPORTED
    assert binomtest(seen, STUDIES, 0.8).pvalue > 0.001, (seen, promised)


@pytest.mark.parametrize(
    "world",
    [
        World(seed=0.0),
        World(),
        World(seed=0.15),  # 4 points: seeds decide
        World(seed=0.0, seeds=5),
        World(own=0.0, noise=0.2),
    ],
    ids=str,
)
def test_intervals_cover_the_truth(world: World) -> None:
    """93% to 97% of them, give or take what 1,000 studies can tell (two standard errors: 1.4 points)."""
    truth = world.accuracy(world.strength(0.03)) - world.accuracy(0)
    intervals = [found.interval() for found in measured(world, world.strength(0.03), 1000, start=7)]
    covered = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    assert 0.93 - 0.014 < covered < 0.97 + 0.014, covered
    assert np.mean([interval.value for interval in intervals]) == pytest.approx(truth, abs=0.003)


@pytest.mark.parametrize("seed", [0.0, 0.05])
def test_at_the_margin_equivalence_is_claimed_by_one_study_in_twenty_at_most(seed: float) -> None:
    world = World(seed=seed, pairs=400)
    at_margin = measured(world, world.strength(0.05), 1000, start=11)
    claimed = sum(found.interval(0.1).low > -0.05 and found.interval(0.1).high < 0.05 for found in at_margin)
    assert binomtest(claimed, 1000, 0.05, alternative="greater").pvalue > 0.001, claimed
    assert claimed > 0
