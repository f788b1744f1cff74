"""Two sets of predictions on the same pairs, compared pair by pair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from tinyrm.errors import DataError
from tinyrm.evaluation.benchmarks import Benchmark
from tinyrm.evaluation.metrics import undefined
from tinyrm.evaluation.predictions import Predictions
from tinyrm.evaluation.units import credit
from tinyrm.types import Metric


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """How a first set of predictions differs from a second one on the same units.

    Attributes:
        difference: accuracy of the first minus accuracy of the second, with a paired bootstrap interval.
        first_only: units on which the first does better.
        second_only: units on which the second does better.
        p_value: exact McNemar, two-sided, not corrected for several comparisons.
    """

    difference: Metric
    first_only: int
    second_only: int
    p_value: float


def mcnemar(first_only: int, second_only: int) -> float:
    """Exact two-sided p of McNemar's test: under no difference the discordant units fall to either side like coins.

    2 * P(X <= min(b, c)) with X ~ Binomial(b + c, 1/2), at most 1; 1 when no unit is discordant
    (McNemar 1947, Psychometrika 12:153; in its exact form the sign test).
    """
    n = first_only + second_only
    return min(1.0, 2 * float(bdtr(min(first_only, second_only), n, 0.5))) if n else 1.0


def paired_difference(
    difference: NDArray[np.float64],
    strata: Sequence[str] | None = None,
    weights: Mapping[str, float] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Metric:
    """Mean paired difference with a 95% percentile bootstrap interval (Efron & Tibshirani 1993, ch. 13).

    Args:
        difference: (n,) credit of the first minus credit of the second, unit by unit.
        strata: (n,) the subset of each unit; units are drawn within their stratum, as its size is given.
        weights: of each stratum's mean in the number, for example a benchmark's, scaled over the strata at hand;
            without it, its share of the units.
        resamples: number of bootstrap samples.
        seed: the same seed gives the same interval.

    Raises:
        ValueError: lengths differ, or a stratum has no weight.
    """
    n = len(difference)
    if n == 0:
        return undefined()
    names = np.asarray(["all"] * n if strata is None else strata)
    if len(names) != n:
        raise ValueError(f"one stratum a unit: got {len(names)} for {n}.")
    found, counts = np.unique(names, return_counts=True)
    share = {str(name): int(count) / n for name, count in zip(found, counts, strict=True)}
    if weights is not None:
        if not share.keys() <= weights.keys():
            raise ValueError(f"no weight for {sorted(share.keys() - weights.keys())}.")
        total = math.fsum(weights[name] for name in share)
        share = {name: weights[name] / total for name in share}
    random = np.random.default_rng(seed)
    value, drawn = 0.0, np.zeros(resamples)
    for name, weight in share.items():
        inside = difference[names == name]
        value += weight * float(inside.mean())
        # A resample matters only through how often each of the few distinct differences comes up.
        levels, times = np.unique(inside, return_counts=True)
        drawn += weight * (random.multinomial(len(inside), times / len(inside), size=resamples) @ levels) / len(inside)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Metric(value, n, min(float(low), value), max(float(high), value))


def two_way_bootstrap(
    difference: NDArray[np.float64],
    strata: NDArray[np.str_],
    weights: Mapping[str, float],
    resamples: int = 2000,
    seed: int = 0,
) -> Metric:
    """Mean paired difference over seeds with a 95% percentile interval from drawing seeds and units, both at once.

    (The pigeonhole bootstrap: McCarthy 1969 by way of Owen 2007, Annals of Applied Statistics 1:386.)

    Args:
        difference: (seeds, units) credit of the first minus credit of the second; with one seed only units are drawn.
        strata: (units,) the subset of each unit; units are drawn within it.
        weights: of each stratum's mean in the number, taken as they are.
        resamples: number of bootstrap samples.
        seed: the same seed gives the same interval.
    """
    random = np.random.default_rng(seed)
    seeds, n = difference.shape
    chosen = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds  # (resamples, seeds)
    value, drawn = 0.0, np.zeros(resamples)
    for name in np.unique(strata):
        inside = difference[:, strata == name]
        value += weights[str(name)] * float(inside.mean())
        # A unit matters only through its differences over the seeds, and few patterns of those come up.
        patterns, times = np.unique(inside, axis=1, return_counts=True)
        share = random.multinomial(inside.shape[1], times / times.sum(), size=resamples) / inside.shape[1]
        drawn += weights[str(name)] * np.sum((share @ patterns.T) * chosen, axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Metric(value, n, min(float(low), value), max(float(high), value))


def compare(
    first: Predictions, second: Predictions, benchmark: Benchmark | None = None, seed: int = 0
) -> PairedComparison:
    """Compare two sets of predictions, in whatever order each stands, on the same ids.

    What is compared is what the benchmark counts: pairs, or questions for `rewardbench2`. Pairs that share a prompt
    are not independent; p and interval are then too sure of themselves.

    Args:
        benchmark: weigh the subsets as its overall number does (Ties by plain wins); None counts all units alike.

    Raises:
        DataError: the ids are not the same.
    """
    where = {name: position for position, name in enumerate(second.id)}
    odd = set(first.id) ^ set(second.id)
    if odd:
        raise DataError(f"the two predictions are not on the same pairs: {len(odd)} are in only one, as {min(odd)!r}.")
    order = np.array([where[name] for name in first.id], dtype=np.int64)
    strata = [benchmark.key(*at) if benchmark else "/".join(at) for at in zip(first.section, first.subset, strict=True)]
    whole = benchmark is not None and benchmark.unit == "question"
    units: dict[tuple[str, str | None], int] = {}
    keys = zip(strata, first.group if whole else first.id, strict=True)
    question = np.array([units.setdefault(key, len(units)) for key in keys], dtype=np.int64)
    difference = credit(first.log_odds, question) - credit(second.log_odds[order], question)
    better, worse = int(np.sum(difference > 0)), int(np.sum(difference < 0))
    weights = benchmark.weights if benchmark else None
    change = paired_difference(difference, [stratum for stratum, _ in units], weights, seed=seed)
    return PairedComparison(change, better, worse, mcnemar(better, worse))
