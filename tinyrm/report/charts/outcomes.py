"""Which arms are best, which differ, and what they cost."""

from __future__ import annotations

import math

from tinyrm.report.charts.base import (
    INTERVAL,
    SHARE,
    SHOWN_ARMS,
    Chart,
    Column,
    arm_axis,
    arm_label,
    chart_of,
    dots,
    metric_row,
)
from tinyrm.report.study import StudyReport


def ranking(report: StudyReport) -> Chart | None:
    arms = report.arms[:SHOWN_ARMS]
    measured = {next(iter(s.metrics)) for s in report.sweeps}
    accuracy = measured == {"dev_accuracy"}
    rows = []
    for arm in arms:
        base = {"rank": arm.rank, "arm": arm.name, "label": arm_label(arm), "seeds": arm.seeds}
        if accuracy:
            rows.append({**base, "on": "dev (chosen by)", **metric_row(arm.dev)})
        if arm.test is not None:
            rows.append({**base, "on": "test (reported)", **metric_row(arm.test)})
    color = {"field": "on", "type": "nominal", "title": None, "legend": {"orient": "top"}}
    columns = [Column("rank", "rank by dev", "count"), Column("arm", "arm"), Column("on", "measured on")]
    columns += [Column("value", "accuracy", "share"), *INTERVAL, Column("seeds", "seeds", "count")]
    caption = (
        "Arms from best to worst by dev, which alone chooses. Test was read once, for reporting: the winner's dev "
    )
    caption += "accuracy is flattered by having been chosen, its test accuracy is not."
    spec = {"height": (34 if accuracy else 24) * len(arms), "layer": dots(arm_axis(arms), color, "accuracy", SHARE)}
    return chart_of("ranking", "ranking", "Ranking: chosen on dev, reported on test", caption, columns, rows, spec)


def pareto(report: StudyReport) -> Chart | None:
    sweep = next((s for s in report.sweeps if len(s.metrics) > 1), None)
    if sweep is None:
        return None
    first, second = list(sweep.metrics)[:2]
    place = {(t.sweep, t.number): t for t in report.trials}
    rows = []
    for arm in (a for a in report.arms if a.sweep == sweep.name):
        values = [place[arm.sweep, n].values for n in arm.trials]
        means = {m: math.fsum(v.get(m, math.nan) for v in values) / len(values) for m in (first, second)}
        rows.append({"arm": arm.name, **means, "front": "on the front" if arm.on_front else "beaten"})
    encoding = {
        "x": {
            "field": second,
            "type": "quantitative",
            "scale": {"zero": False},
            "title": f"{second} ({sweep.metrics[second]})",
        },
        "y": {
            "field": first,
            "type": "quantitative",
            "scale": {"zero": False},
            "title": f"{first} ({sweep.metrics[first]})",
        },
        "color": {"field": "front", "type": "nominal", "title": None, "legend": {"orient": "top"}},
    }
    spec = {
        "height": 300,
        "mark": {"type": "point", "filled": True, "size": 70, "tooltip": {"content": "data"}},
        "encoding": encoding,
    }
    columns = [
        Column("arm", "arm"),
        Column(first, first, "number"),
        Column(second, second, "number"),
        Column("front", "front"),
    ]
    caption = "An arm is on the front where no other is at least as good in both and better in one."
    return chart_of("pareto", "ranking", f"Pareto front: {first} against {second}", caption, columns, rows, spec)


