"""The report as one HTML file that needs nothing else: no network, no other file.

Texts of people and tracebacks reach the page in two ways only: through Jinja's escaping, or as JSON in which no sign
can end a script, from where the page puts them into text nodes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tinyrm.report.charts import Chart, charts_of
from tinyrm.report.story import amount, answers, chosen_by, dev, p_value, points, share
from tinyrm.report.study import ArmRow, StudyReport, TrialRow, plain

_PAGE = Path(__file__).parent / "page"
PARTS = {
    "ranking": "Ranking",
    "effects": "Effects",
    "compare": "Comparison",
    "space": "Search space",
    "training": "Training",
    "test": "Test",
    "probes": "Probes",
    "cost": "Cost",
}
INTERACTIVE = {"measure": "Measure", "curve": "Show", "cost": "Cost", "share": "Best share of trials"}


def html_page(report: StudyReport) -> str:
    """The page."""
    import vl_convert

    environment = Environment(
        loader=FileSystemLoader(_PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    charts = charts_of(report)
    library = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    if "</script" in library.lower():
        raise ValueError("the plotting library holds the end of a script and cannot stand inside a page.")
    return environment.get_template("page.html.jinja").render(
        report=report,
        answers=answers(report),
        parts={part: [c for c in charts if c.part == part] for part in PARTS if any(c.part == part for c in charts)},
        titles=PARTS,
        arms=[_arm_cells(report, arm) for arm in report.arms],
        share=share,
        points=points,
        p_value=p_value,
        percent=lambda x: "-" if x is None or math.isnan(x) else f"{100 * x:.1f}",
        text=lambda value: json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value),
        style=Markup((_PAGE / "page.css").read_text(encoding="utf-8")),
        script=Markup((_PAGE / "page.js").read_text(encoding="utf-8")),
        library=Markup(library),
        data=Markup(embedded({"charts": [_chart(c) for c in charts], "tables": _tables(report), "name": report.title})),
        controls=INTERACTIVE,
    )


def embedded(value: Any) -> str:
    """JSON that may stand inside a script element: no sign of it can end the element or begin a comment."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    signs = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    for sign, instead in signs.items():
        text = text.replace(sign, instead)
    return text


def _chart(chart: Chart) -> dict[str, Any]:
    """Rows without their names: a long table is then half as large."""
    keys = list(dict.fromkeys(key for row in chart.rows for key in row))
    return {
        "id": chart.id,
        "title": chart.title,
        "columns": [[c.key, c.label, c.kind] for c in chart.columns],
        "keys": keys,
        "rows": [[row.get(key) for key in keys] for row in chart.rows],
        "spec": chart.spec,
        "controls": list(chart.controls),
    }


def _arm_cells(report: StudyReport, arm: ArmRow) -> dict[str, Any]:
    """A line of the ranking: what is shown, and by what it is sorted."""
    spread = arm.dev_range
    accuracy = chosen_by(report, arm) == "dev_accuracy"
    scale, digits = (100, 1) if accuracy else (1, 4)
    test = arm.test.value if arm.test is not None else math.nan
    flips = arm.flips.value if arm.flips is not None else math.nan
    cells = {
        "dev": (dev(report, arm), arm.dev.value),
        "range": (
            f"{scale * spread[0]:.{digits}f} to {scale * spread[1]:.{digits}f}" if arm.seeds > 1 else "",
            arm.seeds,
        ),
        "test": (share(arm.test), test),
        "flips": (share(arm.flips).partition(" ")[0], flips),
        "parameters": _cost(arm, "trained_parameters"),
        "speed": _cost(arm, "pairs_per_second"),
    }
    sortable = {key: (shown, "" if math.isnan(value) else value) for key, (shown, value) in cells.items()}
    return {"arm": arm, "trials": ", ".join(map(str, arm.trials)), **sortable}


def _cost(arm: ArmRow, name: str) -> tuple[str, float]:
    value = arm.cost.get(name, math.nan)
    return amount(value), value


def _tables(report: StudyReport) -> dict[str, Any]:
    """Tables that the page makes when they are opened."""
    params = list(dict.fromkeys(key for t in report.trials for key in t.params))
    head = [["sweep", "sweep", "text"], ["trial", "trial", "count"], ["state", "state", "text"]]
    head += [[f"p{i}", name, "text"] for i, name in enumerate(params)]
    head += [
        ["dev", "dev (chosen by)", "number"],
        ["test", "test (reported)", "share"],
        ["seconds", "seconds", "number"],
    ]
    head += [["attempt", "attempts", "count"], ["why", "why", "text"], ["line", "run alone", "text"]]
    return {
        "trials": {
            "title": "All trials",
            "columns": head,
            "keys": [key for key, *_ in head],
            "rows": _trials(report.trials, params),
        }
    }


def _trials(trials: Sequence[TrialRow], params: Sequence[str]) -> list[list[Any]]:
    rows = []
    for t in trials:
        why = t.message or (f"same as {t.same_as}" if t.same_as is not None else "")
        why += f" (repeated as {t.repeated_as})" if t.repeated_as is not None else ""
        test = t.test.overall.accuracy.value if t.test else None
        own = [_short(t.params.get(p)) for p in params]
        rows.append(
            [
                t.sweep,
                t.number,
                t.state,
                *own,
                t.dev.value if t.dev else None,
                test,
                t.seconds,
                t.attempt,
                why[:300],
                t.line[:2000],
            ]
        )
    return rows


def _short(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float) else str(value)[:300]
