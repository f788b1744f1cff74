"""The screen of `tinyrm probe`: probes of some runs, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from tinyrm.evaluation.calibration import Calibration
from tinyrm.evaluation.metrics import is_defined, undefined
from tinyrm.evaluation.probes import BagOfWords, Cut, Orders, Probes
from tinyrm.types import Metric

LABEL, COLUMN = 32, 28  # characters of the first column and of each run's, frame included
_QUARTERS = ("1st quarter", "2nd", "3rd", "4th")

_NO_ORDERS = Orders(*[undefined()] * 5)
_NO_BAG = BagOfWords(undefined(), undefined(), math.nan, undefined(), undefined())

Line = tuple[str, str]  # what it is, what it comes to


def probe_tables(found: Mapping[str, Probes], width: int) -> list[Table]:
    """Tables of some runs, as many columns to each as fit."""
    names, each = list(found), max(1, (width - LABEL) // COLUMN)
    return [_table({name: found[name] for name in names[at : at + each]}) for at in range(0, len(names), each)]


def _table(found: Mapping[str, Probes]) -> Table:
    reasons = sorted({f"{name.replace('_', ' ')}: {why}" for p in found.values() for name, why in p.missing.items()})
    said = ["accuracies in % [95%] and their n, pairs counted alike", *(f"not told: {reason}" for reason in reasons)]
    table = Table(title="probes", caption=Text("\n".join(said)), caption_justify="left")
    table.add_column("", max_width=LABEL, overflow="fold")
    for name in found:
        table.add_column(Text(name, overflow="fold"), justify="right", max_width=None)
    blocks = [_blocks(probes) for probes in found.values()]
    for parts in zip(*blocks, strict=True):
        for lines in zip(*parts, strict=True):
            table.add_row(Text(lines[0][0]), *(Text(value) for _, value in lines))
        table.add_section()
    return table


def _blocks(found: Probes) -> list[list[Line]]:
    """The same lines for every run, so that several stand side by side."""
    return [
        [("accuracy", _percent(found.accuracy))],
        _orders(found),
        _lengths(found),
        _bag(found),
        _calibration(found),
        _prompts(found),
    ]


def _orders(found: Probes) -> list[Line]:
    orders = found.orders or _NO_ORDERS
    return [
        ("flips with the order", _percent(orders.flips)),
        ("  of these, first place wins", _percent(orders.first_favoured)),
        ("chosen shown first", _percent(orders.chosen_first)),
        ("chosen shown second", _percent(orders.chosen_second)),
        ("lean to first place, log-odds", _number(orders.lean)),
    ]


def _lengths(found: Probes) -> list[Line]:
    lengths = found.lengths
    return [
        ("length-controlled accuracy", _percent(lengths.controlled)),
        ("  chosen longer", _percent(lengths.longer)),
        ("  chosen shorter", _percent(lengths.shorter)),
        ("  equally long", _percent(lengths.equal)),
        ("prefers the longer", _percent(lengths.prefers_longer)),
        ("  the longer is right", _percent(lengths.longer_is_right)),
    ]


def _bag(found: Probes) -> list[Line]:
    bag = found.bag or _NO_BAG
    return [
        ("bag of words", _percent(bag.accuracy)),
        ("agreement with it", _percent(bag.agreement)),
        ("  by chance", "-" if math.isnan(bag.agreement_by_chance) else f"{100 * bag.agreement_by_chance:.1f}"),
        ("accuracy where it is right", _percent(bag.where_right)),
        ("accuracy where it is wrong", _percent(bag.where_wrong)),
    ]


def _calibration(found: Probes) -> list[Line]:
    temperature = found.temperature
    told = "-"
    if temperature is not None:
        told = f"{_number(temperature.value)} n={temperature.value.n:,}"
        told = told if temperature.limit is None else f"none: {temperature.limit}"
    return [
        *_errors(found.calibration, ""),
        ("temperature, fitted on dev", told),
        *_errors(found.calibration_scaled, ", scaled by it"),
    ]


def _errors(found: Calibration | None, which: str) -> list[Line]:
    if found is None:
        labels = (f"ECE{which}", "  of a calibrated model", f"Brier{which}", f"NLL{which}")
        return [(label, "-") for label in labels]
    chance = found.ece_by_chance
    return [
        (f"ECE{which}", f"{found.ece:.3f}"),
        ("  of a calibrated model", f"{chance.low:.3f} to {chance.high:.3f}"),
        (f"Brier{which}", _number(found.brier)),
        (f"NLL{which}", _number(found.nll)),
    ]


def _prompts(found: Probes) -> list[Line]:
    cuts: Sequence[Cut | None] = [*found.prompts, *[None] * (len(_QUARTERS) - len(found.prompts))]
    lines = []
    for name, cut in zip(_QUARTERS, cuts, strict=True):
        told = "-" if cut is None else f"{cut.low}-{cut.high}: {_percent(cut.accuracy)}"
        lines.append((f"words of prompt, {name}", told))
    return [*lines, ("pairs cut to fit", _percent(found.truncated)), ("pairs not cut", _percent(found.whole))]


def _percent(metric: Metric) -> str:
    if not is_defined(metric):
        return "-"
    return f"{100 * metric.value:.1f} [{100 * metric.low:.1f}, {100 * metric.high:.1f}] n={metric.n:,}"


def _number(metric: Metric) -> str:
    if not is_defined(metric):
        return "-"
    if math.isnan(metric.low):
        return f"{metric.value:.3g}"
    return f"{metric.value:.3g} [{metric.low:.3g}, {metric.high:.3g}]"
