"""Writing a report, in any of its forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tinyrm.errors import ConfigError, did_you_mean
from tinyrm.files import atomic_path, write_json, write_text
from tinyrm.report.charts import Chart, charts_of
from tinyrm.report.study import StudyReport

FORMATS = ("html", "md", "json", "png")
_PICTURE_WIDTH = 700
_PICTURE_SCALE = 2  # pixels a unit


def check_format(name: str) -> None:
    """Raise a ConfigError for a format that there is not."""
    if name not in FORMATS:
        raise ConfigError(f"--format {name} is not known.{did_you_mean(name, FORMATS)}")


def default_place(report: StudyReport, form: str) -> Path:
    """In the folder of the first sweep; of several sweeps, a file with all their names."""
    names = [s.name for s in report.sweeps]
    stem = "report" if len(names) == 1 else "report-" + "-".join(names)[:120]
    return Path(report.sweeps[0].folder) / (stem if form == "png" else f"{stem}.{form}")


def write_report(report: StudyReport, form: str, place: Path) -> Path:
    """Write it, whole or not at all; give where it is.

    Args:
        form: html | md | json, a file; png, a folder with a picture a chart.

    Raises:
        ConfigError: no such format.
        StorageError: no space, no permission.
    """
    check_format(form)
    if form == "html":
        from tinyrm.report.html import html_page

        write_text(place, html_page(report))
    elif form == "md":
        from tinyrm.report.markdown import markdown

        write_text(place, markdown(report))
    elif form == "json":
        write_json(place, report.as_json())
    else:
        for chart in charts_of(report):
            with atomic_path(place / f"{chart.id}.png") as temporary:
                temporary.write_bytes(picture(chart))
    return place


def picture(chart: Chart) -> bytes:
    """A chart as PNG, made without a browser."""
    import vl_convert

    return bytes(vl_convert.vegalite_to_png(_with_rows(chart), scale=_PICTURE_SCALE))


def _with_rows(chart: Chart) -> dict[str, Any]:
    spec: dict[str, Any] = json.loads(json.dumps(chart.spec, allow_nan=False))
    spec |= {"datasets": {"rows": list(chart.rows)}, "width": _PICTURE_WIDTH if chart.wide else _PICTURE_WIDTH // 2}
    spec |= {"title": {"text": chart.title, "anchor": "start"}, "autosize": "pad", "background": "white"}
    spec["config"] = {"range": {"diverging": ["#c9640a", "#f6f7f9", "#2467c9"]}, "view": {"stroke": None}}
    return spec
