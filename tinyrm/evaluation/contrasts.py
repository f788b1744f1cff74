"""What a claim compares: which arms, in which sections, with which weights; and the differences pair by pair."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tinyrm.config.claim import EXPECTATIONS
from tinyrm.errors import DataError, did_you_mean
from tinyrm.evaluation.arms import CountedUnits, Seeds, share_of, stacked
from tinyrm.evaluation.benchmarks import Benchmark, Section
from tinyrm.evaluation.crossed import Crossed, crossed
from tinyrm.evaluation.paired import mcnemar

COIN = {"pair": 0.5, "question": 0.25}  # credit of guessing; a question has three worse responses (RewardBench 2)


@dataclass(frozen=True)
class Contrast:
    """A claim about two arms.

    Attributes:
        name: what the claim is called.
        first, second: arms; the effect is accuracy(first) - accuracy(second).
        expect: 'better' (effect > 0), 'no_worse' (effect > -margin) or 'same' (|effect| < margin).
        margin: the smallest difference that matters, as a fraction (0.02 is 2 points).
        sections: {} is the overall accuracy as the benchmark weighs it; {"chat": 1} that of one section; weights that
            sum to 1 a mean; weights that sum to 0 an interaction, as {"reasoning": 1, "chat": -0.5, "safety": -0.5}:
            is the effect larger on reasoning than elsewhere? The sections of a benchmark's views count too.
        cells: pairs of arms over which the effect is pooled (a study of rank x freeze: those of equal freeze); `first`
            and `second` are then what they are called. The differences of each seed on each unit are averaged over the
            cells, each counting alike, on the seeds that all of them have; what is said of the mean is for other pairs
            and other seeds of these cells, and for no other cells. Empty: `first` and `second` alone.
    """

    name: str
    first: str
    second: str
    expect: str
    margin: float
    sections: Mapping[str, float] = field(default_factory=dict)
    cells: tuple[tuple[str, str], ...] = ()

    @property
    def matched(self) -> tuple[tuple[str, str], ...]:
        """The arms whose differences are averaged: a single pair where nothing is pooled."""
        return self.cells or ((self.first, self.second),)

    @property
    def arms(self) -> list[str]:
        """Every arm that is read for it."""
        return list(dict.fromkeys(arm for cell in self.matched for arm in cell))


@dataclass(frozen=True)
class SignTest:
    """Units on which one arm does better over its seeds, and exact McNemar on them.

    A unit counts for the arm that has more credit on it, summed over the common seeds (right in 3 of 3 against 2 of 3:
    for the first); so with one seed it is McNemar's test itself. It needs no variances and covers other pairs, but not
    other seeds, and counts every unit alike, whatever the benchmark weighs. In an interaction units of a section with a
    negative weight count the other way round, and p is NaN: signs cannot test a difference of differences.

    Attributes:
        better, worse: units that speak for the first arm, and for the second.
        p_value: two-sided, not corrected.
    """

    better: int
    worse: int
    p_value: float


@dataclass(frozen=True, eq=False)
class Differences:
    """Credit of the first minus credit of the second arm, of a pooled contrast in the mean over its cells.

    Attributes:
        values: (seeds, units).
        strata: (units,) the subset of each unit.
        weights: of each stratum in the number that the contrast asks for.
        gains: (2, seeds, units) credit of the first and of the second arm, less what guessing gets.
    """

    values: NDArray[np.float64]
    strata: NDArray[np.str_]
    weights: dict[str, float]
    gains: NDArray[np.float64]

    @property
    def interaction(self) -> bool:
        """Whether it is a difference between sections."""
        return min(self.weights.values()) < 0

    def crossed(self) -> Crossed:
        """Their mean, and how sure it is."""
        return crossed(self.values, self.strata, self.weights)

    def learnt(self, alpha: float) -> bool:
        """Whether one of the two arms is shown to be better than guessing, in the sections asked for taken together.

        At `alpha` for both, one-sided.
        """
        total = math.fsum(map(abs, self.weights.values()))
        shares = {name: abs(weight) / total for name, weight in self.weights.items()}
        found = [crossed(gain, self.strata, shares) for gain in self.gains]
        return any(each.value > 0 and each.p_value() < alpha for each in found)  # two-sided, and two arms

    def signs(self) -> SignTest:
        """Units that speak for either arm."""
        names, at = np.unique(self.strata, return_inverse=True)
        toward = np.sign([self.weights[str(name)] for name in names])
        total = toward[at] * self.values.sum(axis=0)
        better, worse = int(np.sum(total > 1e-9)), int(np.sum(total < -1e-9))
        return SignTest(better, worse, math.nan if self.interaction else mcnemar(better, worse))


def problems_of(contrast: Contrast, arms: Mapping[str, Seeds], benchmark: Benchmark) -> list[str]:
    """What is wrong with a contrast, before anything is read of its pairs."""
    found, sections, total = [], sections_of(benchmark), math.fsum(contrast.sections.values())
    for first, second in contrast.matched:
        for side, arm in (("first", first), ("second", second)):
            if arm not in arms:
                found.append(f"{contrast.name}: {side}={arm} is no arm of this study." + did_you_mean(arm, arms))
        if first == second:
            found.append(f"{contrast.name}: {first} is compared with itself.")
    if contrast.expect not in EXPECTATIONS:
        found.append(
            f"{contrast.name}: expect={contrast.expect} is unknown." + did_you_mean(contrast.expect, EXPECTATIONS)
        )
    if not 0 < contrast.margin < 1:
        found.append(
            f"{contrast.name}: margin is a fraction between 0 and 1 (0.02 is 2 points), got {contrast.margin}."
        )
    for name in contrast.sections:
        if name not in sections:
            found.append(f"{contrast.name}: {name!r} is no section of {benchmark.name}." + did_you_mean(name, sections))
    if contrast.sections and not min(abs(total - 1), abs(total)) <= 0.005:  # NaN is wrong too
        found.append(f"{contrast.name}: weights of sections sum to 1 (a mean) or 0 (an interaction), got {total:g}.")
    if contrast.sections and not all(contrast.sections.values()):
        found.append(f"{contrast.name}: leave out a section that weighs 0.")
    return found


def measure(contrast: Contrast, units: Mapping[str, Mapping[int, CountedUnits]], benchmark: Benchmark) -> Differences:
    """The differences, in the mean over its cells, on the seeds that all its arms have and in the sections asked for.

    Raises:
        DataError: no seed in common, no pairs of a section, other pairs, or a single pair.
    """
    common = sorted(set.intersection(*(set(units[arm]) for arm in contrast.arms)))
    if not common:
        seeds = " against ".join(str(sorted(units[arm])) for arm in contrast.arms)
        raise DataError(f"{contrast.name}: {' and '.join(contrast.arms)} have no seed in common: {seeds}.")
    at_hand = {arm: {stratum for stratum, _ in units[arm][common[0]].keys} for arm in contrast.arms}
    weights = _stratum_weights(contrast, at_hand, benchmark)
    counted = {arm: [_within(units[arm][seed], weights) for seed in common] for arm in contrast.arms}
    expected = counted[contrast.arms[0]][0]
    for number, seed in enumerate(common):
        for arm, found in counted.items():
            if found[number].keys != expected.keys:
                where = f"of {', '.join(contrast.sections)}" if contrast.sections else "(name the sections to compare)"
                odd = set(found[number].keys) ^ set(expected.keys)
                raise DataError(
                    f"{contrast.name}: {arm} with seed {seed} and {contrast.arms[0]} with seed {common[0]} are not on "
                    f"the same pairs {where}: {len(odd)} are in only one, as {min(odd)[1]!r}."
                )
    if len(expected.keys) < 2:
        raise DataError(f"{contrast.name}: a single pair says nothing about others.")
    cells = contrast.matched
    of_first, of_second = (np.mean([stacked(counted[cell[side]]) for cell in cells], axis=0) for side in (0, 1))
    gains = np.stack([of_first, of_second]) - COIN[benchmark.unit]
    return Differences(of_first - of_second, expected.strata, weights, gains)


def sections_of(benchmark: Benchmark) -> dict[str, Section]:
    """By name, those of the views included; a section of the table comes before one of a view."""
    tables = [section for view in benchmark.views for section in view.sections]
    return {section.name: section for section in (*tables, *benchmark.sections)}


def _stratum_weights(contrast: Contrast, at_hand: Mapping[str, set[str]], benchmark: Benchmark) -> dict[str, float]:
    """Weight of each stratum at hand in the number that the contrast asks for."""
    for arm, strata in at_hand.items():
        for stratum in sorted(strata - benchmark.weights.keys()):
            raise DataError(
                f"{arm} has pairs of {stratum!r}, which {benchmark.name} does not have."
                + did_you_mean(stratum, benchmark.weights)
            )
    if not contrast.sections:
        return share_of(benchmark, np.array(sorted(set().union(*at_hand.values()))))
    sections, weights = sections_of(benchmark), dict[str, float]()
    for name, weight in contrast.sections.items():
        inside = {s.name: s.weight for s in sections[name].subsets}
        for arm, strata in at_hand.items():
            if not strata & inside.keys():
                there = [n for n, section in sections.items() if strata & {s.name for s in section.subsets}]
                raise DataError(f"{contrast.name}: {arm} has no pairs of {name!r}. It has: {', '.join(there)}.")
        found = {n: w for n, w in inside.items() if n in set().union(*at_hand.values())}
        for subset, part in found.items():
            weights[subset] = weights.get(subset, 0.0) + weight * part / math.fsum(found.values())
    return weights


def _within(units: CountedUnits, weights: Mapping[str, float]) -> CountedUnits:
    keep = [stratum in weights for stratum, _ in units.keys]
    return units if all(keep) else CountedUnits(tuple(itertools.compress(units.keys, keep)), units.credit[keep])
