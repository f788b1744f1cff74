"""What a report holds: one typed value, made once, that every form of it (page, Markdown, JSON, pictures) shows.

`--format json` writes exactly this. All texts in it have gone through :func:`tinyrm.masking.masked`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from tinyrm.evaluation.arms import ArmComparison
from tinyrm.evaluation.effects import Effects
from tinyrm.evaluation.probes import Probes
from tinyrm.types import Metric


@dataclass(frozen=True)
class SectionScore:
    """A section (or the whole) of a trial's or an arm's test, with what the length rules get on the same pairs."""

    accuracy: Metric
    longer_wins: float
    shorter_wins: float


@dataclass(frozen=True)
class TestScores:
    """What `metrics.json` says of a trial on test.

    Attributes:
        overall: mean of the sections.
        sections: by name; for RewardBench the three of the paper.
        order_consistent: share of units whose verdict is the same in both orders.
        chosen_longer, chosen_shorter: accuracy where the better response has more (fewer) words.
    """

    overall: SectionScore
    sections: dict[str, SectionScore]
    order_consistent: Metric
    chosen_longer: Metric
    chosen_shorter: Metric


@dataclass(frozen=True)
class Look:
    """One evaluation of dev while a trial trained."""

    step: float
    epoch: float
    accuracy: float
    loss: float


@dataclass(frozen=True)
class TrialRow:
    """A trial.

    Attributes:
        arm: name of its arm; None where it has no result.
        values: what the sweep was told: dev_accuracy, trained_parameters, pairs_per_second, ...
        dev: of the metric that the sweep goes by, with the interval it has.
        test: None where it has no result, or its folder is gone.
        line: what to type to run it alone.
    """

    sweep: str
    number: int
    state: str
    params: dict[str, Any]
    seed: int | None
    arm: str | None
    values: dict[str, float]
    dev: Metric | None
    test: TestScores | None
    curve: tuple[Look, ...]
    seconds: float
    attempt: int
    same_as: int | None
    repeated_as: int | None
    message: str | None
    traceback: str | None
    line: str
    folder: str


@dataclass(frozen=True)
class ArmRow:
    """A configuration over its seeds. The order of arms is that of dev alone; test is only reported.

    Attributes:
        rank: 1 for the best by dev; with several metrics those on the Pareto front come first.
        trials: their numbers.
        dev: mean over seeds of the metric that the sweep goes by; its interval is over the dev pairs alone.
        dev_range: smallest and largest over seeds.
        test: mean over seeds; with several seeds the interval is for other pairs and other seeds, and None of it is
            used to choose.
        sections: the same by section.
        flips: share of test units whose verdict changes with the order.
        cost: trained_parameters, pairs_per_second, train_seconds: means over seeds.
        frontier: by each cost, whether no arm is as cheap and better on test.
    """

    name: str
    sweep: str
    params: dict[str, Any]
    rank: int
    trials: tuple[int, ...]
    seeds: int
    dev: Metric
    dev_range: tuple[float, float]
    test: Metric | None
    sections: dict[str, SectionScore]
    flips: Metric | None
    chosen_longer: Metric | None
    chosen_shorter: Metric | None
    cost: dict[str, float]
    frontier: dict[str, bool]
    on_front: bool
    line: str


@dataclass(frozen=True)
class ArmProbes:
    """What is behind an arm's test accuracy.

    Attributes:
        rank, arm, label: of the arm.
        trial: number of the one whose predictions were probed, the arm's first.
    """

    rank: int
    arm: str
    label: str
    trial: int
    probes: Probes


@dataclass(frozen=True)
class Importance:
    """How much a parameter matters to the sweep's metric, by Optuna.

    Attributes:
        fanova: share of the variance over all of the space; None where it cannot be had.
        ped_anova: share of what tells the best tenth from the rest; None where it cannot be had.
    """

    param: str
    fanova: float | None
    ped_anova: float | None


@dataclass(frozen=True)
class SweepRow:
    """One sweep of the report.

    Attributes:
        question: of its YAML, or made from what varies.
        metrics: by which it goes: name -> maximize | minimize.
        command: what was typed.
        states: how many trials are in each.
        open: trials that wait, run, or have not begun.
        adaptive: whether its sampler chose points by earlier results, so that levels were not tried alike.
        effects: by measure, the sweep's metric first.
        config: what does not vary, by dotted key.
    """

    name: str
    question: str
    metrics: dict[str, str]
    sampler: str
    command: str
    folder: str
    created: str
    states: dict[str, int]
    open: int
    adaptive: bool
    effects: tuple[Effects, ...]
    importance: tuple[Importance, ...]
    config: dict[str, Any]


@dataclass(frozen=True)
class Ending:
    """Trials that ended without a result for the same reason."""

    sweep: str
    state: str
    message: str
    trials: tuple[int, ...]
    traceback: str | None


@dataclass(frozen=True)
class ClaimRow:
    """A contrast that decides a claim.

    Attributes:
        statement: the claim; `claim` is its verdict, from all its contrasts.
        contrast, verdict: of this row; `effect` on test, first minus second.
        detectable: the smallest true effect that a study as large can be expected to show.
    """

    sweep: str
    statement: str
    claim: str
    contrast: str
    verdict: str
    effect: Metric
    p_holm: float
    detectable: float


@dataclass(frozen=True)
class StudyReport:
    """Everything a report shows.

    Attributes:
        title: names of the sweeps.
        command: makes this report again.
        made: when, in UTC.
        storage: where the studies are, passwords masked.
        benchmark: what test is; `unit` what it counts.
        arms: best by dev first.
        compared: names of the arms in `comparisons`.
        comparisons: each pair of the best arms, on test.
        probes: of the best arms by dev, as far as their predictions are there.
        endings: failed, pruned and other trials without a result.
        references: figures of others, by name and section.
        comparable: whether `references` are on the same benchmark.
        config_differences: between the sweeps, by dotted key: one value a sweep.
        environment: code, versions and hardware of the trials; more than one value where they differ.
        notes: what a reader must know.
        claims: what the sweeps say of the claims that they were made for.
    """

    title: str
    command: str
    made: str
    storage: str
    benchmark: str | None
    unit: str
    sweeps: tuple[SweepRow, ...]
    arms: tuple[ArmRow, ...]
    trials: tuple[TrialRow, ...]
    compared: tuple[str, ...]
    comparisons: tuple[ArmComparison, ...]
    probes: tuple[ArmProbes, ...]
    endings: tuple[Ending, ...]
    references: dict[str, dict[str, float]]
    reference_note: str
    comparable: bool
    config_differences: dict[str, tuple[Any, ...]]
    environment: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]
    claims: tuple[ClaimRow, ...] = ()

    @property
    def best(self) -> ArmRow | None:
        """The arm that dev chooses."""
        return self.arms[0] if self.arms else None

    def as_json(self) -> dict[str, Any]:
        """Plain values for strict JSON: what is not known is null."""
        return {"version": 1, **plain(self)}


def plain(value: Any) -> Any:
    """Dataclasses as mappings, NaN as None, paths as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, Enum | Path):
        return str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
