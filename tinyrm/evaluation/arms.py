"""Which arms of a sweep really differ: pair by pair, over seeds, corrected for how many comparisons are made.

An *arm* is a configuration; its *seeds* are repetitions. Both the test pairs and the seeds are a sample, so that the
difference of two arms varies with both: :mod:`tinyrm.evaluation.crossed` says how sure it is. With a single seed there
is nothing to say about seeds: then it is McNemar's exact test and the paired bootstrap of
:mod:`tinyrm.evaluation.paired`, which speak of these two models only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tinyrm.errors import DataError
from tinyrm.evaluation.benchmarks import FIXED, Benchmark, benchmark_of_places
from tinyrm.evaluation.crossed import crossed
from tinyrm.evaluation.metrics import wilson
from tinyrm.evaluation.paired import compare
from tinyrm.evaluation.predictions import Predictions
from tinyrm.evaluation.units import credit
from tinyrm.types import Metric

Seeds = Mapping[int, Predictions]


@dataclass(frozen=True)
class ArmComparison:
    """How a first arm differs from a second one on the same units.

    Attributes:
        first, second: names of the arms.
        difference: of the benchmark's overall accuracy, first minus second, with its 95% interval; n counts units.
        p_value: two-sided, for this comparison alone.
        p_holm: corrected for all comparisons made beside it (Holm 1979, Scand. J. Statistics 6:65).
        seeds: how many both arms have in common; with 1 the interval leaves the choice of the seed out.
    """

    first: str
    second: str
    difference: Metric
    p_value: float
    p_holm: float
    seeds: int

    @property
    def differ(self) -> bool:
        """Whether they differ at 5%, corrected."""
        return self.p_holm < 0.05


@dataclass(frozen=True, eq=False)
class CountedUnits:
    """What is counted, in an order that is the same for every set of predictions on the same pairs."""

    keys: tuple[tuple[str, str], ...]
    credit: NDArray[np.float64]

    @property
    def strata(self) -> NDArray[np.str_]:
        return np.asarray([stratum for stratum, _ in self.keys])


def benchmark_of(name: str, predictions: Predictions) -> Benchmark:
    """The table that predictions were counted by: one of the fixed ones, or that of the data's own pairs."""
    return FIXED.get(name) or benchmark_of_places(zip(predictions.section, predictions.subset, strict=True))


def over_seeds(seeds: Seeds, benchmark: Benchmark) -> Metric:
    """Overall accuracy of an arm: mean over its seeds, with an interval for other pairs *and* other seeds.

    Raises:
        DataError: no seeds, or seeds on different pairs.
    """
    if not seeds:
        raise DataError("an arm without predictions has no accuracy.")
    units = [units_of(predictions, benchmark) for predictions in seeds.values()]
    found = crossed(stacked(units), units[0].strata, share_of(benchmark, units[0].strata))
    value, n = found.value, found.n
    if found.units + found.between <= 0:
        plain = wilson(min(max(value, 0.0), 1.0) * n, n)
        return Metric(value, n, min(plain.low, value), max(plain.high, value))
    half = found.half_width()
    return Metric(value, n, max(0.0, value - half), min(1.0, value + half))


def compare_arms(arms: Mapping[str, Seeds], benchmark: Benchmark) -> list[ArmComparison]:
    """Every arm against every other, in the order given; p values corrected together.

    Arms without a seed in common are left out, as nothing pairs them.

    Raises:
        DataError: two arms are not on the same pairs.
    """
    units = {(arm, seed): units_of(p, benchmark) for arm, seeds in arms.items() for seed, p in seeds.items()}
    raw = []
    for first, second in itertools.combinations(arms, 2):
        common = sorted(arms[first].keys() & arms[second].keys())
        if not common:
            continue
        if len(common) == 1:
            found = compare(arms[first][common[0]], arms[second][common[0]], benchmark)
            raw.append((first, second, found.difference, found.p_value, 1))
            continue
        left, right = (stacked([units[arm, seed] for seed in common]) for arm in (first, second))
        if units[first, common[0]].keys != units[second, common[0]].keys:
            raise DataError(f"{first} and {second} are not on the same pairs.")
        strata = units[first, common[0]].strata
        both = crossed(left - right, strata, share_of(benchmark, strata))
        raw.append((first, second, both.interval(), both.p_value(), len(common)))
    corrected = holm([p for *_, p, _ in raw])
    return [
        ArmComparison(first, second, difference, p, adjusted, seeds)
        for (first, second, difference, p, seeds), adjusted in zip(raw, corrected, strict=True)
    ]


def share_of(benchmark: Benchmark, strata: NDArray[np.str_]) -> dict[str, float]:
    """Weights of the strata at hand in the benchmark's overall number, scaled to sum to 1."""
    found = {str(name): benchmark.weights[str(name)] for name in np.unique(strata)}
    total = math.fsum(found.values())
    return {name: weight / total for name, weight in found.items()}


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the k-th smallest p times (m - k + 1), never falling, at most 1."""
    adjusted, so_far = [0.0] * len(p_values), 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        so_far = max(so_far, min(1.0, (len(p_values) - rank) * p_values[position]))
        adjusted[position] = so_far
    return adjusted


def units_of(predictions: Predictions, benchmark: Benchmark) -> CountedUnits:
    """Credit of each pair, or of each question where the benchmark counts those, sorted by stratum and name."""
    keys, question = _placed(predictions.section, predictions.subset, predictions.id, predictions.group, benchmark)
    return CountedUnits(keys, credit(predictions.log_odds, question))


@lru_cache(maxsize=8)
def _placed(
    section: tuple[str, ...],
    subset: tuple[str, ...],
    ids: tuple[str, ...],
    group: tuple[str | None, ...],
    benchmark: Benchmark,
) -> tuple[tuple[tuple[str, str], ...], NDArray[np.int64]]:
    """Units in order, and which one each pair belongs to. The runs of a study have the same pairs: placed once."""
    strata = [benchmark.key(*at) for at in zip(section, subset, strict=True)]
    names = ids
    if benchmark.unit == "question":
        names = tuple(whole or name for whole, name in zip(group, ids, strict=True))
    keys = list(zip(strata, names, strict=True))
    order = {key: number for number, key in enumerate(sorted(set(keys)))}
    return tuple(order), np.array([order[key] for key in keys], dtype=np.int64)


def stacked(units: Sequence[CountedUnits]) -> NDArray[np.float64]:
    """(seeds, units) credits.

    Raises:
        DataError: they are not on the same units.
    """
    if any(other.keys != units[0].keys for other in units[1:]):
        raise DataError("the seeds of an arm are not on the same pairs.")
    return np.stack([u.credit for u in units])
