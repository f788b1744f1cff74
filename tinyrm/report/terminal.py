"""The table on the screen at the end of an evaluation."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from tinyrm.evaluation.metrics import is_defined
from tinyrm.evaluation.results import EvaluationResult, Measures
from tinyrm.types import Metric

ABOVE = "*"  # marks an accuracy whose whole interval is above both length rules


def result_table(result: EvaluationResult) -> Table:
    """Sections with their subsets beneath (dimmed, where there is more than one), further views, the overall line last.

    Fits 100 columns. The caption says what the mark means, which subsets are missing and which are not complete.
    """
    table = Table(title=result.benchmark.name, caption=_caption(result), caption_justify="left")
    # On a narrow screen the names give way, never the numbers.
    table.add_column("section", max_width=32, overflow="fold")
    for heading in ("n", "accuracy, % [95%]", "order-\nconsistent", "longer\nwins", "shorter\nwins"):
        table.add_column(heading, justify="right", no_wrap=True)
    for section in result.benchmark.sections:
        _add(table, section.name, result.sections[section.name])
        if len(section.subsets) > 1:
            for subset in section.subsets:
                name = subset.name.removeprefix(f"{section.name}/")
                _add(table, f"  {name}", result.subsets[subset.name], style="dim")
    for name, view in result.views.items():
        table.add_section()
        for section_name, measures in view.sections.items():
            _add(table, f"{section_name} ({name.replace('_', ' ')})", measures)
        _add(table, f"mean of {name.replace('_', ' ')}", view.overall)
    table.add_section()
    _add(table, f"all {result.benchmark.unit}s alike", result.pooled)
    _add(table, "overall (mean of sections)", result.overall, style="bold")
    return table


def _add(table: Table, name: str, measures: Measures, style: str = "") -> None:
    """One line."""
    mark = ABOVE if measures.beats_length else " "
    numbers = (_share(m) for m in (measures.order_consistent, measures.longer_wins, measures.shorter_wins))
    # Text, not markup: a subset may be called "[easy]".
    table.add_row(Text(name), f"{measures.n:,}", Text(_interval(measures.accuracy) + mark), *numbers, style=style)


def _interval(metric: Metric) -> str:
    """'85.2 [81.0, 88.6]', in percent."""
    if not is_defined(metric):
        return "-"
    return f"{_share(metric)} [{100 * metric.low:.1f}, {100 * metric.high:.1f}]"


def _share(metric: Metric) -> str:
    return f"{100 * metric.value:.1f}" if is_defined(metric) else "-"


def _caption(result: EvaluationResult) -> Text:
    """What the reader must know beside the numbers."""
    lines = [f"{ABOVE} the whole interval is above both length rules on the same {result.benchmark.unit}s"]
    if result.missing:
        effect = "left out on request" if result.partial else "so their sections have no number"
        lines.append(f"missing, {effect}: {', '.join(result.missing)}")
    short = [f"{name} {found}/{full}" for name, (found, full) in result.short.items() if found > 0]
    if short:
        lines.append(f"not the benchmark's own number of {result.benchmark.unit}s: {', '.join(short)}")
    return Text("\n".join(lines))


def pretraining_table(record: dict[str, Any]) -> Table:
    """The held-out numbers of a pretraining."""
    held, table = record["heldout"], Table(title="held out", title_justify="left")
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_column("n", justify="right")
    losses = {"loss": "loss, nats a masked token", "5-gram": "of a 5-gram model", "unigram": "of a unigram model"}
    for name, label in losses.items():
        table.add_row(label, f"{held[name]:.3f}", f"{held['tokens']:,}")
    for name in ("questions", "passages"):
        if name in held:
            measure = Metric(**held[name])
            table.add_row(f"accuracy on {name}", str(measure), f"{measure.n:,}")
    rate = record["throughput"]["tokens_per_second"]
    table.caption = f"{record['throughput']['tokens']:,} tokens, {rate:,.0f} a second"
    return table
