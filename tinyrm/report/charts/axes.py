"""Parallel coordinates: where each trial lies on each axis, from 0 to 1, and how the axes are marked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tinyrm.report.study import StudyReport, SweepRow, TrialRow

Row = dict[str, Any]
_MOST_MARKS = 9
_LOG_FROM = 30.0  # largest over smallest value from which an axis is logarithmic


def parallel_rows(report: StudyReport, sweep: SweepRow) -> tuple[list[Row], list[str], list[Row]]:
    """Rows (one a trial and axis), the axes in order, and the marks beside each axis."""
    metric, direction = next(iter(sweep.metrics.items()))
    trials = [t for t in report.trials if t.sweep == sweep.name and t.arm is not None and t.same_as is None]
    trials.sort(key=lambda t: t.values[metric] if direction == "minimize" else -t.values[metric])
    columns: dict[str, list[Any]] = {}
    for key in dict.fromkeys(k for t in trials for k in t.params):
        values = [t.params.get(key) for t in trials]
        if len({repr(v) for v in values}) > 1:
            columns[key] = values
    columns[metric] = [t.values[metric] for t in trials]
    tests = [t.test.overall.accuracy.value if t.test else math.nan for t in trials]
    if trials and not any(math.isnan(x) for x in tests):
        columns["test_accuracy"] = tests
    if not trials:
        return [], [], []
    rows: list[Row] = []
    ticks: list[Row] = []
    for number, (axis, values) in enumerate(columns.items()):
        place, marks = _axis(values)
        ticks += [{"axis": axis, "at": at, "text": text} for text, at in marks]
        rows += [
            _row(t, axis, number, value, place(value), i, len(trials))
            for i, (t, value) in enumerate(zip(trials, values, strict=True))
        ]
    return rows, list(columns), ticks


def _row(trial: TrialRow, axis: str, number: int, value: Any, at: float, order: int, count: int) -> Row:
    text = f"{value:.4g}" if isinstance(value, float) else "(not set)" if value is None else str(value)[:60]
    place = order / (count - 1) if count > 1 else 0.0
    return {
        "trial": trial.number,
        "axis": axis,
        "index": number,
        "at": round(at, 4),
        "text": text,
        "place": round(place, 4),
    }


def _axis(values: Sequence[Any]) -> tuple[Callable[[Any], float], list[tuple[str, float]]]:
    """From a value to its place, and the marks: every level of a few, the ends of a range."""
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values):
        levels = list(
            dict.fromkeys(str(v) for v in sorted(values, key=lambda v: (not isinstance(v, int | float), str(v))))
        )
        at = {level: i / max(1, len(levels) - 1) for i, level in enumerate(levels)}
        marks = [(" ".join(level.split())[:14], x) for level, x in at.items()] if len(levels) <= _MOST_MARKS else []
        return lambda v: at[str(v)], marks
    low, high = float(min(numbers)), float(max(numbers))
    log = low > 0 and high / low >= _LOG_FROM

    def place(value: Any) -> float:
        if high == low:
            return 0.5
        if log:
            return math.log(float(value) / low) / math.log(high / low)
        return (float(value) - low) / (high - low)

    distinct = sorted(set(numbers))
    shown = distinct if len(distinct) <= 5 else [low, high]
    return place, [(f"{v:.4g}", place(v)) for v in shown]


def parallel_spec(axes: Sequence[str], ticks: Sequence[Row]) -> Row:
    """The Vega-Lite part that draws :func:`parallel_rows`."""
    x: Row = {"field": "axis", "type": "nominal", "sort": list(axes), "title": None}
    x["axis"] = {
        "orient": "top",
        "labelAngle": 0 if len(axes) < 5 else -25,
        "labelLimit": 120,
        "domain": False,
        "ticks": False,
        "grid": True,
    }
    y = {"field": "at", "type": "quantitative", "axis": None, "scale": {"domain": [-0.05, 1.05], "nice": False}}
    color = {"field": "place", "type": "quantitative", "scale": {"domain": [0, 1], "range": "ramp"}, "legend": None}
    hovered = {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0.75}
    return {
        "params": [{"name": "share", "value": 1}],
        "height": 320,
        "layer": [
            {
                "params": [
                    {
                        "name": "hover",
                        "select": {"type": "point", "fields": ["trial"], "on": "pointerover", "clear": "pointerout"},
                    }
                ],
                "transform": [{"filter": "datum.place <= share"}],
                "mark": {"type": "line", "strokeWidth": 2, "tooltip": {"content": "data"}},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": color,
                    "detail": {"field": "trial"},
                    "order": {"field": "index"},
                    "opacity": hovered,
                },
            },
            {
                "data": {"values": list(ticks)},
                "mark": {"type": "text", "align": "left", "dx": 5, "fontSize": 10, "fontWeight": "bold"},
                "encoding": {"x": x, "y": y, "text": {"field": "text"}},
            },
        ],
    }
