"""A report becomes the names that its runs have in W&B."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinyrm.cli import main
from tinyrm.report import publishing
from tinyrm.report.publishing import story_of
from tinyrm.report.reading import read_report
from tinyrm.report.wandb_report import Published, Story


def test_a_story_has_the_names_of_the_sweeps_runs(real: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(real.cwd)
    story = story_of(read_report(["real"]))
    record = json.loads((real.folder / "0" / "run.json").read_text())
    assert (story.title, story.groups, story.factors) == ("real", ["real"], ["adapter.rank"])  # seeds are repetitions
    assert story.metric == "dev/accuracy" and set(story.sections) == {"chat", "reasoning", "safety"}
    assert "rank" in record["config"]["adapter"] and "## Ranking" in story.markdown


def test_the_command_saves_the_page_and_the_report(
    real: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    told: dict[str, Any] = {}

    def publish(story: Story, *, project: str, entity: str | None) -> Published:
        told.update(story=story, project=project, entity=entity)
        return Published("https://w/report", "https://w/view")

    monkeypatch.setattr(publishing, "publish", publish)
    monkeypatch.chdir(real.cwd)
    assert main(["report", "real", "--format", "md", "--out", str(tmp_path / "r.md"), "--wandb", "--entity", "us"]) == 0
    assert (told["story"].title, told["project"], told["entity"]) == ("real", "tinyrm", "us")
    assert (tmp_path / "r.md").read_text() == told["story"].markdown
    assert "W&B report: https://w/report\nW&B workspace: https://w/view\n" in capsys.readouterr().out
