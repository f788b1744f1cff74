"""Arms: trials of one configuration together, ordered by dev alone, then reported and compared on test."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinyrm.errors import DataError
from tinyrm.evaluation.arms import ArmComparison, benchmark_of, compare_arms, over_seeds
from tinyrm.evaluation.benchmarks import Benchmark
from tinyrm.evaluation.effects import SEED, frontier
from tinyrm.evaluation.metrics import undefined, wilson
from tinyrm.evaluation.predictions import Predictions
from tinyrm.report.folders import THREE, predictions_of
from tinyrm.report.study import ArmRow, SectionScore, SweepRow, TrialRow
from tinyrm.sweep import End
from tinyrm.types import Metric

MOST_COMPARED = 12  # arms in the matrix: 66 comparisons to correct for
_MOST_READ = 60  # arms of several seeds whose predictions are read
_LONGEST_VALUE = 32  # characters of a value in a name
COSTS = ("trained_parameters", "train_seconds", "pairs_per_second")


def arm_names(trials: Sequence[TrialRow], prefix: str = "") -> list[TrialRow]:
    """The complete trials of one sweep with the names of their arms: what varies, but for the seed."""
    keys = list(dict.fromkeys(key for t in trials for key in t.params if key != SEED))
    last = [key.rpartition(".")[2] for key in keys]
    shown = {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}
    names: dict[str, str] = {}

    def name_of(trial: TrialRow) -> str:
        whole = repr([(key, trial.params.get(key)) for key in keys])
        if whole not in names:
            parts = [f"{shown[key]}={_value(trial.params[key])}" for key in keys if key in trial.params]
            short = prefix + (" ".join(parts) or "the one configuration")
            taken = set(names.values())
            copies = (f"{short} ({n})" for n in range(2, len(taken) + 3))
            names[whole] = short if short not in taken else next(c for c in copies if c not in taken)
        return names[whole]

    return [replace(t, arm=name_of(t)) if t.state == End.COMPLETE and t.dev is not None else t for t in trials]


def _value(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"


def rank_arms(trials: Sequence[TrialRow], sweeps: Sequence[SweepRow], benchmark: str | None) -> list[ArmRow]:
    """Every arm, best by dev first.

    Args:
        benchmark: of all of them; None where they have several or none.
    """
    of_sweep = {s.name: s for s in sweeps}
    alike: dict[str, dict[int, TrialRow]] = {}
    for trial in trials:
        if trial.arm is not None:
            same = alike.setdefault(trial.arm, {})
            if trial.same_as is None or not same:  # a result taken over is no repetition
                same.setdefault(trial.seed if trial.seed is not None else -1 - trial.number, trial)
    arms = [_arm(name, list(group.values()), of_sweep) for name, group in alike.items()]
    together = len({tuple(s.metrics.items()) for s in sweeps}) == 1
    order = [s.name for s in sweeps]
    ranked: list[ArmRow] = []
    for part in [arms] if together else [[a for a in arms if a.sweep == name] for name in order]:
        ranked += _ordered(part, of_sweep, trials)
    read = 0
    for position, arm in enumerate(ranked):
        if arm.seeds > 1 and arm.test is not None and benchmark is not None and read < _MOST_READ:
            read += 1
            ranked[position] = replace(arm, test=_test_over_seeds(arm, trials, benchmark) or arm.test)
    return _with_frontiers([replace(arm, rank=number) for number, arm in enumerate(ranked, 1)])


def _arm(name: str, trials: Sequence[TrialRow], sweeps: Mapping[str, SweepRow]) -> ArmRow:
    first, values = trials[0], [t.dev.value for t in trials if t.dev is not None]
    tests = [t.test for t in trials if t.test is not None]
    sections = {
        name: _mean_section([t.sections[name] for t in tests if name in t.sections])
        for name in (tests[0].sections if tests else {})
    }
    consistent = _mean([t.order_consistent for t in tests])
    flips = None
    if consistent is not None and not math.isnan(consistent.value):
        flips = Metric(1 - consistent.value, consistent.n, 1 - consistent.high, 1 - consistent.low)
    return ArmRow(
        name=name,
        sweep=first.sweep,
        params={k: v for k, v in first.params.items() if k != SEED},
        rank=0,
        trials=tuple(t.number for t in trials),
        seeds=len(trials),
        dev=_dev(trials, next(iter(sweeps[first.sweep].metrics))),
        dev_range=(min(values), max(values)),
        test=_mean([t.overall.accuracy for t in tests]),
        sections=sections,
        flips=flips,
        chosen_longer=_mean([t.chosen_longer for t in tests]),
        chosen_shorter=_mean([t.chosen_shorter for t in tests]),
        cost={
            c: math.fsum(t.values[c] for t in trials) / len(trials) for c in COSTS if all(c in t.values for t in trials)
        },
        frontier={},
        on_front=False,
        line=first.line,
    )


def _dev(trials: Sequence[TrialRow], metric: str) -> Metric:
    known = [t.dev for t in trials if t.dev is not None]
    if len(known) == 1:
        return known[0]
    value, n = math.fsum(m.value for m in known) / len(known), min(m.n for m in known)
    if metric == "dev_accuracy" and n and 0 <= value <= 1:
        return wilson(value * n, n)
    return Metric(value, n, math.nan, math.nan)


def _mean(parts: Sequence[Metric]) -> Metric | None:
    """Mean over seeds of shares of the same units: its interval is that of one seed's, over units alone."""
    known = [m for m in parts if not math.isnan(m.value)]
    if not parts or len(known) == 1:
        return known[0] if known else None
    if not known:
        return undefined()
    value, n = math.fsum(m.value for m in known) / len(known), min(m.n for m in known)
    # Widths of weighted means are not Wilson's: that of a single seed is kept, about the mean.
    low = value - math.fsum(m.value - m.low for m in known) / len(known)
    high = value + math.fsum(m.high - m.value for m in known) / len(known)
    return Metric(value, n, low, high)