def matrix(report: StudyReport) -> Chart | None:
    rank = {a.name: a.rank for a in report.arms}
    rows = []
    for c in report.comparisons:
        for sign, first, second in ((1, c.first, c.second), (-1, c.second, c.first)):
            value, ends = sign * c.difference.value, sorted((sign * c.difference.low, sign * c.difference.high))
            label = f"{100 * value:+.1f}{'*' if c.differ else ''}"
            row = {"first": first, "second": second, "row": f"#{rank[first]} {first}", "column": f"#{rank[second]}"}
            rows.append(
                {
                    **row,
                    "difference": value,
                    "low": ends[0],
                    "high": ends[1],
                    "p": c.p_value,
                    "p_holm": c.p_holm,
                    "label": label,
                    "seeds": c.seeds,
                    "n": c.difference.n,
                }
            )
    if not rows:
        return None
    names = sorted(report.compared, key=lambda n: rank[n])
    order = [f"#{rank[name]}" for name in names]
    widest = max(1e-9, *(abs(c.difference.value) for c in report.comparisons))
    x = {
        "field": "column",
        "type": "nominal",
        "sort": order,
        "title": "minus the arm ranked",
        "axis": {"orient": "top", "labelAngle": 0},
    }
    y = {"field": "row", "type": "nominal", "sort": [f"#{rank[n]} {n}" for n in names], "title": None}
    color = {
        "field": "difference",
        "type": "quantitative",
        "scale": {"domain": [-widest, 0, widest], "range": "diverging", "interpolate": "rgb"},
        "legend": None,
    }
    dark = {"condition": {"test": f"abs(datum.difference) > {0.55 * widest!r}", "value": "white"}}
    spec = {
        "height": 30 * len(order),
        "encoding": {"x": x, "y": y},
        "layer": [
            {"mark": {"type": "rect", "tooltip": {"content": "data"}}, "encoding": {"color": color}},
            {"mark": {"type": "text", "fontSize": 11}, "encoding": {"text": {"field": "label"}, "color": dark}},
        ],
    }
    columns = [
        Column("first", "arm"),
        Column("second", "minus arm"),
        Column("difference", "difference", "share"),
        *INTERVAL,
    ]
    columns += [Column("p", "p", "p"), Column("p_holm", "p, Holm", "p"), Column("seeds", "seeds in common", "count")]
    sure = sum(c.differ for c in report.comparisons)
    caption = f"Difference on test in points, on the same {report.unit}s. * differs at 5% after Holm's correction for "
    caption += f"{len(report.comparisons)} comparisons: {sure} of them. With several seeds pairs and seeds "
    caption += "both count as samples; with one it is McNemar's exact test on these two models."
    return chart_of("matrix", "compare", "Which arms really differ", caption, columns, rows, spec)


def cost(report: StudyReport) -> Chart | None:
    rows = []
    for arm in report.arms:
        if arm.test is None or math.isnan(arm.test.value):
            continue
        for cost, value in arm.cost.items():
            front = "no arm is cheaper and better" if arm.frontier.get(cost) else "another is cheaper and better"
            if value > 0:
                rows.append(
                    {
                        "rank": arm.rank,
                        "arm": arm.name,
                        "cost": cost,
                        "at": value,
                        "front": front,
                        **metric_row(arm.test),
                    }
                )
    x = {
        "field": "at",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 12},
        "title": None,
        "axis": {"format": "~s", "labelOverlap": True, "tickCount": 6},
    }
    y = {"type": "quantitative", "scale": {"zero": False}, "title": "test accuracy", "axis": SHARE}
    color = {
        "field": "front",
        "type": "nominal",
        "title": None,
        "legend": {"orient": "top"},
    }
    spec = {
        "params": [{"name": "cost", "value": "trained_parameters"}],
        "transform": [{"filter": "datum.cost == cost"}],
        "height": 300,
        "layer": [
            {
                "mark": {"type": "rule", "opacity": 0.35},
                "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": color},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "tooltip": {"content": "data"}},
                "encoding": {"x": x, "y": {**y, "field": "value"}, "color": color},
            },
        ],
    }
    columns = [
        Column("rank", "rank by dev", "count"),
        Column("arm", "arm"),
        Column("cost", "cost"),
        Column("at", "amount", "number"),
    ]
    columns += [Column("value", "test accuracy", "share"), *INTERVAL, Column("front", "front")]
    caption = "What an arm costs (logarithmic) against what it gets on test. Speeds are those of this sweep's machine."
    return chart_of("cost", "cost", "Cost against accuracy", caption, columns, rows, spec, controls=("cost",))
