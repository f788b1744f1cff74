"""Parameter importance and parallel coordinates."""

from __future__ import annotations

from tinyrm.report.charts.axes import parallel_rows, parallel_spec
from tinyrm.report.charts.base import (
    Chart,
    Column,
    chart_of,
)
from tinyrm.report.study import StudyReport, SweepRow


def importance(sweep: SweepRow, number: int, label: str) -> Chart | None:
    rows = []
    for found in sweep.importance:
        for method, share in (("fANOVA", found.fanova), ("PED-ANOVA", found.ped_anova)):
            if share is not None:
                rows.append({"param": found.param, "method": method, "share": share})
    encoding = {
        "y": {"field": "param", "type": "nominal", "sort": [i.param for i in sweep.importance], "title": None},
        "yOffset": {"field": "method"},
        "x": {"field": "share", "type": "quantitative", "title": "importance", "axis": {"format": "%"}},
        "color": {"field": "method", "type": "nominal", "title": None, "legend": {"orient": "top"}},
    }
    spec = {
        "height": 36 * len(sweep.importance),
        "mark": {"type": "bar", "tooltip": {"content": "data"}},
        "encoding": encoding,
    }
    columns = [Column("param", "parameter"), Column("method", "method"), Column("share", "importance", "share")]
    caption = (
        f"By Optuna, for {next(iter(sweep.metrics))}. fANOVA: share of the variance over the whole space, by a forest; "
    )
    caption += "PED-ANOVA: what tells the best tenth of the trials from the rest. Few trials make both rough."
    return chart_of(f"importance-{number}", "space", f"Parameter importance{label}", caption, columns, rows, spec)


def parallel(report: StudyReport, sweep: SweepRow, number: int, label: str) -> Chart | None:
    rows, axes, ticks = parallel_rows(report, sweep)
    if len(axes) < 2 or not rows:
        return None
    columns = [
        Column("trial", "trial", "count"),
        Column("axis", "axis"),
        Column("text", "value"),
        Column("place", "place by dev", "share"),
    ]
    caption = "A line a finished trial, coloured by its place in the sweep's metric. The slider keeps the best share."
    spec = parallel_spec(axes, ticks)
    title = f"Parallel coordinates{label}"
    return chart_of(f"parallel-{number}", "space", title, caption, columns, rows, spec, controls=("share",))
