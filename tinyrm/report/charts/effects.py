"""Main effects and interactions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from tinyrm.evaluation.effects import SEED, Effect, Effects
from tinyrm.report.charts.base import (
    Chart,
    Column,
    Row,
    chart_of,
    labels_of,
    metric_row,
)
from tinyrm.report.study import SweepRow

_SHOWN_FACTORS = 8
_SHOWN_INTERACTIONS = 4

_BOUNDS = [Column("low", "95% low", "number"), Column("high", "95% high", "number"), Column("n", "trials", "count")]


def effects(sweep: SweepRow, number: int, many: bool) -> Iterator[Chart]:
    if not sweep.effects or not sweep.effects[0].main:
        return
    label = f" ({sweep.name})" if many else ""
    yield _shares(sweep, number, label)
    order = [e.factors[0] for e in sweep.effects[0].main][:_SHOWN_FACTORS]
    bounds = {e.measure: _bounds(e, order) for e in sweep.effects}
    for position, factor in enumerate(order):
        rows = []
        for found in sweep.effects:
            effect = next((e for e in found.main if e.factors == (factor,)), None)
            rows += [
                {"measure": found.measure, "level": v.names[0], **metric_row(v.mean)}
                for v in (effect.levels if effect else ())
            ]
        labels = labels_of([row["level"] for row in rows])
        rows = [{**row, "level": labels[row["level"]]} for row in rows]
        yield _effect_chart(f"effect-{number}-{position}", f"{factor}{label}", sweep, factor, rows, bounds)
    crossed = [e.factors for e in sweep.effects[0].interactions][:_SHOWN_INTERACTIONS]
    for position, (first, second) in enumerate(crossed):
        yield _interaction(f"interaction-{number}-{position}", first, second, sweep, label)


def _bounds(found: Effects, factors: Sequence[str]) -> tuple[float, float]:
    """One scale for all factors, so that their effects compare by eye."""
    means = [v.mean for e in found.main if e.factors[0] in factors for v in e.levels]
    ends = [x for m in means for x in (m.value, m.low, m.high) if not math.isnan(x)]
    return (min(ends), max(ends)) if ends else (0.0, 1.0)


def _measured(sweep: SweepRow) -> list[Row]:
    return [{"name": "measure", "value": sweep.effects[0].measure}]


def _share_or_number(sweep: SweepRow) -> Row:
    return {"format": "%"} if all(e.measure.endswith("accuracy") for e in sweep.effects) else {}


def _shares(sweep: SweepRow, number: int, label: str) -> Chart:
    rows = []
    for found in sweep.effects:
        every: list[Effect] = [*found.main, *found.interactions]
        for effect in every:
            kind = "seed" if effect.factors == (SEED,) else "interaction" if len(effect.factors) > 1 else "factor"
            span = None if len(effect.factors) > 1 else effect.span
            row = {"measure": found.measure, "what": " × ".join(effect.factors), "kind": kind}
            rows.append({**row, "share": effect.share, "span": span, "p": effect.p_value, "trials": found.n})
    encoding = {
        "y": {"field": "what", "type": "nominal", "sort": "-x", "title": None},
        "x": {
            "field": "share",
            "type": "quantitative",
            "title": "share of variance",
            "axis": {"format": "%"},
        },
        "color": {
            "field": "kind",
            "type": "nominal",
            "title": None,
            "legend": {"orient": "top"},
            "scale": {"domain": ["factor", "interaction", "seed"]},
        },
    }
    spec = {
        "params": _measured(sweep),
        "transform": [{"filter": "datum.measure == measure"}],
        "height": 26 * len({row["what"] for row in rows}),
        "mark": {"type": "bar", "tooltip": {"content": "data"}},
        "encoding": encoding,
    }
    columns = [
        Column("measure", "measure"),
        Column("what", "factor"),
        Column("kind", "kind"),
        Column("share", "share of variance", "share"),
    ]
    columns += [
        Column("span", "largest minus smallest mean", "number"),
        Column("p", "p (F test)", "p"),
        Column("trials", "trials", "count"),
    ]
    caption = (
        "How much of what differs between trials each choice accounts for, given the others. What seeds account for "
    )
    caption += "is the yardstick: a choice that moves less than they do has not been shown to matter."
    return chart_of(
        f"shares-{number}",
        "effects",
        f"Which choice mattered{label}",
        caption,
        columns,
        rows,
        spec,
        controls=("measure",),
    )


def _effect_chart(
    id: str, title: str, sweep: SweepRow, factor: str, rows: list[Row], bounds: Mapping[str, tuple[float, float]]
) -> Chart:
    ends = [{m: b[side] for m, b in bounds.items()} for side in (0, 1)]
    choose = [" : ".join([*(f"measure == '{m}' ? {x!r}" for m, x in end.items()), "null"]) for end in ends]
    y = {
        "type": "quantitative",
        "title": None,
        "axis": _share_or_number(sweep),
        "scale": {"zero": False, "domainMin": {"expr": choose[0]}, "domainMax": {"expr": choose[1]}, "nice": True},
    }
    x: Row = {
        "field": "level",
        "type": "ordinal",
        "sort": list(dict.fromkeys(r["level"] for r in rows)),
        "title": factor,
    }
    x["axis"] = {"labelAngle": 0 if sum(len(r["level"]) for r in rows) < 60 else -35, "labelLimit": 120}
    spec = {
        "params": _measured(sweep),
        "transform": [{"filter": "datum.measure == measure"}],
        "height": 190,
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
            },
            {"mark": {"type": "line", "opacity": 0.5}, "encoding": {"x": x, "y": {**y, "field": "value"}}},
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "tooltip": {"content": "data"}},
                "encoding": {"x": x, "y": {**y, "field": "value"}},
            },
        ],
    }
    columns = [Column("measure", "measure"), Column("level", factor), Column("value", "mean", "number")]
    columns += _BOUNDS
    caption = (
        "Least-squares mean of each level, all levels of the other factors counting alike; 95% t interval over trials."
    )
    return chart_of(id, "effects", title, caption, columns, rows, spec, controls=("measure",), wide=False)


def _interaction(id: str, first: str, second: str, sweep: SweepRow, label: str) -> Chart:
    rows, p = [], {}
    for found in sweep.effects:
        effect = next((e for e in found.interactions if e.factors == (first, second)), None)
        if effect is not None:
            p[found.measure] = effect.p_value
            rows += [
                {"measure": found.measure, "first": v.names[0], "second": v.names[1], **metric_row(v.mean)}
                for v in effect.levels
            ]
    for side in ("first", "second"):
        labels = labels_of([row[side] for row in rows])
        rows = [{**row, side: labels[row[side]]} for row in rows]
    x: Row = {
        "field": "first",
        "type": "ordinal",
        "sort": list(dict.fromkeys(r["first"] for r in rows)),
        "title": first,
    }
    x["axis"] = {"labelAngle": 0, "labelLimit": 120}
    color = {"field": "second", "type": "nominal", "title": second, "legend": {"orient": "top"}}
    color["sort"] = list(dict.fromkeys(r["second"] for r in rows))
    y: Row = {"field": "value", "type": "quantitative", "title": None, "scale": {"zero": False}}
    y["axis"] = _share_or_number(sweep)
    mark = {"type": "line", "point": {"filled": True, "size": 60}, "tooltip": {"content": "data"}}
    spec = {
        "params": _measured(sweep),
        "transform": [{"filter": "datum.measure == measure"}],
        "height": 190,
        "mark": mark,
        "encoding": {"x": x, "y": y, "color": color},
    }
    columns = [
        Column("measure", "measure"),
        Column("first", first),
        Column("second", second),
        Column("value", "mean", "number"),
    ]
    columns += _BOUNDS
    told = "; ".join(f"{m}: p = {x:.2g}" if not math.isnan(x) else f"{m}: no p, one trial a cell" for m, x in p.items())
    caption = f"Mean of each combination. Parallel lines: no interaction. F test beyond the sum of both: {told}."
    return chart_of(
        id, "effects", f"{first} × {second}{label}", caption, columns, rows, spec, controls=("measure",), wide=False
    )
