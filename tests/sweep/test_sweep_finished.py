"""What an application does after a sweep: once, when all is done, and never at the sweep's cost."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from tinyrm.sweep import App


class Finishing(App):
    """Notes the trials of each sweep that is done; then fails, where it is told to."""

    def __init__(self, defect: bool = False) -> None:
        self.seen: list[int] = []
        self.defect = defect

    def finished(self, study: Any) -> None:
        self.seen.append(len(study.records()))
        if self.defect:
            raise RuntimeError("a defect in the report")


def known(app: Finishing, monkeypatch: pytest.MonkeyPatch) -> str:
    module = ModuleType("finishing")
    module.APP = app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "finishing", module)
    return "hydra.sweeper.app=finishing.APP"


def test_it_is_told_once_and_again_when_there_is_more(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Finishing()
    override = known(app, monkeypatch)
    engine.sweep(lambda config: 1.0, override, "x=1,2", name="s")
    assert app.seen == [2]
    engine.sweep(lambda config: 1.0, override, "x=1,2", name="s")
    assert app.seen == [2]
    engine.sweep(lambda config: 1.0, override, "x=1,2,3", name="s")
    assert app.seen == [2, 3]


def test_what_fails_after_a_sweep_does_not_fail_it(
    engine: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    records = engine.sweep(lambda config: 1.0, known(Finishing(defect=True), monkeypatch), "x=1,2", name="s")
    assert [r.state for r in records] == ["complete", "complete"]
    assert "What was to follow sweep s failed: a defect in the report" in caplog.text
