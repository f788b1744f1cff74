"""The charts of a report: for each its data as a table, and a Vega-Lite specification that draws that same table.

The page, its CSV downloads and the pictures all take both from here; a chart computes nothing but places on the paper.
"""

from __future__ import annotations

from tinyrm.report.charts.base import Chart, Column
from tinyrm.report.charts.effects import effects
from tinyrm.report.charts.outcomes import cost, matrix, pareto, ranking
from tinyrm.report.charts.probes import probe_table, prompts, reliability
from tinyrm.report.charts.scores import curves, flips, length, sections
from tinyrm.report.charts.space import importance, parallel
from tinyrm.report.study import StudyReport

__all__ = ["Chart", "Column", "charts_of"]


def charts_of(report: StudyReport) -> list[Chart]:
    """Every chart for which there are data."""
    found: list[Chart | None] = [ranking(report), pareto(report)]
    for number, sweep in enumerate(report.sweeps):
        found += effects(sweep, number, many=len(report.sweeps) > 1)
    found += [matrix(report)]
    for number, sweep in enumerate(report.sweeps):
        label = f" of {sweep.name}" if len(report.sweeps) > 1 else ""
        found += [importance(sweep, number, label), parallel(report, sweep, number, label)]
    found += [curves(report), sections(report), flips(report), length(report)]
    found += [reliability(report), probe_table(report), prompts(report), cost(report)]
    return [chart for chart in found if chart is not None and chart.rows]
