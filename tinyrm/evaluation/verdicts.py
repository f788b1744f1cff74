"""Verdicts on claims about arms: supported, refuted or undecided, with effect and interval.

The rules, for m contrasts judged together at 5% (d is the effect, "the interval" the one that holds for all m at once):

- `better` claims d > 0. Supported: the two-sided test of d = 0, Holm-corrected, rejects, and d > 0. Refuted: it is not,
  and the interval lies below `margin`: an improvement that matters is excluded, a smaller one is not. (An effect that
  is shown but smaller than the margin is supported: the interval says how small.)
- `no_worse` claims d > -margin (non-inferiority). Supported: the test of d <= -margin, Holm-corrected, rejects (for a
  single contrast: the 95% interval lies above -margin). Refuted: the interval lies below -margin.
- `same` claims |d| < margin (equivalence). Supported: both one-sided tests (TOST: Schuirmann 1987, J. Pharmacokinetics
  and Biopharmaceutics 15:657; Lakens 2017, Social Psychological and Personality Science 8:355) reject, Holm-corrected
  (for a single contrast: the 90% interval lies within the margin). Refuted: the interval lies outside the margin.
- Else undecided: no difference was *seen*, which is not the same as shown to be none.
- Where neither arm is shown to be better than guessing there was nothing to lose or to gain, so that a difference that
  is missing says nothing: what would be supported as `no_worse` or `same`, or refuted as `better`, is then undecided.
  (Assay sensitivity: ICH E10 2000, Choice of control group, section 1.5.)

So at most 5% of studies support any false claim, however many of their claims are false (Holm 1979, Scand. J.
Statistics 6:65), and at most 5% exclude anything that is true (Bonferroni): as far as the tests keep their levels, see
:mod:`tinyrm.evaluation.crossed`. On several claims and on choosing tests in this field: Dror, Baumer, Bogomolov &
Reichart 2017, TACL 5:471; Dror, Baumer, Shlomov & Reichart 2018, ACL, p. 1383.

Effects, intervals and tests are for other pairs *and* other seeds. They take pairs for independent (those that share a
prompt are less than that) and want some tens of pairs on which the arms differ. They know the training data of the
study, and no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tinyrm.errors import ConfigError
from tinyrm.evaluation.arms import Seeds, holm, units_of
from tinyrm.evaluation.benchmarks import Benchmark
from tinyrm.evaluation.contrasts import Contrast, Differences, SignTest, measure, problems_of
from tinyrm.evaluation.crossed import Crossed
from tinyrm.evaluation.paired import two_way_bootstrap
from tinyrm.evaluation.power import smallest_effect
from tinyrm.types import Metric

__all__ = ["Contrast", "Finding", "SignTest", "Verdict", "judge"]

ALPHA = 0.05


class Verdict(StrEnum):
    """What a study says of a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    UNDECIDED = "undecided"


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
        learnt: whether one of the arms is shown to be better than guessing where they are compared.
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
    learnt: bool
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
    """Judge the contrasts together, each on the seeds that its arms have in common.

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
    problems = [problem for contrast in contrasts for problem in problems_of(contrast, arms, benchmark)]
    if problems:
        raise ConfigError(problems)
    wanted = {arm for contrast in contrasts for arm in contrast.arms}
    units = {arm: {seed: units_of(p, benchmark) for seed, p in arms[arm].items()} for arm in arms if arm in wanted}
    differences = [measure(contrast, units, benchmark) for contrast in contrasts]
    measured = [(each, each.crossed()) for each in differences]
    raw = [_claim_p(contrast, *found) for contrast, found in zip(contrasts, measured, strict=True)]
    return [
        _finding(contrast, *found, p, adjusted, len(contrasts), resamples)
        for contrast, found, p, adjusted in zip(contrasts, measured, raw, holm(raw), strict=True)
    ]


def _claim_p(contrast: Contrast, differences: Differences, found: Crossed) -> float:
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
    differences: Differences,
    found: Crossed,
    p: float,
    p_holm: float,
    together: int,
    resamples: int,
) -> Finding:
    corrected, learnt = found.interval(ALPHA / together), differences.learnt(ALPHA)
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
        learnt=learnt,
        verdict=_verdict(contrast, corrected, p_holm, learnt),
    )


def _verdict(contrast: Contrast, corrected: Metric, p_holm: float, learnt: bool) -> Verdict:
    """The rules at the head of this module."""
    margin, shown = contrast.margin, p_holm < ALPHA
    supported = {"better": shown and corrected.value > 0, "no_worse": shown, "same": shown}[contrast.expect]
    refuted = {
        "better": corrected.high < margin,
        "no_worse": corrected.high < -margin,
        "same": corrected.low > margin or corrected.high < -margin,
    }[contrast.expect]
    if not learnt and (refuted if contrast.expect == "better" else supported):
        return Verdict.UNDECIDED
    return Verdict.SUPPORTED if supported else Verdict.REFUTED if refuted else Verdict.UNDECIDED
