"""Learning curves on dev; sections, order flips and length bias on test."""

from __future__ import annotations

import math

from tinyrm.report.charts.base import (
    INTERVAL,
    SHOWN_ARMS,
    Chart,
    Column,
    Row,
    arm_axis,
    arm_label,
    chart_of,
    dots,
    metric_row,
)
from tinyrm.report.study import StudyReport

_SECTION_ARMS = 5
_SHOWN_CURVES = 40
_NAMED_CURVES = 8


def curves(report: StudyReport) -> Chart | None:
    rank = {a.name: a.rank for a in report.arms}
    with_curve = [t for t in report.trials if t.curve and t.same_as is None]
    with_curve.sort(key=lambda t: (rank.get(t.arm or "", math.inf), t.sweep, t.number))
    done = [t for t in with_curve if t.arm is not None]
    rest = [t for t in with_curve if t.arm is None]
    shown = [*done[: _SHOWN_CURVES - min(len(rest), 10)], *rest[:10]]
    named = list(dict.fromkeys(t.arm for t in shown if t.arm))[:_NAMED_CURVES]
    rows = []
    for trial in shown:
        group = trial.arm if trial.arm in named else "other arms" if trial.arm else trial.state.replace("_", " ")
        base = {
            "trial": trial.number,
            "sweep": trial.sweep,
            "arm": trial.arm or " ".join(f"{k}={v}" for k, v in trial.params.items())[:80],
        }
        base |= {"group": group, "key": f"{trial.sweep}/{trial.number}", "state": trial.state}
        for look in trial.curve:
            rows.append({**base, "step": look.step, "curve": "accuracy", "value": look.accuracy})
            rows.append({**base, "step": look.step, "curve": "loss", "value": look.loss})
    color: Row = {
        "field": "group",
        "type": "nominal",
        "title": None,
        "legend": {"orient": "top"},
    }
    color["sort"] = [*named, "other arms"]
    spec = {
        "params": [{"name": "curve", "value": "accuracy"}],
        "transform": [{"filter": "datum.curve == curve"}],
        "height": 300,
        "mark": {"type": "line", "point": {"filled": True, "size": 35}, "tooltip": {"content": "data"}},
        "encoding": {
            "x": {
                "field": "step",
                "type": "quantitative",
                "title": "optimizer step",
                "axis": {"tickMinStep": 1, "format": "d"},
            },
            "y": {"field": "value", "type": "quantitative", "title": "on dev", "scale": {"zero": False}},
            "color": color,
            "detail": {"field": "key"},
        },
    }
    columns = [
        Column("sweep", "sweep"),
        Column("trial", "trial", "count"),
        Column("arm", "arm"),
        Column("state", "state"),
    ]
    columns += [Column("step", "step", "count"), Column("curve", "measure"), Column("value", "value", "number")]
    caption = (
        f"Each evaluation of dev while training: the {len(done[:_SHOWN_CURVES])} best of {len(done)} finished trials"
    )
    caption += f" and {len(rest[:10])} of {len(rest)} without a result." if rest else "."
    return chart_of("curves", "training", "Learning curves", caption, columns, rows, spec, controls=("curve",))


