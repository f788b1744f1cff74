"""The page in a real browser: every control is used, numbers are those of metrics.json, nothing goes wrong or out."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyrm.report.html import html_page
from tinyrm.report.reading import read_report

# Every chart drawn: they are when they come near the screen.
DRAWN = """
const wanted = [...document.querySelectorAll('figure.chart')];
const next = wanted.find((figure) => !figure.dataset.drawn);
if (next) next.scrollIntoView();
return !next;
"""


def until(check: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
    return found


def opened(browser: Any, page: Path) -> None:
    browser.get_log("browser")
    browser.get(page.as_uri())
    until(lambda: browser.execute_script("return document.documentElement.dataset.ready"))


def complaints(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser")]


@pytest.fixture
def page(browser: Any, real: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(real.cwd)
    opened(browser, real.folder / "report.html")
    return browser


def by(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def pressed(browser: Any, selector: str) -> None:
    """Click where the sticky bar may lie above."""
    browser.execute_script("arguments[0].click()", by(browser, selector))


def test_the_numbers_shown_are_those_of_the_files(page: Any, real: Any) -> None:
    pressed(page, "#trials summary")
    rows = until(lambda: page.find_elements("css selector", "#trials tbody tr"))
    heads = [h.text for h in page.find_elements("css selector", "#trials thead th")]
    column = next(i for i, text in enumerate(heads) if text.startswith("test"))
    for row in rows:
        cells = [c.text for c in row.find_elements("css selector", "td")]
        metrics = json.loads((real.folder / cells[1] / "metrics.json").read_text())
        assert cells[column] == f"{100 * metrics['overall']['accuracy']['value']:.1f}%"
    assert len(rows) == 4
    until(lambda: page.execute_script(DRAWN))
    pressed(page, "#sections [data-do=table]")
    first = [c.text for c in page.find_elements("css selector", "#sections tbody tr:first-child td")]
    arm = read_report(["real"]).arms[0]
    values = [json.loads((real.folder / str(n) / "metrics.json").read_text())["sections"]["chat"] for n in arm.trials]
    assert first[:3] == [f"#1 {arm.name}", "chat", f"{100 * sum(v['accuracy']['value'] for v in values) / 2:.1f}%"]
    assert first[6] == f"{100 * values[0]['longer_wins']['value']:.1f}%"
    assert complaints(page) == []


def test_every_control_works(page: Any) -> None:
    until(lambda: page.execute_script(DRAWN))

    def drawn(chart: str) -> str:
        return str(page.execute_script("return document.querySelector(arguments[0]).innerHTML", f"#{chart} .plot"))

    before = {chart: drawn(chart) for chart in ("shares-0", "effect-0-0", "curves", "cost", "parallel-0")}
    page.execute_script(
        "const set = (s, v) => { const e = document.querySelector(s); e.value = v;"
        " e.dispatchEvent(new Event(e.tagName === 'SELECT' ? 'change' : 'input')); };"
        "set('[data-control=measure]', 'test_accuracy'); set('[data-control=curve]', 'loss');"
        "set('[data-control=cost]', 'pairs_per_second'); set('[data-control=share]', '0.3');"
    )
    until(lambda: all(drawn(chart) != was for chart, was in before.items()))
    lines = "return document.querySelectorAll('#parallel-0 .plot g.mark-line path').length"
    until(lambda: page.execute_script(lines) == 1)  # the best 30% of four trials
    find = by(page, "#find")
    find.send_keys("rank=4")
    shown = [r for r in page.find_elements("css selector", "#ranking-table tbody tr") if r.is_displayed()]
    assert ["rank=4" in r.text for r in shown] == [True]
    assert by(page, "#found").text == "1 of 2 arms"
    find.clear()
    find.send_keys(" ")
    head = page.find_elements("css selector", "#ranking-table thead th")[6]
    head.find_element("css selector", "button").click()
    amounts = [
        r.find_elements("css selector", "td")[6].text
        for r in page.find_elements("css selector", "#ranking-table tbody tr")
    ]
    numbers = [int(a.replace(",", "")) for a in amounts]
    assert numbers == sorted(numbers)
    assert head.get_attribute("aria-sort") == "ascending"
    assert complaints(page) == []


def test_downloads_hold_the_rows_of_the_chart(page: Any, browser: Any) -> None:
    until(lambda: page.execute_script(DRAWN))
    for kind in ("csv", "svg", "png"):
        pressed(page, f"#matrix [data-do={kind}]")
    files = {kind: browser.downloads / f"real-matrix.{kind}" for kind in ("csv", "svg", "png")}
    until(lambda: all(f.is_file() and f.stat().st_size for f in files.values()), 30)
    with files["csv"].open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    comparison = read_report(["real"]).comparisons[0]
    assert float(rows[0]["difference"]) == pytest.approx(comparison.difference.value)
    assert rows[0]["arm"] == comparison.first
    assert files["png"].read_bytes().startswith(b"\x89PNG") and "<svg" in files["svg"].read_text()


def test_light_dark_and_a_phone(page: Any) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    before = page.execute_script(ground)
    by(page, "#theme").click()
    assert page.execute_script(ground) != before
    by(page, "#theme").click()
    assert page.execute_script(ground) == before
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page.refresh()
        until(lambda: page.execute_script("return document.documentElement.dataset.ready"))
        until(lambda: page.execute_script(DRAWN))
        assert page.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert complaints(page) == []


def test_names_of_arms_are_whole_on_a_phone(browser: Any, build: Any, tmp_path: Path) -> None:
    trials = [build.trial({"freeze": f, "trainer.batch_tokens": t}) for f in (0, 1) for t in (1024, 2048)]
    place = tmp_path / "phone.html"
    place.write_text(html_page(read_report(["made"], build.study(tmp_path, trials))), encoding="utf-8")
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        opened(browser, place)
        until(lambda: browser.execute_script("return document.getElementById('ranking').dataset.drawn"))
        texts = "return [...document.querySelectorAll('#ranking .plot text')].map((text) => text.textContent)"
        shown = browser.execute_script(texts)
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert not any("…" in text for text in shown)
    assert sorted(text for text in shown if "freeze=1" in text and "batch_tokens=2048" in text)


def test_the_keyboard_reaches_and_works_the_buttons(page: Any) -> None:
    until(lambda: page.execute_script(DRAWN))
    button = by(page, "#ranking [data-do=table]")
    page.execute_script("arguments[0].focus()", button)
    page.switch_to.active_element.send_keys("\ue007")  # Enter
    assert button.get_attribute("aria-expanded") == "true"
    assert by(page, "#ranking .table table").is_displayed()


def test_a_thousand_trials_open_in_under_three_seconds(browser: Any, thousand: str, tmp_path: Path) -> None:
    text = html_page(read_report(["made"], thousand))
    assert len(text.encode()) < 10_000_000
    place = tmp_path / "thousand.html"
    place.write_text(text, encoding="utf-8")
    took = []
    for _ in range(3):  # others may be at work on this machine: the page is as fast as its fastest
        opened(browser, place)
        until(lambda: browser.execute_script("return document.querySelector('#ranking').dataset.drawn"))
        took.append(browser.execute_script("return performance.now()") / 1000)
        if min(took) < 3:
            break
    assert min(took) < 3
    until(lambda: browser.execute_script(DRAWN))
    assert complaints(browser) == []


def test_hostile_texts_run_nothing(browser: Any, build: Any, tmp_path: Path) -> None:
    evil = '<img src=x onerror="window.hit=1"></script><script>window.hit=1</script>'
    trials = [build.trial({"prompt.cloze": f"{evil}{i}", "freeze": f}) for i in (0, 1) for f in (0, 1)]
    trials.append(build.trial({"freeze": 3}, None, "failed", None, None, evil, evil))
    place = tmp_path / "hostile.html"
    place.write_text(
        html_page(read_report(["made"], build.study(tmp_path, trials, meaning={"x": evil}))), encoding="utf-8"
    )
    opened(browser, place)
    until(lambda: browser.execute_script(DRAWN))
    browser.execute_script("for (const b of document.querySelectorAll('[data-do=table], summary')) b.click()")
    assert browser.execute_script("return window.hit ?? null") is None
    assert (
        browser.execute_script("return document.querySelectorAll('#trials img, .ending img, figure img').length") == 0
    )
    assert complaints(browser) == []