def _mean_section(parts: Sequence[SectionScore]) -> SectionScore:
    accuracy = _mean([p.accuracy for p in parts]) or undefined()
    return SectionScore(accuracy, parts[0].longer_wins, parts[0].shorter_wins)


def _ordered(arms: Sequence[ArmRow], sweeps: Mapping[str, SweepRow], trials: Sequence[TrialRow]) -> list[ArmRow]:
    """By the first metric; with several, those on the Pareto front first."""
    if not arms:
        return []
    metrics = sweeps[arms[0].sweep].metrics
    place = {(t.sweep, t.number): t for t in trials}

    def toward(arm: ArmRow) -> list[float]:
        own = [place[arm.sweep, n].values for n in arm.trials]
        means = [math.fsum(v.get(m, math.nan) for v in own) / len(own) for m in metrics]
        return [x if d == "maximize" else -x for x, d in zip(means, metrics.values(), strict=True)]

    points = {arm.name: toward(arm) for arm in arms}

    def beaten(point: list[float]) -> bool:
        return any(p != point and all(a >= b for a, b in zip(p, point, strict=True)) for p in points.values())

    if len(metrics) > 1:
        arms = [replace(arm, on_front=not beaten(points[arm.name])) for arm in arms]
    return sorted(arms, key=lambda a: (not a.on_front, -points[a.name][0], a.trials[0]))


def _test_over_seeds(arm: ArmRow, trials: Sequence[TrialRow], benchmark: str) -> Metric | None:
    seeds = _seeds(arm, trials)
    if len(seeds) < arm.seeds:
        return None
    try:
        return over_seeds(seeds, table_of(benchmark, next(iter(seeds.values()))))
    except DataError:
        return None


def _seeds(arm: ArmRow, trials: Sequence[TrialRow]) -> dict[int, Predictions]:
    """Predictions by seed, as far as they are there."""
    found = {}
    for trial in trials:
        if trial.sweep == arm.sweep and trial.number in arm.trials:
            read = predictions_of(Path(trial.folder))
            if read is not None:
                found[trial.seed if trial.seed is not None else 0] = read
    return found


def table_of(name: str, predictions: Predictions) -> Benchmark:
    """The benchmark whose overall number metrics.json has: for RewardBench the view in the paper's sections."""
    return in_three_sections(benchmark_of(name, predictions))


def in_three_sections(table: Benchmark) -> Benchmark:
    """A benchmark by the paper's sections, where it has a view of them."""
    view = next((v for v in table.views if v.name == THREE), None)
    return table if view is None else replace(table, sections=view.sections, views=())


def compared_arms(
    arms: Sequence[ArmRow], trials: Sequence[TrialRow], benchmark: str | None
) -> tuple[list[str], list[ArmComparison], list[str]]:
    """The best arms by dev, each pair of them compared on test; and what must be said of it.

    The best of each sweep is among them.
    """
    if benchmark is None or len(arms) < 2:
        return [], [], []
    leaders = {arm.name for arm in arms if arm is next(a for a in arms if a.sweep == arm.sweep)}
    room = MOST_COMPARED - len(leaders)
    others = [a.name for a in arms if a.name not in leaders][: max(0, room)]
    chosen = [a for a in arms if a.name in leaders or a.name in others]
    read = {arm.name: _seeds(arm, trials) for arm in chosen}
    read = {name: seeds for name, seeds in read.items() if seeds}
    said = []
    if len(chosen) < len(arms):
        said.append(f"The matrix compares the {len(chosen)} best of {len(arms)} arms by dev.")
    if len(read) < 2:
        return [], [], said
    try:
        found = compare_arms(read, table_of(benchmark, next(iter(next(iter(read.values())).values()))))
    except DataError as error:
        return [], [], [*said, f"The arms are not compared pair by pair: {error}"]
    return list(read), found, said


def _with_frontiers(arms: list[ArmRow]) -> list[ArmRow]:
    """Mark, cost by cost, the arms than which none is cheaper and better on test."""
    marks: dict[str, dict[str, bool]] = {arm.name: {} for arm in arms}
    for cost in COSTS:
        known = [a for a in arms if cost in a.cost and a.test is not None]
        sign = -1 if cost == "pairs_per_second" else 1
        flags = frontier([sign * a.cost[cost] for a in known], _values(a.test for a in known))
        for arm, flag in zip(known, flags, strict=True):
            marks[arm.name][cost] = flag
    return [replace(arm, frontier=marks[arm.name]) for arm in arms]


def _values(metrics: Iterable[Metric | None]) -> list[float]:
    return [-math.inf if m is None or math.isnan(m.value) else m.value for m in metrics]
