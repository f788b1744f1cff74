"""The report and the workspace view as W&B is sent them, without W&B: mistakes in a spec raise nothing, anywhere."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import wandb_workspaces.reports.v2.interface as interface

from tinyrm.errors import ConfigError
from tinyrm.report.wandb_report import Story, build_report, build_workspace

HOSTILE = 'it\'s = <b> or "within_last" 5 days \\ ü\n'
STORY = Story(
    title="Rank and depth",
    groups=["base", HOSTILE],
    factors=["adapter.rank", "freeze", "optimizer.lr"],
    sections=["chat", "safety"],
    markdown="| trial | accuracy |\n| --- | --- |\n| 0 | 0.61 [0.58, 0.64] |",
    logarithmic=["optimizer.lr"],
)


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Of the report; the one question asked to build it, the project's id, is answered here."""
    monkeypatch.setattr(interface, "_get_api", lambda: None)
    monkeypatch.setattr(interface, "execute_graphql", lambda *_: {"project": {"internalId": "x"}})
    sent: dict[str, Any] = build_report(STORY, "p", "e")._to_model().spec.model_dump(by_alias=True, exclude_none=True)
    return sent


def grids(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [block["metadata"] for block in spec["blocks"] if block["type"] == "panel-grid"]


def panels(spec: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = [panel for grid in grids(spec) for panel in grid["panelBankSectionConfig"]["panels"]]
    return [panel["config"] for panel in found if panel["viewType"] == kind]


def group_is(name: str) -> list[dict[str, Any]]:
    return [
        {"key": {"section": "run", "name": "group"}, "op": "=", "value": name, "disabled": False},
        {
            "key": {"section": "config", "name": "job_type"},
            "op": "=",
            "value": "train",
            "disabled": False,
            "connector": "AND",
        },
    ]


def test_each_sweep_is_a_run_set_of_its_training_runs(spec: dict[str, Any]) -> None:
    assert len(grids(spec)) == 4
    for grid in grids(spec):
        assert [s["name"] for s in grid["runSets"]] == ["base", HOSTILE]
        assert [s["filters"]["filters"] for s in grid["runSets"]] == [group_is("base"), group_is(HOSTILE)]
        assert grid["runSets"][0]["sort"]["keys"] == [
            {"key": {"section": "summary", "name": "dev/accuracy"}, "ascending": False}
        ]


def test_our_tables_come_first_and_as_they_are(spec: dict[str, Any]) -> None:
    markdown = [block for block in spec["blocks"] if block["type"] == "markdown-block"]
    assert [block["content"] for block in markdown] == [STORY.markdown]
    assert [block["type"] for block in spec["blocks"]].index("markdown-block") < 2


def test_charts_ask_for_config_and_summary_where_these_are(spec: dict[str, Any]) -> None:
    (parallel,) = panels(spec, "Parallel Coordinates Plot")
    assert parallel["columns"] == [
        {"accessor": "config:adapter.value.rank"},
        {"accessor": "config:freeze.value"},
        {"accessor": "config:optimizer.value.lr", "log": True},
        {"accessor": "summary:dev/accuracy"},
    ]
    (importance,) = panels(spec, "Parameter Importance")
    assert importance["targetKey"] == "dev/accuracy"
    bars = panels(spec, "Bar Chart")
    assert [bar["groupBy"] for bar in bars[:3]] == ["adapter.value.rank", "freeze.value", "optimizer.value.lr"]
    assert bars[4]["metrics"] == [f"summary_metrics.test/chat/{m}" for m in ("accuracy", "longer_wins", "shorter_wins")]
    assert (bars[4]["xAxisMin"], bars[4]["xAxisMax"]) == (0.0, 1.0)
    lines = panels(spec, "Run History Line Plot")
    assert {(line["xAxis"], *line["metrics"]) for line in lines} >= {("trainer/global_step", "dev/accuracy")}
    (comparer,) = panels(spec, "Run Comparer")
    assert comparer["diffOnly"] == "split"
    costs = panels(spec, "Scatter Plot")
    assert costs[0]["xAxis"] == "summary:pairs_per_second"


def test_the_workspace_view_shows_the_same_runs_and_charts() -> None:
    sent = build_workspace(STORY, "p", "e")._to_model().model_dump(by_alias=True, exclude_none=True)
    section = sent["spec"]["section"]
    assert (sent["displayName"], sent["project"], sent["entity"]) == ("Rank and depth", "p", "e")
    kinds = [[p["viewType"] for p in s["panels"]] for s in section["panelBankConfig"]["sections"]]
    assert kinds[0][:2] == ["Parallel Coordinates Plot", "Parameter Importance"]
    assert kinds[1] == ["Bar Chart"] * 3
    (runs,) = section["runSets"]
    values = [f["value"] for f in _leaves(runs["filters"]) if f["key"]["name"] == "group"]
    assert values == ["base", HOSTILE]


def _leaves(tree: dict[str, Any]) -> list[dict[str, Any]]:
    return [leaf for f in tree["filters"] for leaf in (_leaves(f) if "filters" in f else [f])]


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    with pytest.raises(ConfigError, match=r"tinyrm\[report\]"):
        build_report(STORY, "p", "e")
