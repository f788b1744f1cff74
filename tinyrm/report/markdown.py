"""The report as Markdown, for a paper's notes, a pull request, a CI summary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tinyrm.evaluation.probes import Probes
from tinyrm.report.story import amount, answers, chosen_by, dev, number, p_value, points, share
from tinyrm.report.study import StudyReport
from tinyrm.types import Metric

_SHOWN = 30


def markdown(report: StudyReport) -> str:
    """The question, the answers, ranking, effects, comparisons, probes, ends, and how to make it again."""
    parts = [f"# {escaped(report.title)}", *(f"> {escaped(s.question)}" for s in report.sweeps)]
    parts += ["\n".join(f"- **{escaped(q)}**: {escaped(a)}" for q, a in answers(report))]
    if report.notes:
        parts.append("\n".join(f"- {escaped(note)}" for note in report.notes))
    parts += [
        *_claims(report),
        *_ranking(report),
        *_effects(report),
        *_comparisons(report),
        *_probes(report),
        *_endings(report),
        *_again(report),
    ]
    return "\n\n".join(parts) + "\n"


def escaped(text: object) -> str:
    """Text as it is, whatever signs of Markdown or HTML it holds; on one line."""
    one_line = " ".join(str(text).split())
    safe = one_line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|#~]|(?<!\w)_|_(?!\w))", r"\\\1", safe)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; columns that begin with `>` are right-aligned."""
    head = "| " + " | ".join(escaped(c.removeprefix(">")) for c in columns) + " |"
    rule = "| " + " | ".join("---:" if c.startswith(">") else "---" for c in columns) + " |"
    return "\n".join([head, rule, *("| " + " | ".join(escaped(cell) for cell in row) + " |" for row in rows)])


def _claims(report: StudyReport) -> list[str]:
    if not report.claims:
        return []
    rows = [
        (c.statement, c.claim, c.contrast, c.verdict, points(c.effect), p_value(c.p_holm), f"{100 * c.detectable:.1f}")
        for c in report.claims
    ]
    columns = ["claim", "verdict", "contrast", "verdict of it", ">difference on test, points [95%]", ">p, Holm"]
    return ["## Claims", table([*columns, ">could have seen, points"], rows)]


def _ranking(report: StudyReport) -> list[str]:
    if not report.arms:
        return []
    by = chosen_by(report, report.arms[0])
    columns = [">#", "arm", f">{by} [95%], chosen by", ">test, % [95%], reported", ">flips, %", ">trained parameters"]
    rows = [
        (
            arm.rank,
            arm.name,
            dev(report, arm),
            share(arm.test),
            share(arm.flips).partition(" ")[0],
            amount(arm.cost["trained_parameters"]) if "trained_parameters" in arm.cost else "-",
            arm.seeds,
        )
        for arm in report.arms[:_SHOWN]
    ]
    found = ["## Ranking", "Chosen on dev alone, reported on test.", table([*columns, ">seeds"], rows)]
    more = len(report.arms) - _SHOWN
    return [*found, f"... and {more} more arms."] if more > 0 else found


def _effects(report: StudyReport) -> list[str]:
    parts = []
    for sweep in report.sweeps:
        rows = [
            (found.measure, " × ".join(e.factors), f"{100 * e.share:.1f}", p_value(e.p_value), _levels(e))
            for found in sweep.effects
            for e in (*found.main, *found.interactions)
        ]
        if rows:
            label = f" of {escaped(sweep.name)}" if len(report.sweeps) > 1 else ""
            columns = ["measure", "factor", ">share of variance, %", "F test", "mean of each level [95%]"]
            parts += [f"## Effects{label}", table(columns, rows)]
    return parts


def _levels(effect: object) -> str:
    levels = getattr(effect, "levels", ())
    told = [f"{'/'.join(v.names)}: {v.mean}" for v in levels[:9]]
    return "; ".join(told) + ("; ..." if len(levels) > 9 else "")


