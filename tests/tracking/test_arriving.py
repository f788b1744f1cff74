"""What is tracked arrives at a server, whole and once: also of an attempt that it did not hear, and offline first."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import Callback

from tinyrm.cli import main
from tinyrm.config import compose
from tinyrm.experiment import run
from tinyrm.tracking import service

pytestmark = pytest.mark.usefixtures("no_key")
AXIS = "trainer/global_step"


class Ends(Callback):
    """Ends training after some steps."""

    def on_train_batch_end(self, trainer: object, module: object, outputs: object, batch: object, index: int) -> None:
        if index == 4:
            raise RuntimeError("the end of the first attempt")


def losses(folder: Path, *attempts: int) -> dict[int, float]:
    """The training loss by step, as the curves beside it have it."""
    found = {}
    for attempt in attempts:
        with (folder / "curves" / str(attempt) / "metrics.csv").open(encoding="utf-8") as file:
            found |= {int(row["step"]): float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]}
    return found


def arrived(told: Any) -> dict[int, float]:
    return {row[AXIS]: row["train/loss"] for row in told.rows("train/loss")}


def test_rows_that_an_attempt_could_not_send_come_with_the_next(
    small: list[str], tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose([*small, "tracking.patience_s=3", "trainer.batch_pairs=2", "trainer.checkpoint_steps=2"])
    server.deaf = True
    with pytest.raises(RuntimeError):
        run(config, tmp_path / "run", callbacks=[Ends()])
    (told,) = server.runs.values()
    assert (told.begun > 0, told.history) == (True, [])
    server.deaf = False
    monkeypatch.setattr(service, "_away", [])  # ten minutes later
    result = run(config, tmp_path / "run")
    assert list(server.runs.values()) == [told], "both attempts have one id"
    lost, after = losses(tmp_path / "run", 0), losses(tmp_path / "run", 1)
    assert min(lost) < min(after)
    assert arrived(told) == pytest.approx(lost | after)
    assert json.loads(told.summary)["test/overall/accuracy"] == result.evaluation.overall.accuracy.value
    assert told.exit_code == 0
    steps = [row["_step"] for row in map(json.loads, told.history)]
    assert steps == sorted(set(steps))


class Deafens(Callback):
    """Has the server take no more once it has the first rows."""

    def __init__(self, server: Any) -> None:
        self.server = server

    def on_train_batch_end(self, trainer: object, module: object, outputs: object, batch: object, index: int) -> None:
        until = time.monotonic() + 60
        while index == 4 and not any(run.history for run in self.server.runs.values()) and time.monotonic() < until:
            time.sleep(0.1)
        self.server.deaf = index >= 4


def test_sync_sends_what_is_missing_of_an_attempt_that_was_online(
    small: list[str], tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`wandb sync` itself would append all rows to those that are there."""
    monkeypatch.setenv("WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL", "0.1")
    config = compose([*small, "tracking.patience_s=3", "trainer.batch_pairs=2"])
    result = run(config, tmp_path / "run", callbacks=[Deafens(server)])
    (told,) = server.runs.values()
    expected = losses(tmp_path / "run", 0)
    assert 0 < len(told.history) < len(expected)
    server.deaf = False
    assert main(["sync", str(tmp_path / "run")]) == 0
    assert [row[AXIS] for row in told.rows("train/loss")] == sorted(expected)
    assert arrived(told) == pytest.approx(expected)
    assert json.loads(told.summary)["test/overall/accuracy"] == result.evaluation.overall.accuracy.value
    assert told.exit_code == 0


def test_offline_and_then_sync(small: list[str], tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    run(compose([*small, "tracking.group=mine"]), tmp_path / "run")
    assert server.runs == {}
    assert main(["sync", str(tmp_path / "run")]) == 0
    (told,) = server.runs.values()
    assert (told.fields["groupName"], told.fields["jobType"]) == ("mine", "train")
    assert arrived(told) == pytest.approx(losses(tmp_path / "run", 0))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert json.loads(told.summary)["test/overall/accuracy"] == metrics["overall"]["accuracy"]["value"]
    before = server.streamed
    assert main(["sync", str(tmp_path / "run")]) == 0
    assert server.streamed == before, "nothing is sent twice"
