"""Verdicts on claims about arms: supported, refuted or undecided, with effect and interval.

The rules, for m contrasts judged together at 5% (d is the effect, "the interval" the one that holds for all m at once):

- `better` claims d > 0. Supported: the two-sided test of d = 0, Holm-corrected, rejects, and d > 0. Refuted: it is not,
  and the interval lies below `margin`: an improvement that matters is excluded. (So an effect that is shown but smaller
  than the margin is supported: the interval says how small.)
- `no_worse` claims d > -margin (non-inferiority). Supported: the test of d <= -margin, Holm-corrected, rejects (for a
  single contrast: the 95% interval lies above -margin). Refuted: the interval lies below -margin.
- `same` claims |d| < margin (equivalence). Supported: both one-sided tests (TOST: Schuirmann 1987, J. Pharmacokinetics
  and Biopharmaceutics 15:657; Lakens 2017, Social Psychological and Personality Science 8:355) reject, Holm-corrected
  (for a single contrast: the 90% interval lies within the margin). Refuted: the interval lies outside the margin.
- Else undecided: no difference was *seen*, which is not the same as shown to be none.

So in at most 5% of studies any false claim is supported, whichever of the claims are false (Holm 1979), and in at most
5% any true one is refuted. Multiple claims in language processing: Dror, Baumer, Bogomolov & Reichart 2017, TACL 5:471;
which test for what: Dror, Baumer, Shlomov & Reichart 2018, ACL, p. 1383.

Effects, intervals and tests are for other pairs *and* other seeds (:mod:`tinyrm.evaluation.crossed`). They take pairs
for independent: pairs that share a prompt are less than that. They know the training data of the study, and no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tinyrm.errors import ConfigError, DataError, did_you_mean
from tinyrm.evaluation.arms import CountedUnits, Seeds, holm, share_of, units_of
from tinyrm.evaluation.benchmarks import Benchmark, Section
from tinyrm.evaluation.crossed import Crossed, crossed
from tinyrm.evaluation.paired import mcnemar, two_way_bootstrap
from tinyrm.evaluation.power import smallest_effect
from tinyrm.types import Metric

ALPHA = 0.05
EXPECTATIONS = ("better", "no_worse", "same")


class Verdict(StrEnum):
    """What a study says of a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


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
    """

    name: str
    first: str
    second: str
    expect: str
    margin: float
    sections: Mapping[str, float] = field(default_factory=dict)


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


@dataclass(frozen=True)
class Finding:
    """What was found on one contrast.

    Attributes:
        contrast: the claim.
        effect: with its 95% interval, for other pairs and other seeds, for this contrast alone.
        p_value: of the test on which the verdict rests, uncorrected: `better`: two-sided against no effect; `no_worse`:
            against an effect of -margin or less (doubled, so that it agrees with the 95% interval); `same`: TOST.
        p_holm: corrected for the contrasts judged together.
        corrected: the effect with the interval that holds for all contrasts judged together (Bonferroni); refutations
            rest on it. With one contrast it is that of `effect`.
        bootstrap: the effect with a 95% percentile interval, pairs drawn within strata and seeds drawn, both at once
            (Owen 2007, Annals of Applied Statistics 1:386). It counts seed x pair noise twice, and of few seeds it sees
            too little spread; it is a second opinion, no verdict rests on it.
        mcnemar: the sign test over units.
        seeds: how many both arms have in common; see `scope`.
        n: units.
        detectable: smallest true effect that 80% of studies as large would show, at the level of m contrasts and with
            the variances found.
        equivalent: TOST at 5% within the margin, this contrast alone, whatever was expected.
        verdict: by the rules of this module.
    """

    contrast: Contrast
    effect: Metric
    p_value: float
    p_holm: float
    corrected: Metric
    bootstrap: Metric
    mcnemar: SignTest
    seeds: int
    n: int
    detectable: float
    equivalent: bool
    verdict: Verdict

    @property
    def scope(self) -> str:
        """For what the interval and the tests speak."""
        if self.seeds == 1:
            return "other pairs, these two models only (one seed)"
        return f"other pairs and other seeds ({self.seeds} seeds)"


def judge(
    arms: Mapping[str, Seeds], contrasts: Sequence[Contrast], benchmark: Benchmark, *, resamples: int = 2000
) -> list[Finding]:
    """Judge the contrasts together, each on the seeds that its two arms have in common.

    Arms need not have the same pairs, but in the sections that a contrast asks for the two have. With one common seed
    the seeds are left out of everything (`Finding.scope` says so), and p of `better` is at least that of exact McNemar,
    which does not mind how few units differ.

    Args:
        arms: predictions by arm and seed.
        contrasts: what is claimed; p values are corrected over all of them.
        benchmark: says what is counted and how sections weigh.
        resamples: of the bootstrap.

    Raises:
        ConfigError: a contrast names an arm or section that is not there, expects something unknown, or has a margin
            or weights that cannot be (all problems at once).
        DataError: arms without a seed in common, without pairs of a section, or on different pairs of it.
    """
    problems = [problem for contrast in contrasts for problem in _problems(contrast, arms, benchmark)]
    if problems:
        raise ConfigError(problems)
    wanted = {arm for contrast in contrasts for arm in (contrast.first, contrast.second)}
    units = {arm: {seed: units_of(p, benchmark) for seed, p in arms[arm].items()} for arm in arms if arm in wanted}
    measured = [_measure(contrast, units, benchmark) for contrast in contrasts]
    raw = [_claim_p(contrast, *found) for contrast, found in zip(contrasts, measured, strict=True)]
    return [
        _finding(contrast, *found, p, adjusted, len(contrasts), resamples)
        for contrast, found, p, adjusted in zip(contrasts, measured, raw, holm(raw), strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Differences:
    """Credit of the first minus credit of the second arm."""

    values: NDArray[np.float64]  # (seeds, units)
    strata: NDArray[np.str_]  # (units,)
    weights: dict[str, float]  # of each stratum

    @property
    def interaction(self) -> bool:
        return min(self.weights.values()) < 0

    def signs(self) -> SignTest:
        toward = np.array([np.sign(self.weights[str(name)]) for name in self.strata])
        total = toward * self.values.sum(axis=0)
        better, worse = int(np.sum(total > 1e-9)), int(np.sum(total < -1e-9))
        return SignTest(better, worse, math.nan if self.interaction else mcnemar(better, worse))


def _measure(
    contrast: Contrast, units: Mapping[str, Mapping[int, CountedUnits]], benchmark: Benchmark
) -> tuple[_Differences, Crossed]:
    first, second = units[contrast.first], units[contrast.second]
    common = sorted(first.keys() & second.keys())
    if not common:
        raise DataError(
            f"{contrast.name}: {contrast.first} and {contrast.second} have no seed in common: "
            f"{sorted(first)} against {sorted(second)}."
        )
    weights = _stratum_weights(contrast, [(contrast.first, first), (contrast.second, second)], common, benchmark)
    chosen = {
        (arm, seed): _within(units[arm][seed], weights) for arm in (contrast.first, contrast.second) for seed in common
    }
    keys = chosen[contrast.first, common[0]].keys
    for (arm, seed), other in chosen.items():
        odd = set(other.keys) ^ set(keys)
        if odd:
            where = (
                f"of {', '.join(contrast.sections)}" if contrast.sections else "(all sections; name some to compare)"
            )
            raise DataError(
                f"{contrast.name}: seed {seed} of {arm} and seed {common[0]} of {contrast.first} are not on the same "
                f"pairs {where}: {len(odd)} are in only one, as {min(odd)[1]!r}."
            )
    if len(keys) < 2:
        raise DataError(f"{contrast.name}: a single pair says nothing about others.")
    left, right = (np.stack([chosen[arm, seed].credit for seed in common]) for arm in (contrast.first, contrast.second))
    strata = chosen[contrast.first, common[0]].strata
    return _Differences(left - right, strata, weights), crossed(left - right, strata, weights)


def _within(units: CountedUnits, weights: Mapping[str, float]) -> CountedUnits:
    keep = np.array([stratum in weights for stratum, _ in units.keys], dtype=bool)
    return CountedUnits(tuple(key for key in units.keys if key[0] in weights), units.credit[keep])


def _stratum_weights(
    contrast: Contrast,
    sides: Sequence[tuple[str, Mapping[int, CountedUnits]]],
    common: Sequence[int],
    benchmark: Benchmark,
) -> dict[str, float]:
    """Weight of each stratum at hand in the number that the contrast asks for."""
    at_hand = {arm: {stratum for stratum, _ in seeds[common[0]].keys} for arm, seeds in sides}
    for arm, strata in at_hand.items():
        for stratum in sorted(strata - benchmark.weights.keys()):
            raise DataError(
                f"{arm} has pairs of {stratum!r}, which {benchmark.name} does not have."
                + did_you_mean(stratum, benchmark.weights)
            )
    if not contrast.sections:
        return share_of(benchmark, np.array(sorted(set().union(*at_hand.values()))))
    sections, weights = _sections(benchmark), dict[str, float]()
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


def _sections(benchmark: Benchmark) -> dict[str, Section]:
    """By name, those of the views included; a section of the table comes before one of a view."""
    tables = [section for view in benchmark.views for section in view.sections]
    return {section.name: section for section in (*tables, *benchmark.sections)}


def _claim_p(contrast: Contrast, differences: _Differences, found: Crossed) -> float:
    """Uncorrected p of the test on which 'supported' rests."""
    if contrast.expect == "no_worse":
        return found.p_value(-contrast.margin) if found.value > -contrast.margin else 1.0
    if contrast.expect == "same":
        return _tost(found, contrast.margin)
    p = found.p_value()
    alone = found.seeds == 1 or found.units + found.between <= 0
    return max(p, differences.signs().p_value) if alone and not differences.interaction else p


def _tost(found: Crossed, margin: float) -> float:
    """The larger p of the two one-sided tests: that against the nearer end of the margin."""
    if abs(found.value) >= margin:
        return 1.0 - found.p_value(math.copysign(margin, found.value)) / 2
    return found.p_value(math.copysign(margin, found.value)) / 2


def _finding(
    contrast: Contrast,
    differences: _Differences,
    found: Crossed,
    p: float,
    p_holm: float,
    together: int,
    resamples: int,
) -> Finding:
    corrected = found.interval(ALPHA / together)
    return Finding(
        contrast=contrast,
        effect=found.interval(ALPHA),
        p_value=p,
        p_holm=p_holm,
        corrected=corrected,
        bootstrap=two_way_bootstrap(differences.values, differences.strata, differences.weights, resamples),
        mcnemar=differences.signs(),
        seeds=found.seeds,
        n=found.n,
        detectable=smallest_effect(
            units=found.units,
            noise=found.noise,
            between=max(0.0, found.between - found.noise),
            seeds=found.seeds,
            alpha=ALPHA / together,
            df=found.units_df,
        ),
        equivalent=_tost(found, contrast.margin) < ALPHA,
        verdict=_verdict(contrast, corrected, p_holm),
    )


def _verdict(contrast: Contrast, corrected: Metric, p_holm: float) -> Verdict:
    """The rules at the head of this module."""
    margin, shown = contrast.margin, p_holm < ALPHA
    supported = {"better": shown and corrected.value > 0, "no_worse": shown, "same": shown}[contrast.expect]
    refuted = {
        "better": corrected.high < margin,
        "no_worse": corrected.high < -margin,
        "same": corrected.low > margin or corrected.high < -margin,
    }[contrast.expect]
    return Verdict.SUPPORTED if supported else Verdict.REFUTED if refuted else Verdict.UNDECIDED


def _problems(contrast: Contrast, arms: Mapping[str, Seeds], benchmark: Benchmark) -> list[str]:
    found, sections, total = [], _sections(benchmark), math.fsum(contrast.sections.values())
    for side, arm in (("first", contrast.first), ("second", contrast.second)):
        if arm not in arms:
            found.append(f"{contrast.name}: {side}={arm} is no arm of this study." + did_you_mean(arm, arms))
    if contrast.first == contrast.second:
        found.append(f"{contrast.name}: {contrast.first} is compared with itself.")
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
    if contrast.sections and min(abs(total - 1), abs(total)) > 0.005:
        found.append(f"{contrast.name}: weights of sections sum to 1 (a mean) or 0 (an interaction), got {total:g}.")
    if contrast.sections and not all(contrast.sections.values()):
        found.append(f"{contrast.name}: leave out a section that weighs 0.")
    return found
