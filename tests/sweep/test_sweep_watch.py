"""What watches over a trial: its memory, its lease while it stops, and processes that cannot be moved to end."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tinyrm.sweep import SweepInterrupted

NAMED = ("hydra.sweeper.settings.name=s", "hydra.sweeper.settings.workers=1")
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.settings.name=s")


def states(toy: Any) -> list[str]:
    with (toy.folder / "multirun" / "s" / "trials.csv").open(newline="") as table:
        return [row["state"] for row in csv.DictReader(table)]


def processes(toy: Any) -> list[str]:
    """Of each trial that began, in order."""
    return [line.split()[4] for line in toy.notes.read_text().splitlines() if line.startswith("begin")]


class TestMemory:
    LIMIT = "hydra.sweeper.settings.trial_memory_gb=0.5"

    @pytest.mark.parametrize("launcher", ["local", "basic"])
    def test_what_one_trial_leaves_behind_fails_no_other(self, toy: Any, launcher: str) -> None:
        arguments = (f"hydra/launcher={launcher}", *NAMED, self.LIMIT, "mode=leak,fine,report", "seconds=0.6")
        code, output = toy.run(*arguments)
        assert states(toy) == ["out_of_memory", "complete", "complete"], output
        assert code == 3
        first, *others = processes(toy)
        assert len(set(others)) == 1
        assert (first in others) == (launcher == "basic")  # where nobody would replace it

    def test_a_trial_after_it_is_still_watched(self, toy: Any) -> None:
        code, output = toy.run("hydra/launcher=basic", *NAMED, self.LIMIT, "mode=leak,memory,fine", "seconds=0.6")
        assert states(toy) == ["out_of_memory", "out_of_memory", "complete"], output
        assert code == 3

    def test_pages_of_files_do_not_count(self, toy: Any) -> None:
        largest = max((Path(torch.__file__).parent / "lib").iterdir(), key=lambda p: p.stat().st_size)
        assert largest.stat().st_size > 0.35e9
        limit = "hydra.sweeper.settings.trial_memory_gb=0.3"
        code, output = toy.run(*NAMED, limit, f"maps='{largest}'", "x=1,2", "seconds=0.6")
        assert code == 0, output
        assert states(toy) == ["complete", "complete"]


def test_a_trial_that_stops_keeps_its_lease_and_is_asked_once(engine: Any) -> None:
    alive: list[bool] = []

    def task(config: Any) -> float:
        study = engine.study("s")
        study.stop()
        try:
            while True:
                time.sleep(0.05)
        except KeyboardInterrupt:
            until = time.monotonic() + 3  # to write a checkpoint, longer than a lease
            while time.monotonic() < until:
                alive.append(study.records()[0].alive)
                time.sleep(0.1)
            raise

    with pytest.raises(SweepInterrupted, match="told to stop"):
        engine.sweep(task, "x=1", name="s", lease_s=0.8, heartbeat_s=0.2)
    assert len(alive) > 20 and all(alive)
    assert [r.state for r in engine.study("s").records()] == ["waiting"]


class TestProcessesThatEnd:
    def test_a_launcher_that_fails_with_a_worker_goes_on(self, toy: Any) -> None:
        retries = "hydra.sweeper.settings.max_retries=1"
        code, output = toy.run(*JOBLIB, retries, "mode=kill,fine,report", "x=1,2", "seconds=0.2")
        assert code == 3, output
        assert "hydra/launcher=joblib failed, workers start anew" in output
        assert "2 of 6 trials failed for good" in output and "Traceback (most" not in output
        assert states(toy) == ["killed", "killed", *["complete"] * 4]

    def test_a_worker_that_is_ended_by_its_watch_is_no_end_of_the_sweep(self, toy: Any) -> None:
        limit = "hydra.sweeper.settings.trial_timeout_min=0.01"
        code, output = toy.run(*JOBLIB, limit, "mode=hang_lock,fine")
        assert code == 3, output
        assert "could not be interrupted, so its worker ends" in output
        assert states(toy) == ["timed_out", "complete"]

    def test_the_sweeps_own_process_says_that_it_ends(self, toy: Any) -> None:
        arguments = (
            "hydra/launcher=basic",
            *NAMED,
            "hydra.sweeper.settings.trial_timeout_min=0.01",
            "mode=hang_lock,fine",
        )
        code, output = toy.run(*arguments)
        assert code == 75
        assert "ends this process, and the sweep: see hydra/launcher=local" in output  # told beforehand
        assert "so the sweep's own process ends with it. Go on with: tinyrm sweep resume s" in output
        code, output = toy.run(*arguments)
        assert code == 3, output
        assert states(toy) == ["timed_out", "complete"]
        assert sum(toy.noted("begin").values()) == 2
