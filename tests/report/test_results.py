"""Records of finished studies, and RESULTS.md, which is what the records say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinyrm.errors import DataError
from tinyrm.report.results import read_records, record_studies, write_page
from tinyrm.report.results_page import seeds_for_half

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, claimed: Any) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    claimed(folder)
    record_studies(["made"], f"sqlite:///{folder}/sweeps.db", folder / "results")
    return folder


def test_a_record_holds_the_study_and_no_path(recorded: Path) -> None:
    (record,) = read_records(recorded / "results")
    assert record["claims"]["It learns."] == "supported"
    assert [c["verdict"] for c in record["contrasts"]] == ["supported", "supported", "refuted"]
    good = next(arm for arm in record["arms"] if arm["name"] == "skill=good")
    assert good["seeds"] == [0, 1, 2] and good["accuracy"]["n"] == 300
    assert set(good["sections"]) == {"chat", "reasoning", "safety"}
    assert good["sections"]["chat"]["accuracy"]["n"] == 100 and 0 < good["sections"]["chat"]["longer_wins"] < 1
    assert good["probes"]["flips"]["n"] == 300
    assert record["failed"] == [{"trial": 6, "arm": "skill=lost", "state": "failed", "message": "ValueError: PATH c"}]
    text = json.dumps(record)
    assert str(recorded) not in text and "NaN" not in text


def test_the_page_says_what_the_records_say(recorded: Path) -> None:
    out = write_page(recorded / "results", recorded / "RESULTS.md")
    page = out.read_text(encoding="utf-8")
    assert "It learns. ([made](#made)) | **supported** | skill=good against chance: supported |" in page
    assert "![effects and intervals of made](results/made.svg)" in page
    assert (recorded / "results" / "made.svg").read_text().startswith("<svg")
    assert "trial 6 (skill=lost) failed: ValueError: PATH c" in page
    assert "*the longer response wins*" in page and "What is not shown" in page
    record = json.loads((recorded / "results" / "made.json").read_text())
    effect = record["contrasts"][0]["effect"]
    assert f"{100 * effect['value']:+.1f} [{100 * effect['low']:+.1f}, {100 * effect['high']:+.1f}]" in page
    assert write_page(recorded / "results", recorded / "RESULTS.md").read_text(encoding="utf-8") == page


def test_a_note_stays_when_a_study_is_recorded_again(recorded: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{recorded}/sweeps.db"
    for notes in (["Begun *twice*."], []):
        record_studies(["made"], url, tmp_path / "results", notes)
        page = write_page(tmp_path / "results", tmp_path / "RESULTS.md").read_text(encoding="utf-8")
        assert "Note: Begun \\*twice\\*." in page


def test_user_text_is_no_markup(recorded: Path, tmp_path: Path) -> None:
    record = json.loads((recorded / "results" / "made.json").read_text())
    record["contrasts"][0]["name"] = "a | b <script>alert(1)</script>\n# c"
    record["arms"][0]["name"] = "x|y"
    (tmp_path / "made.json").write_text(json.dumps(record))
    page = write_page(tmp_path, tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "<script" not in page and "\n# c" not in page
    assert "a \\| b &lt;script\\>" in page and "| x\\|y |" in page


def test_what_is_no_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(DataError, match=r"a\.json is no record of a study"):
        read_records(tmp_path)


def test_a_study_without_results_is_not_recorded(tmp_path: Path, build: Any) -> None:
    url = build.study(tmp_path, [build.trial({"seed": 0}, end="failed", dev=None, skill=None)])
    with pytest.raises(DataError, match="has no finished trials"):
        record_studies(["made"], url, tmp_path / "results")


def test_half_the_width_takes_so_many_seeds() -> None:
    assert [seeds_for_half(n) for n in (1, 2, 3, 10)] == [3, 3, 5, 33]


def test_the_committed_page_is_that_of_the_committed_records(tmp_path: Path) -> None:
    """RESULTS.md is never written by hand: `tinyrm results` gives it again."""
    records = ROOT / "sweeps" / "results"
    page = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    copy = tmp_path / "sweeps" / "results"
    copy.mkdir(parents=True)
    for record in records.glob("*.json"):
        (copy / record.name).write_bytes(record.read_bytes())
    assert write_page(copy, tmp_path / "RESULTS.md").read_text(encoding="utf-8") == page
    assert sorted(p.name for p in copy.glob("*.svg")) == sorted(p.name for p in records.glob("*.svg"))
