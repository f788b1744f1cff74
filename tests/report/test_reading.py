"""What is read of a sweep: finished, running, failed, of several metrics, of any space."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import optuna
import pytest

from tinyrm.evaluation.metrics import wilson
from tinyrm.report.charts import charts_of
from tinyrm.report.html import html_page
from tinyrm.report.markdown import markdown
from tinyrm.report.reading import read_report
from tinyrm.report.study import StudyReport
from tinyrm.sweep import SweepError


def shown(report: StudyReport) -> str:
    """Every form of it but the pictures: none may fail, whatever the sweep."""
    strict = json.dumps(report.as_json(), allow_nan=False)
    return strict + markdown(report) + html_page(report)


def test_a_real_sweep_says_what_its_files_say(real: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(real.cwd)
    report = read_report(["real"])
    assert [t.number for t in report.trials] == [0, 1, 2, 3]
    for trial in report.trials:
        metrics = json.loads((real.folder / str(trial.number) / "metrics.json").read_text())
        assert trial.test is not None and trial.dev is not None
        assert trial.test.overall.accuracy.value == metrics["overall"]["accuracy"]["value"]
        assert trial.test.sections["chat"].longer_wins == metrics["sections"]["chat"]["longer_wins"]["value"]
        assert trial.dev.value == metrics["dev"]["accuracy"]
        assert [look.accuracy for look in trial.curve][-1] == pytest.approx(trial.curve[-1].accuracy)
        assert len(trial.curve) == 2
    assert {(a.name, a.seeds) for a in report.arms} == {("rank=2", 2), ("rank=4", 2)}
    first, second = report.arms
    assert first.dev.value >= second.dev.value
    mean = sum(t.test.overall.accuracy.value for t in report.trials if t.arm == first.name and t.test) / 2
    assert first.test is not None and first.test.value == pytest.approx(mean)
    assert first.dev == wilson(first.dev.value * 15, 15)
    assert report.benchmark == "pairs"
    assert [(c.first, c.second, c.seeds) for c in report.comparisons] == [(first.name, second.name, 2)]
    assert report.comparisons[0].difference.value == pytest.approx(first.test.value - second.test.value)  # type: ignore[union-attr]
    assert {e.factors[0] for e in report.sweeps[0].effects[0].main} == {"adapter.rank", "seed"}
    assert report.sweeps[0].command.startswith("python run.py -m hydra/launcher=basic model=tiny")
    assert report.command == "tinyrm report real"
    assert report.environment["version of torch"]
    assert not report.comparable


def test_the_last_worker_out_wrote_the_page(real: Any) -> None:
    assert (real.folder / "report.html").is_file()
    assert f"Report: {real.folder / 'report.html'}" in real.output


def test_the_named_question_is_that_of_the_yaml(build: Any, tmp_path: Path) -> None:
    url = build.study(tmp_path, [build.trial({"freeze": 0})], command=["+sweeps=demo"], name="demo")
    sweep = read_report(["demo"], url).sweeps[0]
    assert sweep.question.startswith("Which of two objectives") and "make" not in sweep.question
    assert sweep.command == "python run.py -m +sweeps=demo"


def test_dev_chooses_and_test_only_reports(build: Any, tmp_path: Path) -> None:
    """The arm that is best on test is not the one that dev chooses."""
    trials = [build.trial({"freeze": 0}, dev=0.9, skill=-1.0), build.trial({"freeze": 2}, dev=0.6, skill=2.0)]
    report = read_report(["made"], build.study(tmp_path, trials))
    assert [a.name for a in report.arms] == ["freeze=0", "freeze=2"]
    assert report.arms[0].test.value < report.arms[1].test.value  # type: ignore[union-attr]
    assert "Best by dev" in markdown(report)
    assert report.arms[0].rank == 1


def test_a_metric_that_is_to_be_small(build: Any, tmp_path: Path) -> None:
    trials = [build.trial({"freeze": f}, values={"dev_loss": 0.5 + f}) for f in (2, 0, 1)]
    report = read_report(["made"], build.study(tmp_path, trials, metrics={"dev_loss": "minimize"}))
    assert [a.params["freeze"] for a in report.arms] == [0, 1, 2]
    assert "0.5000" in shown(report)


def test_one_trial(build: Any, tmp_path: Path) -> None:
    report = read_report(["made"], build.study(tmp_path, [build.trial({})]))
    assert [a.name for a in report.arms] == ["the one configuration"]
    assert report.comparisons == ()
    assert "the one configuration" in shown(report)


def test_only_failed_trials(build: Any, tmp_path: Path) -> None:
    failed = [
        build.trial({"freeze": f}, None, "failed", None, None, "ValueError: no <b>luck</b>", "Trace") for f in (0, 1)
    ]
    failed.append(build.trial({"freeze": 2}, None, "out_of_memory", None, None, "OutOfMemoryError: full"))
    report = read_report(["made"], build.study(tmp_path, failed))
    assert report.best is None and report.arms == ()
    assert [(e.state, e.trials) for e in report.endings] == [("failed", (0, 1)), ("out_of_memory", (2,))]
    page = shown(report)
    assert "No result yet" in page and "no &lt;b&gt;luck" in page
    assert charts_of(report) == []


def test_a_sweep_that_has_not_begun(build: Any, tmp_path: Path) -> None:
    report = read_report(["made"], build.study(tmp_path, []))
    assert "no trial yet" in shown(report)


def test_a_running_sweep_says_that_it_is_not_done(build: Any, tmp_path: Path) -> None:
    url = build.study(tmp_path, [build.trial({"freeze": 0})])
    study = optuna.load_study(study_name="made", storage=url)
    study.ask({"freeze": optuna.distributions.CategoricalDistribution((0,))})
    report = read_report(["made"], url)
    assert report.sweeps[0].states == {"complete": 1, "running": 1}
    assert "not done: 1 of 2 trials are still open" in report.notes[0]
    assert "not done" in shown(report)


def test_several_metrics_have_a_front(build: Any, tmp_path: Path) -> None:
    costs = {0: 100.0, 1: 200.0, 2: 300.0}
    trials = [
        build.trial({"freeze": f}, dev=d, values={"trained_parameters": costs[f]})
        for f, d in ((0, 0.6), (1, 0.5), (2, 0.7))
    ]
    metrics = {"dev_accuracy": "maximize", "trained_parameters": "minimize"}
    report = read_report(["made"], build.study(tmp_path, trials, metrics=metrics))
    assert [(a.params["freeze"], a.on_front) for a in report.arms] == [(2, True), (0, True), (1, False)]
    assert "pareto" in {c.id for c in charts_of(report)}
    assert "on the Pareto front" in shown(report)


def test_a_space_that_was_sampled(thousand: str) -> None:
    report = read_report(["made"], thousand)
    assert len(report.trials) == 1000
    assert len(report.compared) == 12 and len(report.comparisons) == 66
    assert all(c.p_holm >= c.p_value for c in report.comparisons)
    lr = next(e for e in report.sweeps[0].effects[0].main if e.factors == ("optimizer.lr",))
    assert lr.binned and lr.p_value < 1e-6
    assert {i.param for i in report.sweeps[0].importance} == {"optimizer.lr", "adapter.rank", "freeze"}
    assert max(report.sweeps[0].importance, key=lambda i: i.ped_anova or 0).param == "optimizer.lr"
    assert any("chose points by earlier results" in note for note in report.notes)
    assert {e.state: len(e.trials) for e in report.endings} == {"pruned": 100, "failed": 50}


def test_two_sweeps_in_one_report(build: Any, tmp_path: Path) -> None:
    url = build.study(tmp_path, [build.trial({"freeze": f}, dev=0.5 + f / 10) for f in (0, 1)], name="old")
    build.study(tmp_path, [build.trial({"freeze": 1}, dev=0.9)], name="new", meaning={"model.id": "minilm"})
    report = read_report(["old", "new"], url)
    assert [a.name for a in report.arms] == ["new: freeze=1", "old: freeze=1", "old: freeze=0"]
    assert report.config_differences == {"model.id": ("tiny", "minilm")}
    assert {(c.first, c.second) for c in report.comparisons} >= {("new: freeze=1", "old: freeze=1")}
    assert "minilm" in shown(report)


def test_a_folder_that_is_gone_leaves_what_the_storage_knows(build: Any, tmp_path: Path) -> None:
    url = build.study(tmp_path, [build.trial({"freeze": f}, skill=None) for f in (0, 1)])
    report = read_report(["made"], url)
    assert report.arms[0].test is None
    assert "folders of 2 finished trials are not there" in " ".join(report.notes)
    assert shown(report)


def test_rewardbench_is_read_in_the_papers_sections(build: Any, tmp_path: Path) -> None:
    url = build.study(tmp_path, [build.trial({"freeze": 0})])
    path = tmp_path / "made" / "0" / "metrics.json"
    metrics = json.loads(path.read_text())
    sections = {name: metrics["sections"][name] for name in ("chat", "reasoning", "safety")}
    metrics |= {
        "benchmark": "rewardbench",
        "views": {"three_sections": {"sections": sections, "overall": metrics["overall"]}},
    }
    metrics["sections"] = {"Chat Hard": sections["chat"]}
    path.write_text(json.dumps(metrics))
    report = read_report(["made"], url)
    assert report.comparable and list(report.arms[0].sections) == ["chat", "reasoning", "safety"]
    (chart,) = [c for c in charts_of(report) if c.id == "sections"]
    drawn = [row for layer in chart.spec["layer"] for row in layer.get("data", {}).get("values", [])]
    assert {"section": "chat", "by": "TinyRM 400M specialists", "value": 0.788} in drawn
    assert "for context only" not in html_page(report)


def test_an_unknown_name_has_near_ones(build: Any, tmp_path: Path) -> None:
    url = build.study(tmp_path, [])
    with pytest.raises(SweepError, match="Did you mean 'made'"):
        read_report(["mad"], url)


def test_unknown_numbers_are_null_in_json(build: Any, tmp_path: Path) -> None:
    report = read_report(["made"], build.study(tmp_path, [build.trial({"freeze": 0})]))
    plain = report.as_json()
    assert plain["arms"][0]["dev"] == {"value": 0.5, "n": 100, "low": None, "high": None}
    assert math.isnan(report.arms[0].dev.low)
