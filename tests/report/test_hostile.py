"""What people and tracebacks say comes out as text, and nothing secret comes out at all."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tinyrm.report.charts import charts_of
from tinyrm.report.html import embedded, html_page
from tinyrm.report.markdown import escaped, markdown
from tinyrm.report.reading import read_report
from tinyrm.report.writing import picture

EVIL = "</script><script>alert('x')</script><img src=x onerror=\"alert(1)\"> \u2028 `'\" |{{7*7}} \u202e 雪"
LONG = "<b>prompt</b> " * 800  # 11,200 characters
PLANTED = ("hunter2", "hf_abcdefghijklmnop1234", "0123456789abcdef0123")


class Tags(HTMLParser):
    """Counts elements."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.images = 0, 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.scripts += tag == "script"
        self.images += tag == "img"


@pytest.fixture(scope="module")
def hostile(build: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("hostile")
    trials = [build.trial({"prompt.cloze": text, "freeze": f}) for text in (EVIL, LONG, "plain") for f in (0, 1)]
    secret = f"postgresql://me:{PLANTED[0]}@db/x WANDB_API_KEY={PLANTED[2]} token {PLANTED[1]}"
    trials.append(
        build.trial(
            {"prompt.cloze": EVIL, "freeze": 2}, None, "failed", None, None, f"{EVIL} {secret}", f"{EVIL}\n{secret}"
        )
    )
    url = build.study(
        folder,
        trials,
        command=[f"+x={EVIL}", f"+password={PLANTED[0]}"],
        meaning={"note": EVIL, "db.password": PLANTED[0]},
    )
    return url, folder


def test_the_page_holds_only_its_own_elements(hostile: tuple[str, Path]) -> None:
    page = html_page(read_report(["made"], hostile[0]))
    tags = Tags()
    tags.feed(page)
    assert (tags.scripts, tags.images) == (3, 0)
    assert "{{7*7}}" in page and "<b>prompt" not in page
    assert len(page) < 2_500_000


def test_json_inside_the_page_cannot_end_it() -> None:
    text = embedded({"a": EVIL})
    assert not any(sign in text for sign in ("<", ">", "&", "\u2028"))
    assert json.loads(text) == {"a": EVIL}


def test_markdown_stays_a_table(hostile: tuple[str, Path]) -> None:
    text = markdown(read_report(["made"], hostile[0]))
    text, fence, _ = text.partition("```sh")  # commands stand in a block, as they are
    assert fence
    assert "<script>" not in text and "<img" not in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.replace("\\|", "").count("|") for line in lines if line.startswith(("| 1 |", "| 2 |"))}) == 1
    assert escaped("a|b <i>*x*") == "a\\|b &lt;i&gt;\\*x\\*"


def test_every_picture_is_made(hostile: tuple[str, Path]) -> None:
    charts = {c.id: c for c in charts_of(read_report(["made"], hostile[0]))}
    for name in ("ranking", "matrix", "interaction-0-0", "parallel-0"):
        assert picture(charts[name]).startswith(b"\x89PNG")


def test_no_secret_comes_out(hostile: tuple[str, Path]) -> None:
    report = read_report(["made"], hostile[0])
    for text in (json.dumps(report.as_json()), markdown(report), html_page(report)):
        assert [word for word in PLANTED if word in text] == []
