"""What is behind the accuracies on test: the best arm's reliability curve, and the probes of all arms in a table."""

from __future__ import annotations

from collections.abc import Sequence

from tinyrm.evaluation.calibration import Calibration
from tinyrm.evaluation.metrics import is_defined
from tinyrm.report.charts.base import INTERVAL, Chart, Column, Row, chart_of, dots, metric_row
from tinyrm.report.study import ArmProbes, StudyReport
from tinyrm.types import Metric


def reliability(report: StudyReport) -> Chart | None:
    """Of the arm that dev chooses, before and after its temperature."""
    first = next((p for p in report.probes if report.best is not None and p.arm == report.best.name), None)
    if first is None:
        return None
    found, temperature = first.probes, first.probes.temperature
    rows = _curve(found.calibration, "as it is")
    told = f"ECE {found.calibration.ece:.3f}; a calibrated model gets {_range(found.calibration.ece_by_chance)}."
    if found.calibration_scaled is not None and temperature is not None:
        name = f"divided by {temperature.value.value:.3g}"
        rows += _curve(found.calibration_scaled, name)
        told += (
            f" Divided by {temperature.value.value:.3g}, the temperature fitted on {temperature.value.n:,} dev pairs, "
        )
        told += f"it gets {found.calibration_scaled.ece:.3f}."
        told += f" There is no best temperature: {temperature.limit}." if temperature.limit else ""
    else:
        told += f" No temperature: {found.missing.get('temperature', '')}."
    both = {"type": "quantitative", "axis": {"format": "%"}}
    x = {**both, "field": "confidence", "title": "confidence", "scale": {"domain": [0.5, 1]}}
    y = {**both, "title": "accuracy on test", "scale": {"zero": False}}
    color = {"field": "which", "type": "nominal", "title": None, "legend": {"orient": "top"}}
    diagonal = [{"confidence": 0.5, "value": 0.5}, {"confidence": 1, "value": 1}]
    layers: list[Row] = [
        {
            "data": {"values": diagonal},
            "mark": {"type": "line", "strokeDash": [4, 4], "strokeWidth": 1, "color": "#808080"},
            "encoding": {"x": x, "y": {**y, "field": "value"}},
        },
        {
            "mark": {"type": "rule", "strokeWidth": 1},
            "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": color},
        },
        {
            "mark": {"type": "line", "point": {"filled": True, "size": 60}, "tooltip": {"content": "data"}},
            "encoding": {"x": x, "y": {**y, "field": "value"}, "color": color},
        },
    ]
    columns = [Column("which", "log-odds"), Column("confidence", "confidence", "share")]
    columns += [Column("value", "accuracy", "share"), *INTERVAL]
    caption = (
        f"Trial {first.trial} of the arm that dev chose. Of the verdicts with a confidence, how many are right, in "
    )
    caption += f"bins of equal mass, 95% intervals; on the dashed line confidence means what it says. {told}"
    return chart_of("reliability", "probes", "Reliability", caption, columns, rows, {"height": 320, "layer": layers})


def probe_table(report: StudyReport) -> Chart | None:
    """All arms: accuracies that length and words do not explain as points, the other probes in the table."""
    rows = [row for probes in report.probes for row in _rows(probes)]
    order = list(dict.fromkeys(row["label"] for row in rows))
    y = {"field": "label", "type": "nominal", "sort": order, "title": None}
    color = {"field": "which", "type": "nominal", "title": None, "legend": {"orient": "top"}}
    spec = {"height": 50 * len(order), "layer": dots(y, color, "accuracy on test", {"format": "%"})}
    columns = [Column("rank", "rank by dev", "count"), Column("arm", "arm"), Column("trial", "trial", "count")]
    columns += [Column("which", "accuracy"), Column("value", "value", "share"), *INTERVAL]
    columns += [Column("flips", "order flips", "share"), Column("first", "of these, first place wins", "share")]
    columns += [Column("longer", "prefers the longer", "share"), Column("agreement", "agrees with the bag", "share")]
    columns += [Column(key, label, "number") for key, label in _CALIBRATED.items()]
    caption = "One trial an arm, pairs counted alike. Length-controlled: the mean of the accuracies where the better "
    caption += "response is longer and where it is shorter. The bag of words was fitted on the same train pairs; where "
    caption += "it is wrong, a model above 50% knows more than this bag. The table has order flips and calibration."
    return chart_of("probes", "probes", "Beyond length and words", caption, columns, rows, spec)


def prompts(report: StudyReport) -> Chart | None:
    """All arms: accuracy by quarters of the prompts' lengths."""
    rows = [
        {"rank": p.rank, "arm": p.arm, "label": p.label, "trial": p.trial, "which": f"{cut.low} to {cut.high} words"}
        | {"words": cut.low, **metric_row(cut.accuracy)}
        for p in report.probes
        for cut in p.probes.prompts
        if is_defined(cut.accuracy)
    ]
    order = list(dict.fromkeys(row["label"] for row in rows))
    y = {"field": "label", "type": "nominal", "sort": order, "title": None}
    color = {"field": "which", "type": "ordinal", "sort": {"field": "words"}, "title": "prompt"}
    color["legend"] = {"orient": "top"}
    spec = {"height": 60 * len(order), "layer": dots(y, color, "accuracy on test", {"format": "%"})}
    columns = [Column("rank", "rank by dev", "count"), Column("arm", "arm"), Column("trial", "trial", "count")]
    columns += [Column("which", "words of the prompt"), Column("value", "accuracy", "share"), *INTERVAL]
    caption = (
        "One trial an arm, pairs counted alike, in quarters by the words of the prompt. Where sections differ in it "
    )
    caption += "this cuts by section too: it shows where a model is weak, not why."
    return chart_of("prompts", "probes", "Length of the prompt", caption, columns, rows, spec)


_CALIBRATED = {
    "ece": "ECE",
    "brier": "Brier",
    "nll": "NLL",
    "temperature": "temperature",
    "ece_scaled": "ECE scaled",
    "nll_scaled": "NLL scaled",
}


def _curve(found: Calibration, which: str) -> list[Row]:
    return [{"which": which, "confidence": b.confidence, **metric_row(b.accuracy)} for b in found.bins]


def _range(metric: Metric) -> str:
    return f"{metric.low:.3f} to {metric.high:.3f}"


def _rows(arm: ArmProbes) -> list[Row]:
    found = arm.probes
    base: Row = {"rank": arm.rank, "arm": arm.arm, "label": arm.label, "trial": arm.trial}
    base |= {"flips": None, "first": None, "longer": found.lengths.prefers_longer.value, "agreement": None}
    if found.orders is not None:
        base |= {"flips": found.orders.flips.value, "first": found.orders.first_favoured.value}
    base |= {"ece": found.calibration.ece, "brier": found.calibration.brier.value, "nll": found.calibration.nll.value}
    base |= dict.fromkeys(("temperature", "ece_scaled", "nll_scaled"))
    if found.temperature is not None and found.calibration_scaled is not None:
        scaled = found.calibration_scaled
        base |= {"temperature": found.temperature.value.value, "ece_scaled": scaled.ece, "nll_scaled": scaled.nll.value}
    shown: Sequence[tuple[str, Metric]] = [("length-controlled", found.lengths.controlled)]
    if found.bag is not None:
        base["agreement"] = found.bag.agreement.value
        shown = [*shown, ("bag of words itself", found.bag.accuracy), ("where the bag is wrong", found.bag.where_wrong)]
    return [{**base, "which": which, **metric_row(metric)} for which, metric in shown if is_defined(metric)]
