"""What a study says of its claim: its arms judged, and what it could see before it began."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf

from tinyrm.config import ClaimConfig, Pairing, arm_name, claim_of, pairings
from tinyrm.config.claim import ARM, RULES, SEED, Point
from tinyrm.errors import ConfigError, DataError
from tinyrm.evaluation.arms import Seeds
from tinyrm.evaluation.benchmarks import FIXED, Benchmark, benchmark_named, benchmark_of_places
from tinyrm.evaluation.power import detectable_effect
from tinyrm.evaluation.predictions import Predictions
from tinyrm.evaluation.verdicts import Contrast, Finding, Verdict, judge
from tinyrm.report.folders import predictions_of, read_metrics
from tinyrm.report.ranking import in_three_sections, table_of
from tinyrm.report.study import ClaimRow
from tinyrm.sweep import End
from tinyrm.sweep.outcome import TrialRecord
from tinyrm.sweep.study import Study
from tinyrm.types import PreferencePair

MASTER = "multirun.yaml"  # in a sweep's folder: what it was started with


@dataclass(frozen=True)
class Judged:
    """A study's claims and what was found.

    Attributes:
        claim: as the study's YAML has it.
        verdicts: by statement, from its contrasts and `claim.needs`.
        pairings: the contrasts that were judged.
        findings: one of each.
        missing: contrasts that could not be judged, and why.
    """

    claim: ClaimConfig
    verdicts: Mapping[str, Verdict]
    pairings: tuple[Pairing, ...]
    findings: tuple[Finding, ...]
    missing: tuple[str, ...] = ()

    def of(self, statement: str) -> list[Finding]:
        """What decides a statement."""
        return [f for p, f in zip(self.pairings, self.findings, strict=True) if p.statement == statement]

    def lines(self) -> list[str]:
        """For a log: each statement, then its contrasts."""
        said = []
        for statement, verdict in self.verdicts.items():
            said.append(f"{verdict.value.capitalize()}: {statement}")
            said += [f"  {sentence(finding)}" for finding in self.of(statement)]
        return said + [f"Not judged: {reason}" for reason in self.missing]


def sentence(finding: Finding) -> str:
    """A finding in a line, in points of accuracy."""
    contrast, effect = finding.contrast, finding.effect
    wanted = {"better": "", "no_worse": f", at most {points(contrast.margin)} worse", "same": ", the same"}
    return (
        f"{contrast.name}{wanted[contrast.expect]}: {finding.verdict.value}, {signed(effect.value)} "
        f"[{signed(effect.low)}, {signed(effect.high)}] points, Holm p {p_text(finding.p_holm)}"
    )


def points(share: float) -> str:
    """A share of 1 in points of a hundred."""
    return f"{100 * share:.1f}"


def signed(share: float) -> str:
    """The same, with its sign."""
    return "-" if math.isnan(share) else f"{100 * share:+.1f}"


def p_text(p: float) -> str:
    return "-" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def joined(verdicts: Sequence[Verdict], needs: str) -> Verdict:
    """One verdict of several: with `all` the weakest link decides, with `any` the strongest."""
    wanted = all if needs == "all" else any
    against = any if needs == "all" else all
    if verdicts and wanted(v == Verdict.SUPPORTED for v in verdicts):
        return Verdict.SUPPORTED
    if verdicts and against(v == Verdict.REFUTED for v in verdicts):
        return Verdict.REFUTED
    return Verdict.UNDECIDED


# --- before a study


def sections_of(table: Benchmark) -> dict[str, int]:
    """Units by section that a weighted mean over its subsets is worth."""
    worth = {}
    for section in table.sections:
        weight = math.fsum(s.weight for s in section.subsets)
        spread = math.fsum(s.weight**2 / s.size for s in section.subsets if s.size)
        worth[section.name] = round(weight**2 / spread) if spread else 0
    return worth


def table_for(name: str, pairs: Sequence[PreferencePair]) -> Benchmark:
    """What a study will be counted by, before it has predictions."""
    return in_three_sections(benchmark_named(name, pairs))


def detectable(claim: ClaimConfig, paired: Sequence[Pairing], units: Mapping[str, int], seeds: int) -> list[float]:
    """The smallest true effect that each contrast can be expected to show.

    Args:
        units: by section, see :func:`sections_of`.
        seeds: of each arm.
    """
    overall = {name: 1 / len(units) for name in units}
    return [
        detectable_effect(
            {name: n for name, n in units.items() if name in (pairing.sections or overall)},
            pairing.sections or overall,
            seeds,
            discordance=claim.discordance,
            # That of a difference: two arms vary each by themselves, a rule not at all.
            seed_sd=claim.seed_sd * math.sqrt(1 if pairing.second in RULES else 2),
            power=claim.power,
            comparisons=len(paired),
            cells=len(pairing.cells),
        )
        for pairing in paired
    ]


def expected_lines(claim: ClaimConfig, points_of_study: Sequence[Point], units: Mapping[str, int]) -> list[str]:
    """What a study says of itself before it begins."""
    paired = pairings(claim, points_of_study)
    seeds = len({str(point.get(SEED)) for point in points_of_study})
    if not paired:
        return []
    head = (
        f"Claim: {claim.statement} Smallest difference that {claim.power:.0%} of such studies would show, if on "
        f"{claim.discordance:.0%} of test pairs one of two arms alone is right and seeds differ by "
        f"{points(claim.seed_sd)} points:"
    )
    effects = detectable(claim, paired, units, seeds)
    rows = [f"  {p.name}: {points(effect)} points" for p, effect in zip(paired, effects, strict=True)]
    return [head, *rows]


# --- after it


def claim_in(folder: Path) -> ClaimConfig:
    """The claim of the sweep in `folder`; empty where it makes none."""
    path = folder / MASTER
    if not path.is_file():
        return ClaimConfig()
    loaded = OmegaConf.load(path)
    return claim_of(loaded) if isinstance(loaded, DictConfig) else ClaimConfig()


def point_of(record: TrialRecord) -> dict[str, str]:
    """The parameters of a trial as typed: a storage keeps numbers as numbers."""
    typed = {o.partition("=")[0].lstrip("+"): o.partition("=")[2] for o in record.overrides}
    return {key: str(value) if key == ARM else typed.get(key, str(value)) for key, value in record.params.items()}


def judged(study: Study) -> Judged | None:
    """The claim of a study, judged by the trials that are complete; None where it makes none."""
    claim = claim_in(Path(study.header()["folder"]))
    if not claim.contrasts:
        return None
    records = study.records()
    arms, benchmarks = arms_tested([r for r in records if r.state == End.COMPLETE])
    paired = pairings(claim, [point_of(r) for r in records if r.overrides or r.params])
    return judge_arms(claim, paired, arms, benchmarks)


def claim_rows(study: Study) -> tuple[list[ClaimRow], list[str]]:
    """For a report: a row a contrast, and what could not be judged."""
    try:
        found = judged(study)
    except (ConfigError, DataError) as error:
        return [], [f"The claim of {study.name} is not judged: {error}"]
    if found is None:
        return [], []
    rows = []
    for pairing, finding in zip(found.pairings, found.findings, strict=True):
        whole = found.verdicts[pairing.statement].value
        told = (pairing.name, finding.verdict.value, finding.effect, finding.p_holm, finding.detectable)
        rows.append(ClaimRow(study.name, pairing.statement, whole, *told))
    return rows, [f"Not judged in {study.name}: {reason}." for reason in found.missing]


def arms_tested(complete: Sequence[TrialRecord]) -> tuple[dict[str, dict[int, Predictions]], set[str]]:
    """The predictions of finished trials by arm and seed, and on which benchmarks they were tested."""
    arms: dict[str, dict[int, Predictions]] = {}
    benchmarks = set()
    for record in complete:
        found = predictions_of(record.folder)
        if found is not None and record.same_as is None:
            seed = int(str(record.params.get(SEED, record.info.get("seed", 0))))
            arms.setdefault(arm_name(point_of(record)), {})[seed] = found
            benchmarks.add(str(read_metrics(record.folder).get("benchmark")))
    return arms, benchmarks


def judge_arms(
    claim: ClaimConfig, paired: Sequence[Pairing], arms: Mapping[str, Seeds], benchmarks: set[str]
) -> Judged:
    """Judge what can be judged, all contrasts together."""
    reasons = {p.name: _why_not(p, arms, benchmarks) for p in paired}
    there = [p for p in paired if not reasons[p.name]]
    known = dict(arms)
    contrasts = []
    for pairing in there:
        cells = []
        for first, other in pairing.cells:
            second = f"{other} ({first})" if other in RULES else other
            if other in RULES:
                known[second] = {seed: by_rule(other, own) for seed, own in arms[first].items()}
            cells.append((first, second))
        first, second = cells[0] if len(cells) == 1 else (pairing.first, pairing.second)
        how = (pairing.expect, pairing.margin, pairing.sections, tuple(cells))
        contrasts.append(Contrast(pairing.name, first, second, *how))
    findings = judge(known, contrasts, table_of_arms(next(iter(benchmarks)), known)) if there else []
    by_name = {f.contrast.name: f.verdict for f in findings}
    verdicts = {
        statement: joined(
            [by_name.get(p.name, Verdict.UNDECIDED) for p in paired if p.statement == statement], claim.needs
        )
        for statement in dict.fromkeys(p.statement for p in paired)
    }
    missing = tuple(f"{name}: {reason}" for name, reason in reasons.items() if reason)
    return Judged(claim, verdicts, tuple(there), tuple(findings), missing)


def _why_not(pairing: Pairing, arms: Mapping[str, Seeds], benchmarks: set[str]) -> str | None:
    """Why a contrast cannot be judged."""
    if len(benchmarks) > 1:
        return f"trials were tested on several benchmarks ({', '.join(sorted(benchmarks))})"
    named = [arm for arm in dict.fromkeys(itertools.chain(*pairing.cells)) if arm not in RULES]
    for arm in named:
        if arm not in arms:
            return f"no finished trial of {arm}"
    if not set.intersection(*(set(arms[arm]) for arm in named)):
        return f"{' and '.join(named)} have no seed in common"
    return None


def table_of_arms(name: str, arms: Mapping[str, Seeds]) -> Benchmark:
    """What the arms are counted by; of the data's own pairs, with those of every arm: a specialist has fewer."""
    tested = [predictions for seeds in arms.values() for predictions in seeds.values()]
    if name in FIXED:
        return table_of(name, tested[0])
    places = {pair: at for p in tested for pair, at in zip(p.id, zip(p.section, p.subset, strict=True), strict=True)}
    return benchmark_of_places(places.values())


def by_rule(rule: str, own: Predictions) -> Predictions:
    """What a rule says of the same pairs: nothing at all (a tie), or that the longer or shorter response is better."""
    longer = np.sign(own.chosen_words - own.rejected_words).astype(np.float64)
    odds = {"chance": 0 * longer, "longer wins": longer, "shorter wins": -longer}[rule]
    verdicts = tuple({1: "chosen", -1: "rejected", 0: "tie"}[int(x)] for x in odds)
    return replace(
        own, log_odds=odds, log_odds_chosen_first=odds, log_odds_chosen_second=odds, verdict=verdicts,
        order_consistent=np.ones(len(own), dtype=bool),
    )  # fmt: skip