def sections(report: StudyReport) -> Chart | None:
    arms = [a for a in report.arms if a.sections][:_SECTION_ARMS]
    rows = []
    for arm in arms:
        for name, score in arm.sections.items():
            rules = {"longer": score.longer_wins, "shorter": score.shorter_wins}
            rows.append({"arm": arm_label(arm), "section": name, **metric_row(score.accuracy), **rules})
    lines = [
        {"section": section, "by": name, "value": value}
        for name, figures in report.references.items()
        for section, value in figures.items()
        if report.comparable and section != "overall"
    ]
    x = {"field": "section", "type": "nominal", "title": None, "axis": {"labelAngle": 0, "labelLimit": 120}}
    y = {"type": "quantitative", "title": "accuracy", "axis": {"format": "%"}, "scale": {"domain": [0, 1]}}
    inside = {"field": "arm", "sort": [arm_label(a) for a in arms]}
    legend = {"orient": "top"}
    layers: list[Row] = [
        {
            "mark": {"type": "bar", "tooltip": {"content": "data"}},
            "encoding": {
                "x": x,
                "xOffset": inside,
                "y": {**y, "field": "value"},
                "color": {**inside, "type": "nominal", "title": None, "legend": legend},
            },
        },
        {
            "mark": {"type": "rule", "strokeWidth": 1.5},
            "encoding": {"x": x, "xOffset": inside, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
    ]
    for field, opacity in (("longer", 1.0), ("shorter", 0.5)):
        told = {"expr": f"'the {field} response wins: ' + format(datum.{field}, '.1%')"}
        mark = {"type": "tick", "thickness": 2, "bandSize": 60, "opacity": opacity, "orient": "horizontal"}
        once = {"aggregate": [{"op": "mean", "field": field, "as": field}], "groupby": ["section"]}
        layers.append(
            {
                "transform": [{"filter": f"isValid(datum.{field})"}, once],
                "mark": {**mark, "tooltip": told},
                "encoding": {"x": x, "y": {**y, "field": field}},
            }
        )
    if lines:
        mark = {"type": "tick", "thickness": 2, "bandSize": 70, "orient": "horizontal", "tooltip": {"content": "data"}}
        # Below: beside the plot it would take half of it, and two legends above do not fit a phone.
        below = {
            "scale": {"scheme": "dark2"},
            "legend": {"orient": "bottom", "symbolType": "stroke", "symbolStrokeWidth": 2},
        }
        stroke = {"field": "by", "type": "nominal", "title": "reference", **below}
        encoding = {"x": x, "y": {**y, "field": "value"}, "stroke": stroke}
        layers.append({"data": {"values": lines}, "mark": mark, "encoding": encoding})
    columns = [Column("arm", "arm"), Column("section", "section"), Column("value", "accuracy", "share"), *INTERVAL]
    columns += [Column("longer", "longer wins", "share"), Column("shorter", "shorter wins", "share")]
    caption = f"Test accuracy by section of the {len(arms)} best arms by dev, means over seeds, 95% intervals over "
    caption += f"{report.unit}s. Full line: what the rule 'the longer response wins' gets on the same pairs; faint "
    caption += "line: 'the shorter wins'. "
    caption += f"Reference ticks: {report.reference_note}" if lines else ""
    spec = {"height": 300, "layer": layers, "resolve": {"scale": {"color": "independent", "stroke": "independent"}}}
    return chart_of("sections", "test", "Accuracy by section", caption.strip(), columns, rows, spec)


def flips(report: StudyReport) -> Chart | None:
    arms = [a for a in report.arms[:SHOWN_ARMS] if a.flips is not None and not math.isnan(a.flips.value)]
    rows = [{"rank": a.rank, "arm": a.name, "label": arm_label(a), **metric_row(a.flips)} for a in arms]
    spec = {
        "height": 24 * len(arms),
        "layer": dots(arm_axis(arms), None, "verdicts that change with the order", {"format": "%"}),
    }
    columns = [
        Column("rank", "rank by dev", "count"),
        Column("arm", "arm"),
        Column("value", "share flipped", "share"),
        *INTERVAL,
    ]
    caption = f"Share of test {report.unit}s whose verdict changes when the two responses change places. 0% is best."
    return chart_of("flips", "test", "Order flips", caption, columns, rows, spec)


def length(report: StudyReport) -> Chart | None:
    arms = report.arms[:SHOWN_ARMS]
    rows = []
    for arm in arms:
        for where, metric in (
            ("better response is longer", arm.chosen_longer),
            ("better response is shorter", arm.chosen_shorter),
        ):
            if metric is not None and not math.isnan(metric.value):
                rows.append(
                    {"rank": arm.rank, "arm": arm.name, "label": arm_label(arm), "where": where, **metric_row(metric)}
                )
    color = {"field": "where", "type": "nominal", "title": None, "legend": {"orient": "top"}}
    spec = {"height": 34 * len(arms), "layer": dots(arm_axis(arms), color, "accuracy", {"format": "%"})}
    columns = [
        Column("rank", "rank by dev", "count"),
        Column("arm", "arm"),
        Column("where", "pairs where the"),
        Column("value", "accuracy", "share"),
        *INTERVAL,
    ]
    caption = "Accuracy where the better response has more words, and where it has fewer: far apart, length decides."
    return chart_of("length", "test", "Length bias", caption, columns, rows, spec)
