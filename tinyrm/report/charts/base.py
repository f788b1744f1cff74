"""What every chart is made of: its data as a table, and the Vega-Lite specification that draws that table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinyrm.report.study import ArmRow, plain
from tinyrm.types import Metric

Row = dict[str, Any]
SHOWN_ARMS = 20
_LONGEST_LABEL = 48
SHARE = {"format": ".1%"}


@dataclass(frozen=True)
class Column:
    """A column of a chart's table; kind: text | share | number | count | p."""

    key: str
    label: str
    kind: str = "text"


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        id: unique in a report; names its files.
        part: the part of the page it stands in.
        title: what it shows.
        caption: how to read it.
        rows: its data, one mapping a row; what is not known is None.
        spec: Vega-Lite; its data are named "rows".
        controls: names of its parameters that the page has a control for.
        wide: takes the whole width.
    """

    id: str
    part: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    spec: dict[str, Any]
    controls: tuple[str, ...] = ()
    wide: bool = True


INTERVAL = (Column("low", "95% low", "share"), Column("high", "95% high", "share"), Column("n", "n", "count"))


def chart_of(
    id: str, part: str, title: str, caption: str, columns: Sequence[Column], rows: Sequence[Row], spec: Row, **more: Any
) -> Chart:
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"name": "rows"},
        "width": "container",
    }
    whole |= {"description": f"{title}. {caption}", "autosize": {"type": "fit-x", "contains": "padding"}}
    return Chart(id, part, title, caption, tuple(columns), tuple(plain(list(rows))), whole | spec, **more)


def metric_row(metric: Metric | None, name: str = "value") -> Row:
    if metric is None:
        return {name: None, "low": None, "high": None, "n": 0}
    return {name: metric.value, "low": metric.low, "high": metric.high, "n": metric.n}


INTERVAL = (Column("low", "95% low", "share"), Column("high", "95% high", "share"), Column("n", "n", "count"))


def dots(y: Row, color: Row | None, title: str, axis: Mapping[str, Any]) -> list[Row]:
    """A point with its interval, a row an arm."""
    shared: Row = {"y": y}
    if color:
        shared |= {"color": color, "yOffset": {key: color[key] for key in ("field", "sort") if key in color}}
    x = {"type": "quantitative", "scale": {"zero": False}, "axis": dict(axis), "title": title}
    return [
        {
            "mark": {"type": "rule", "strokeWidth": 2},
            "encoding": {**shared, "x": {**x, "field": "low"}, "x2": {"field": "high"}},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "tooltip": {"content": "data"}},
            "encoding": {**shared, "x": {**x, "field": "value"}},
        },
    ]


def labels_of(texts: Sequence[str]) -> dict[str, str]:
    """A short label on one line for each text, no two alike.

    A line separator of Unicode inside a sorted name would be no valid sign in Vega's expressions.
    """
    found: dict[str, str] = {}
    for text in texts:
        short = " ".join(text.split())
        short = short if len(short) <= _LONGEST_LABEL else short[: _LONGEST_LABEL - 1] + "…"
        if text not in found:
            taken = set(found.values())
            copies = (f"{short} ({n})" for n in range(2, len(taken) + 3))
            found[text] = short if short not in taken else next(c for c in copies if c not in taken)
    return found


def arm_axis(arms: Sequence[ArmRow]) -> Row:
    """Arms from above, by rank: a row says in `label` which."""
    return {"field": "label", "type": "nominal", "sort": [arm_label(a) for a in arms], "title": None}


def arm_label(arm: ArmRow) -> str:
    """The rank first: it is left where a narrow screen cuts the name."""
    return f"#{arm.rank} {arm.name}"
