"""The page in a real browser, by keyboard alone, and its pictures where TINYRM_SCREENSHOTS names a folder for them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tinyrm.serving.model import RewardModel


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1000,900"):
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    found = webdriver.Chrome(options, service)
    yield found
    found.quit()


@pytest.fixture(scope="module")
def model(cloze_run: Path) -> RewardModel:
    return RewardModel.from_pretrained(os.environ.get("TINYRM_SHOWN", cloze_run), truncation="ignore")


@pytest.fixture(scope="module")
def address(model: RewardModel, served: Callable[..., contextlib.AbstractContextManager[str]]) -> Iterator[str]:
    with served(model, max_text_chars=3000) as found:
        yield found


def shoot(browser: Any, name: str) -> None:
    if folder := os.environ.get("TINYRM_SCREENSHOTS"):
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))


def press(browser: Any, *keys: str) -> None:
    actions = ActionChains(browser)
    for key in keys:
        actions.send_keys(key)
    actions.perform()


def verdict(browser: Any) -> str:
    WebDriverWait(browser, 20).until(lambda b: b.find_element("id", "verdict").is_displayed())
    return str(browser.find_element("id", "headline").text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_two_answers_are_compared_by_keyboard_alone(
    scheme: str, address: str, model: RewardModel, browser: Any
) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(address)
    assert browser.switch_to.active_element.get_attribute("id") == "prompt"
    texts = ["What is 2+2?", "It is <b>4</b>.", "It is 5."]
    for text in texts:  # each field is reached by the tab key and written over
        ActionChains(browser).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).perform()
        press(browser, text, Keys.TAB)
    assert browser.switch_to.active_element.tag_name == "button"
    press(browser, Keys.ENTER)
    own = model.compare(*texts)
    said = verdict(browser)
    assert ("Answer 1" if own.better == "a" else "Answer 2") in said
    assert said.startswith("Undecided") != own.order_consistent
    cells = [cell.text for cell in browser.find_elements("css selector", "#orders td")]
    assert cells[3] == f"{own.a_first:.3f}" and cells[7] == f"{own.a_second:.3f}"
    assert ("Both orders agree" in browser.find_element("id", "note").text) == own.order_consistent
    shoot(browser, f"page-{scheme}")
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in ground[4:-1].split(",")) > 384) == (scheme == "light")
    assert [
        line for line in browser.get_log("browser") if line["level"] == "SEVERE" and "favicon" not in line["message"]
    ] == []


def test_what_is_refused_is_told(address: str, browser: Any) -> None:
    browser.get(address)
    browser.execute_script("document.getElementById('a').value = 'x'.repeat(3001)")
    ActionChains(browser).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
    WebDriverWait(browser, 20).until(lambda b: b.find_element("id", "error").is_displayed())
    assert "at most 3000 characters" in browser.find_element("id", "error").text
    assert not browser.find_element("id", "verdict").is_displayed()


def test_the_api_is_shown_without_a_network(address: str, browser: Any) -> None:
    browser.get(f"{address}/docs")
    WebDriverWait(browser, 20).until(lambda b: b.find_elements("tag name", "pre"))
    text = browser.find_element("tag name", "main").text
    assert "POST /v1/compare" in text and "429" in text and "order_consistent" in text
    shoot(browser, "docs")


def test_it_fits_a_narrow_screen(address: str, browser: Any) -> None:
    browser.set_window_size(500, 900)
    browser.get(address)
    width, shown = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert width <= shown
    shoot(browser, "page-narrow")