def _comparisons(report: StudyReport) -> list[str]:
    if not report.comparisons:
        return []
    rows = [
        (c.first, c.second, f"{100 * c.difference.value:+.1f} [{100 * c.difference.low:+.1f}, "
         f"{100 * c.difference.high:+.1f}]", f"{c.p_value:.2g}", f"{c.p_holm:.2g}", "yes" if c.differ else "", c.seeds)
        for c in sorted(report.comparisons, key=lambda c: c.p_holm)[:_SHOWN]
    ]  # fmt: skip
    columns = ["arm", "minus arm", ">difference on test, points [95%]", ">p", ">p, Holm", "differ at 5%", ">seeds"]
    return ["## Paired comparison", f"{len(report.comparisons)} comparisons, corrected together.", table(columns, rows)]


def _probes(report: StudyReport) -> list[str]:
    """What is behind the accuracies, as in the page: of one trial an arm, pairs counted alike."""
    if not report.probes:
        return []
    found = report.probes[:_SHOWN]
    said = "In % of the test pairs with 95% intervals, of one trial an arm, its first; pairs counted alike."
    parts = ["## Probes", said]
    rows: list[Sequence[object]] = [
        (p.arm, *map(share, _behind(p.probes)), "; ".join(f"{k}: {v}" for k, v in p.probes.missing.items()))
        for p in found
    ]
    columns = [">flips with the order", ">of these, first place wins", ">length-controlled", ">chosen longer"]
    columns += [">chosen shorter", ">bag of words itself", ">agrees with it", ">where it is wrong"]
    parts.append(table(["arm", *columns, "not told"], rows))
    parts.append("Calibration, as it is and with log-odds divided by the temperature that was fitted on dev:")
    columns = [">ECE", ">of a calibrated model", ">Brier", ">NLL", ">temperature", ">ECE scaled", ">Brier scaled"]
    parts.append(table(["arm", *columns, ">NLL scaled"], [(p.arm, *_calibrated(p.probes)) for p in found]))
    rows = [(p.arm, f"{c.low} to {c.high}", share(c.accuracy), c.accuracy.n) for p in found for c in p.probes.prompts]
    if rows:
        parts += [
            "Accuracy by the length of the prompt, in quarters:",
            table(["arm", ">words", ">accuracy", ">n"], rows),
        ]
    return parts


def _behind(found: Probes) -> list[Metric | None]:
    orders, lengths, bag = found.orders, found.lengths, found.bag
    told = [orders.flips, orders.first_favoured] if orders else [None, None]
    of_bag = [bag.accuracy, bag.agreement, bag.where_wrong] if bag else [None, None, None]
    return [*told, lengths.controlled, lengths.longer, lengths.shorter, *of_bag]


def _calibrated(found: Probes) -> list[str]:
    plain, scaled, temperature = found.calibration, found.calibration_scaled, found.temperature
    chance = f"{plain.ece_by_chance.low:.3f} to {plain.ece_by_chance.high:.3f}"
    told = [f"{plain.ece:.3f}", chance, number(plain.brier), number(plain.nll)]
    if temperature is None or scaled is None:
        return [*told, "-", "-", "-", "-"]
    value = f"{temperature.value.value:.3g}" if temperature.limit is None else f"none: {temperature.limit}"
    return [*told, value, f"{scaled.ece:.3f}", number(scaled.brier), number(scaled.nll)]


def _endings(report: StudyReport) -> list[str]:
    if not report.endings:
        return []
    rows = [(e.sweep, e.state.replace("_", " "), ", ".join(map(str, e.trials[:20])), e.message) for e in report.endings]
    return ["## Trials without a result", table(["sweep", "end", "trials", "why"], rows)]


def _again(report: StudyReport) -> list[str]:
    best = [report.best.line] if report.best else []
    lines = [s.command for s in report.sweeps] + best + [report.command]
    # A line break in an override would end the block's line, a fence of backticks the block.
    block = "\n".join(" ".join(line.split()).replace("```", "'''") for line in lines)
    rows = [(name, "; ".join(values)) for name, values in report.environment.items()]
    found = ["## Make it again", f"```sh\n{block}\n```"]
    return [*found, table(["environment", "value"], rows)] if rows else found
