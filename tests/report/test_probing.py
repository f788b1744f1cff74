"""`tinyrm probe` on runs that were really made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tinyrm.cli import main
from tinyrm.evaluation.predictions import DEV_PREDICTIONS, PREDICTIONS
from tinyrm.evaluation.probes import PROBES, read_probes
from tinyrm.report.charts import charts_of
from tinyrm.report.html import html_page
from tinyrm.report.markdown import markdown
from tinyrm.report.probe_table import probe_tables
from tinyrm.report.reading import read_report


def test_a_run_has_its_probes_beside_its_metrics_and_the_command_gives_the_same(
    cloze_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = json.loads((cloze_run / PROBES).read_text())
    assert main(["probe", str(cloze_run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {str(cloze_run): kept}
    assert kept["missing"] == {}
    assert kept["n"] == kept["orders"]["flips"]["n"] == kept["bag"]["agreement"]["n"] == 30
    assert kept["temperature"]["value"]["n"] == 15
    assert kept["accuracy"] == json.loads((cloze_run / "metrics.json").read_text())["pooled"]["accuracy"]
    assert sum(cut["accuracy"]["n"] for cut in kept["prompts"]) == 30


def test_the_screen_tells_what_is_missing_and_why(
    cloze_run: Path, single_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    table = pq.read_table(cloze_run / PREDICTIONS).drop_columns(["prompt_words", "bag_log_odds"])
    pq.write_table(table, old / PREDICTIONS)
    assert main(["probe", str(cloze_run), str(single_run), str(old)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "orders: each response is read alone" in shown
    assert "temperature: the run kept no log-odds of its dev pairs" in shown
    assert "bag: no bag of words was fitted" in shown
    for line in ("flips with the order", "length-controlled accuracy", "agreement with it", "ECE, scaled by it"):
        assert line in shown


def test_the_folder_of_a_sweep_stands_for_its_trials(
    cloze_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("0", "10", "2"):
        (tmp_path / name).mkdir()
        for file in (PREDICTIONS, DEV_PREDICTIONS):
            shutil.copy(cloze_run / file, tmp_path / name / file)
    assert main(["probe", str(tmp_path), "--json"]) == 0
    assert [Path(name).name for name in json.loads(capsys.readouterr().out)] == ["0", "2", "10"]


def test_as_many_runs_to_a_table_as_fit(cloze_run: Path) -> None:
    found = {f"run {number}": read_probes(cloze_run) for number in range(5)}
    assert [len(table.columns) for table in probe_tables(found, 100)] == [3, 3, 2]


def test_a_folder_without_predictions_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", str(tmp_path)]) == 2
    assert f"holds no {PREDICTIONS}" in capsys.readouterr().err


def test_a_report_has_the_probes_of_each_arm_whose_predictions_are_there(
    real: Any, build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(real.cwd)
    report = read_report(["real"])
    assert [(p.arm, p.rank, p.trial) for p in report.probes] == [(a.name, a.rank, a.trials[0]) for a in report.arms]
    first = report.probes[0]
    assert first.probes.to_json() == json.loads((real.folder / str(first.trial) / PROBES).read_text())
    charts = {chart.id: chart for chart in charts_of(report)}
    (point,) = [row for row in charts["reliability"].rows if row["which"] == "as it is"]  # 30 pairs make one bin
    assert (point["n"], point["value"]) == (30, pytest.approx(first.probes.accuracy.value))
    shown = {row["which"]: row["value"] for row in charts["probes"].rows if row["rank"] == 1}
    assert first.probes.bag is not None
    assert shown["length-controlled"] == pytest.approx(first.probes.lengths.controlled.value)
    assert shown["bag of words itself"] == pytest.approx(first.probes.bag.accuracy.value)
    assert '"nll_scaled"' in html_page(report)
    quarters = [row for row in charts["prompts"].rows if row["rank"] == 1]
    assert [(row["n"], row["value"]) for row in quarters] == [
        (cut.accuracy.n, cut.accuracy.value) for cut in first.probes.prompts
    ]

    lines = markdown(report).partition("## Probes")[2].partition("\n## ")[0].splitlines()
    behind, calibrated, *cuts = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith(f"| {first.arm} |")
    ]
    kept = json.loads((real.folder / str(first.trial) / PROBES).read_text())  # what `tinyrm probe` shows
    places = "orders.flips lengths.controlled lengths.longer lengths.shorter bag.accuracy bag.agreement bag.where_wrong"
    told = [kept[one][two]["value"] for one, two in (place.split(".") for place in places.split())]
    shown_values = [float(cell.partition(" ")[0]) for cell in [behind[1], *behind[3:9]]]
    assert shown_values == pytest.approx([100 * value for value in told], abs=0.051)
    assert calibrated[1] == f"{kept['calibration']['ece']:.3f}"
    assert calibrated[6] == f"{kept['calibration_scaled']['ece']:.3f}"
    assert [cut[1] for cut in cuts] == [f"{cut['low']} to {cut['high']}" for cut in kept["prompts"]]
    assert [int(cut[3]) for cut in cuts] == [cut["accuracy"]["n"] for cut in kept["prompts"]]

    made = [build.trial({"x": 1}), build.trial({"x": 2}, skill=None)]  # the second has lost its folder
    old = read_report(["made"], build.study(tmp_path, made, pairs=60))
    assert [p.arm for p in old.probes] == ["x=1"]
    assert "temperature: the run kept no log-odds" in markdown(old)
    assert "No temperature: the run kept no log-odds" in {c.id: c for c in charts_of(old)}["reliability"].caption
