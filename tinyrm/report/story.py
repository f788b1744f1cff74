"""The report in a few sentences, the same in every form of it. Plain text: whoever prints it escapes it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tinyrm.evaluation.effects import SEED, Effects
from tinyrm.report.study import ArmRow, StudyReport
from tinyrm.types import Metric


def share(metric: Metric | None) -> str:
    """`85.2 [81.0, 88.6]`, in percent."""
    if metric is None or math.isnan(metric.value):
        return "-"
    if math.isnan(metric.low):
        return f"{100 * metric.value:.1f}"
    return f"{100 * metric.value:.1f} [{100 * metric.low:.1f}, {100 * metric.high:.1f}]"


def number(metric: Metric | None) -> str:
    """`0.6931 [0.6520, 0.7310]`, for what is no share."""
    if metric is None or math.isnan(metric.value):
        return "-"
    if math.isnan(metric.low):
        return amount(metric.value)
    return f"{amount(metric.value)} [{amount(metric.low)}, {amount(metric.high)}]"


def amount(value: float) -> str:
    """A number in a table: `22,744,506`, `42.3`, `0.6931`."""
    if math.isnan(value):
        return "-"
    digits = next((d for bound, d in ((1000, 0), (10, 1), (1, 2)) if abs(value) >= bound), 4)
    return f"{value:,.{digits}f}"


def points(difference: Metric) -> str:
    """`+1.2 [-0.3, +2.7]`, in points of a hundred."""
    value, low, high = (100 * x for x in (difference.value, difference.low, difference.high))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def p_value(p: float) -> str:
    """`p = 0.013`, `p < 0.0001`."""
    if math.isnan(p):
        return "no p, nothing left over to test against"
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def dev(report: StudyReport, arm: ArmRow) -> str:
    """An arm on dev: in percent where that is an accuracy."""
    metric = chosen_by(report, arm)
    return share(arm.dev) if metric == "dev_accuracy" else number(arm.dev)


def chosen_by(report: StudyReport, arm: ArmRow) -> str:
    """The metric by which an arm's sweep goes."""
    return next(iter(next(s for s in report.sweeps if s.name == arm.sweep).metrics))


def answers(report: StudyReport) -> list[tuple[str, str]]:
    """(question, answer) pairs: which is best, what mattered, are we sure, what it likes, how it went."""
    found = []
    best = report.best
    if best is not None:
        found.append(("Best by dev", _best(report, best)))
        found += [
            (f"What mattered{f' in {s.name}' if len(report.sweeps) > 1 else ''}", _mattered(s.effects))
            for s in report.sweeps
            if s.effects and s.effects[0].main
        ]
        if report.comparisons:
            found.append(("Are we sure", _sure(report, best)))
        if best.flips is not None and not math.isnan(best.flips.value):
            found.append(("What it likes", _likes(best)))
    found.append(("How it went", _went(report)))
    return found


def _best(report: StudyReport, best: ArmRow) -> str:
    seeds = f"mean of {best.seeds} seeds" if best.seeds > 1 else "one seed"
    tested = (
        f"on test, which chose nothing, {share(best.test)}% ({best.test.n:,} {report.unit}s)"
        if best.test
        else "no test numbers"
    )
    unit = "%" if chosen_by(report, best) == "dev_accuracy" else ""
    return f"{best.name}: {chosen_by(report, best)} {dev(report, best)}{unit}, {seeds}; {tested}."


def _mattered(effects: Sequence[Effects]) -> str:
    told = []
    for found in effects:
        parts = [
            f"{e.factors[0]} {100 * e.share:.0f}% ({p_value(e.p_value)})" for e in found.main if e.factors[0] != SEED
        ]
        parts += [f"seeds {100 * e.share:.0f}%" for e in found.main if e.factors == (SEED,)]
        told.append(f"Of the variance of {found.measure} over {found.n} trials: {', '.join(parts)}.")
    return " ".join(told)


def _sure(report: StudyReport, best: ArmRow) -> str:
    differing = [c for c in report.comparisons if c.differ]
    own = [c for c in report.comparisons if best.name in (c.first, c.second)]
    level = [c.second if c.first == best.name else c.first for c in own if not c.differ]
    text = f"{len(differing)} of {len(report.comparisons)} pairs of arms differ on test at 5% after Holm's correction."
    if not level:
        return f"{text} The arm chosen differs from each of the others."
    shown = ", ".join(level[:4]) + (f" and {len(level) - 4} more" if len(level) > 4 else "")
    return f"{text} The arm chosen cannot be told from {len(level)} of {len(own)}: {shown}."


def _likes(best: ArmRow) -> str:
    flips = f"{share(best.flips)}% of its verdicts change with the order of the responses"
    if not any(metric is not None and metric.n for metric in (best.chosen_longer, best.chosen_shorter)):
        return f"{flips}; both responses are always equally long."
    return (
        f"{flips}; it is right on {share(best.chosen_longer)}% where the better response is longer, on "
        f"{share(best.chosen_shorter)}% where it is shorter."
    )


def _went(report: StudyReport) -> str:
    told = []
    for sweep in report.sweeps:
        name = f"{sweep.name}: " if len(report.sweeps) > 1 else ""
        states = (
            ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in sorted(sweep.states.items())) or "no trial yet"
        )
        unstarted = sweep.open - sum(sweep.states.get(s, 0) for s in ("waiting", "running"))
        told.append(f"{name}{states}{f', {unstarted} not begun' if unstarted else ''}")
    return "; ".join(told) + "."
