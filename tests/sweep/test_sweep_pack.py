"""Trials that run together in one process: each computes and ends as alone, whatever becomes of the others."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import subprocess
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.hydra_config import HydraConfig

from tinyrm.sweep import Result, SweepError, SweepInterrupted, current_progress
from tinyrm.sweep.outcome import TrialRecord
from tinyrm.sweep.storage import open_storage
from tinyrm.sweep.study import Study

APP = "hydra.sweeper.app=sharing.Sharing"
TOY = Path(__file__).parent / "toy"


@pytest.fixture
def packing(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[TrialRecord]]:
    """Sweeps in this process of the toy's config with any task: `packing(task, pack, *overrides)`."""
    monkeypatch.syspath_prepend(str(TOY))

    def sweep(task: Any, pack: int, *overrides: str, **settings: Any) -> list[TrialRecord]:
        given = {"pack": pack, "name": f"p{pack}", "heartbeat_s": 0.2, "lease_s": 5, **settings}
        found: list[TrialRecord] = engine.sweep(task, APP, *overrides, **given)
        return found

    return sweep


def step(fraction: float) -> None:
    progress = current_progress()
    assert progress is not None
    progress.advance(fraction)


class Wanderer:
    """A task that uses and changes everything of the process that a Hydra job may."""

    def __init__(self) -> None:
        self.order: list[int] = []

    def __call__(self, config: Any) -> Result:
        random.seed(config.x)
        np.random.seed(config.x)
        os.environ["TOY"] = str(config.x)
        folder = Path(HydraConfig.get().runtime.output_dir)
        os.chdir(folder)
        drawn = 0.0
        with warnings.catch_warnings():
            warnings.simplefilter("error" if config.x % 2 else "ignore")
            for n in range(4):
                self.order.append(config.x)
                drawn += random.random() + np.random.rand() * 10
                step(n / 4)
                assert os.environ["TOY"] == str(config.x) and Path.cwd() == folder
                assert HydraConfig.get().runtime.output_dir == str(folder)
                with pytest.raises(UserWarning) if config.x % 2 else contextlib.nullcontext():
                    warnings.warn("odd ones raise", stacklevel=1)
                logging.getLogger("toy").warning("trial %s in step %s", config.x, n)
        return Result({"value": drawn})


LOG = ("hydra/job_logging=default", "hydra/hydra_logging=default")


def test_each_trial_finds_the_process_as_it_left_it_and_gives_what_it_gives_alone(
    packing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY", "0")
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # Hydra's launcher puts its own there
    here, filters = Path.cwd(), warnings.filters
    alone, together = Wanderer(), Wanderer()
    one_by_one = packing(alone, 1, "x=1,2,3")
    packed = packing(together, 3, "x=1,2,3", *LOG)
    assert [r.values for r in packed] == [r.values for r in one_by_one]
    assert len({r.values["value"] for r in packed}) == 3
    assert alone.order == [1] * 4 + [2] * 4 + [3] * 4 and together.order == [1, 2, 3] * 4  # in turn
    for record in packed:
        (log,) = record.folder.glob("*.log")
        lines = [line for line in log.read_text().splitlines() if "in step" in line]
        assert [line.partition(" - ")[2] for line in lines] == [
            f"trial {record.params['x']} in step {n}" for n in range(4)
        ]
        assert (record.folder / ".hydra" / "config.yaml").is_file()
    assert (Path.cwd(), warnings.filters) == (here, filters)


def test_what_cannot_run_together_does_not(packing: Any) -> None:
    order: list[tuple[Any, ...]] = []

    def task(config: Any) -> float:
        for n in range(2):
            order.append((config.y, config.g.z, config.x))
            step(n / 2)
        return 1.0

    packing(task, 4, "x=1,2", "y=1,2", "g=one,two")
    groups = [set(order[n : n + 4]) for n in range(0, 16, 4)]
    assert all(len({(y, g) for y, g, _ in group}) == 1 and len(group) == 2 for group in groups)
    assert [next(iter(group))[1] for group in groups] == [1, 1, 2, 2]  # what is akin first


def test_nothing_to_pack_is_said_once(packing: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        records = packing(lambda config: float(config.y), 3, "y=1,2")
    said = [r.getMessage() for r in caplog.records if "sweep.pack" in r.getMessage()]
    may, here = "trials can run together that differ only in x, mode, seconds", "here varies y. They run one by one."
    assert said == [f"sweep.pack=3: {may}; {here}"]
    assert [r.values["value"] for r in records] == [1.0, 2.0]


def test_wrong_sizes_are_refused(packing: Any) -> None:
    with pytest.raises(SweepError, match=r"sweep\.pack=0 must be at least 1"):
        packing(lambda config: 1.0, 0, "x=1,2")
    with pytest.raises(SweepError, match=r"sweep\.pack=2: trials that run together share one device"):
        packing(lambda config: 1.0, 2, "x=1,2", devices_per_trial=2)
    with pytest.raises(SweepError, match=r"sweep\.nodes_per_trial=2 gives each several"):
        packing(lambda config: 1.0, 2, "x=1,2", nodes_per_trial=2)


def test_a_sampler_draws_for_a_pack(packing: Any) -> None:
    order: list[int] = []

    def task(config: Any) -> float:
        for n in range(3):
            order.append(HydraConfig.get().job.num)
            step(n / 3)
        return float(config.x)

    records = packing(task, 3, "x=interval(1,100)", "g=one,two", sampler="random", n_trials=9)
    assert [r.state for r in records] == ["complete"] * 9 and [r.number for r in records] == list(range(9))
    alone = packing(lambda config: float(config.x), 1, "x=interval(1,100)", "g=one,two", sampler="random", n_trials=9)
    assert [r.params for r in records] == [r.params for r in alone]  # each is drawn as alone
    assert any(order[n] != order[n + 1] for n in range(0, 24, 3))


class TestEnds:
    def test_each_has_its_own(self, packing: Any, engine: Any) -> None:
        def task(config: Any) -> float:
            for n in range(4):
                step(n / 4)
                if n == config.x == 1:
                    raise RuntimeError("this one fails")
                if n == config.x == 2:
                    raise FloatingPointError("this one is NaN")
                if config.x == 3:
                    progress = current_progress()
                    assert progress is not None
                    progress.report(-100.0 if n else -1.0, n + 1)
                if n == 3 and config.x == 4:
                    raise SystemExit(3)
            return float(config.x)

        pruner = {"pruner": "percentile", "pruner_options": "{percentile: 50, n_startup_trials: 0}"}
        with pytest.raises(SweepError, match="3 of 6 trials failed for good"):
            packing(task, 6, "x=0,1,2,4,5,3", **pruner, name="s")
        states = {r.params["x"]: r.state for r in engine.study("s").records()}
        assert states == {0: "complete", 1: "failed", 2: "nonfinite", 3: "complete", 4: "failed", 5: "complete"}

    def test_one_that_hangs_ends_and_the_others_go_on(self, packing: Any, engine: Any) -> None:
        def task(config: Any) -> float:
            for n in range(3):
                step(n / 3)
                while config.x == 2:
                    time.sleep(0.01)
            return 1.0

        with pytest.raises(SweepError, match="1 of 3 trials failed for good"):
            packing(task, 3, "x=1,2,3", trial_timeout_min=0.01, name="s")
        found = engine.study("s").records()
        assert [(r.state, r.attempt) for r in found] == [("complete", 1), ("timed_out", 1), ("complete", 1)]

    def test_one_that_no_exception_reaches_takes_the_process_but_no_other_trial(self, toy: Any) -> None:
        code, output = toy.run(*typed(pack=3, trial_timeout_min=0.05), "mode=fine,hang_lock,report", "seconds=0.3")
        assert code == 3, output
        found = {r.params["mode"]: (r.state, r.attempt) for r in study_of(toy).records()}
        assert found["hang_lock"] == ("timed_out", 1)
        assert found["fine"][0] == found["report"][0] == "complete"
        assert deaths(toy) == [0, 0, 0]

    def test_where_memory_does_not_suffice_they_run_one_by_one(self, packing: Any, engine: Any) -> None:
        lives: list[int] = []

        def task(config: Any) -> float:
            lives.append(config.x)
            hoard = []
            for n in range(3):
                step(n / 3)
                while config.x == 2:
                    hoard.append(bytearray(b"x") * 20_000_000)
                    time.sleep(0.05)
            return 1.0

        with pytest.raises(SweepError, match="1 of 3 trials failed for good"):
            packing(task, 3, "x=1,2,3", trial_memory_gb=0.2, name="s")
        found = engine.study("s").records()
        assert [(r.state, r.attempt) for r in found] == [("complete", 2), ("out_of_memory", 2), ("complete", 2)]
        assert lives == [1, 2, 3, 1, 2, 3]

    def test_an_error_of_memory_calls_the_pack_off_too(self, packing: Any) -> None:
        lives: list[int] = []

        def task(config: Any) -> float:
            progress = current_progress()
            assert progress is not None
            lives.append(config.x)
            for n in range(3):
                step(n / 3)
                if config.x == 2 and progress.shared is not None:
                    raise MemoryError
            return 1.0

        records = packing(task, 3, "x=1,2,3")
        assert [(r.state, r.attempt) for r in records] == [("complete", 2)] * 3
        assert lives == [1, 2, 3, 1, 2, 3]

    def test_one_stopped_by_hand(self, packing: Any, engine: Any) -> None:
        def task(config: Any) -> float:
            for n in range(40):
                if n == 1 and config.x == 1:
                    assert engine.study("s").stop_trial(1) == "running"
                time.sleep(0.02)
                step(n / 40)
            return 1.0

        found = packing(task, 3, "x=1,2,3", name="s")
        assert [r.state for r in found] == ["complete", "stopped", "complete"]

    @pytest.mark.parametrize("how", ["stop", "SIGTERM"])
    def test_a_stopped_pack_goes_on_from_its_checkpoints(self, packing: Any, engine: Any, how: str) -> None:
        steps: list[tuple[int, int]] = []
        cut = []

        def task(config: Any) -> float:
            folder, progress = Path(HydraConfig.get().runtime.output_dir), current_progress()
            assert progress is not None
            done = int((folder / "done").read_text()) if (folder / "done").exists() else 0
            for n in range(done, 4):
                steps.append((config.x, n))
                if n == 1 and config.x == 2 and not cut:
                    cut.append(n)
                    _ = engine.study("s").stop() if how == "stop" else os.kill(os.getpid(), signal.SIGTERM)
                    until = time.monotonic() + 20
                    while not progress.asked_to_stop and time.monotonic() < until:
                        time.sleep(0.01)
                if progress.asked_to_stop:  # the step in progress is ended, and kept
                    (folder / "done").write_text(str(n + 1))
                    raise KeyboardInterrupt
                step(n / 4)
            return 1.0

        with pytest.raises(SweepInterrupted):
            packing(task, 3, "x=1,2,3", name="s", max_retries=0)
        assert [r.state for r in engine.study("s").records()] == ["waiting"] * 3
        found = packing(task, 3, "x=1,2,3", name="s", max_retries=0)
        assert [(r.state, r.attempt) for r in found] == [("complete", 2)] * 3
        assert sorted(steps) == [(x, n) for x in (1, 2, 3) for n in range(4)]  # each once

    def test_one_that_does_not_ask_ends_with_its_next_step(self, packing: Any, engine: Any) -> None:
        steps: list[int] = []

        def task(config: Any) -> float:
            for n in range(50):
                if n == 2 and config.x == 1:
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(0.5)
                steps.append(config.x)
                step(n / 50)
            return 1.0

        with pytest.raises(SweepInterrupted):
            packing(task, 2, "x=1,2")
        assert [r.state for r in engine.study("p2").records()] == ["waiting", "waiting"]
        assert len(steps) < 10

    def test_two_workers_share_the_trials_and_kill_9_costs_those_of_one_an_attempt(self, toy: Any) -> None:
        hold = toy.folder / "hold"
        hold.touch()
        shell = toy.start(*typed(pack=4, workers=2), f"hold={hold}", "x=1,2,3,4", "seconds=0.3")
        study = wait_for(lambda: study_of(toy))
        wait_for(lambda: sum(r.state == "running" for r in study.records()) == 4)
        first = [r.worker for r in study.records()]
        assert sorted(Counter(first).values()) == [2, 2]
        os.kill(int(first[0].split(":")[1]), signal.SIGKILL)
        hold.unlink()
        output, _ = shell.communicate(timeout=120)
        assert shell.returncode == 0, output
        assert [(r.state, r.attempt) for r in study.records()] == [
            ("complete", 2 if worker == first[0] else 1) for worker in first
        ]
        assert deaths(toy) == [int(worker == first[0]) for worker in first]

    def test_leases_of_trials_that_wait_for_their_first_turn_are_kept(self, packing: Any, engine: Any) -> None:
        def task(config: Any) -> float:
            until = time.monotonic() + (2.5 if config.x == 1 else 0)  # longer than a lease
            while time.monotonic() < until:
                assert all(r.alive for r in engine.study("p2").records())
                time.sleep(0.1)
            step(1)
            return 1.0

        records = packing(task, 2, "x=1,2", lease_s=1)
        assert [(r.state, r.attempt) for r in records] == [("complete", 1)] * 2

    def test_a_task_that_stops_the_worker_stops_all(self, packing: Any, engine: Any) -> None:
        def task(config: Any) -> float:
            for n in range(5):
                step(n / 5)
                if n == 2 and config.x == 1:
                    raise KeyboardInterrupt
            return 1.0

        with pytest.raises(SweepInterrupted):
            packing(task, 2, "x=1,2,3")
        assert [r.state for r in engine.study("p2").records()] == ["waiting", "waiting"]


def typed(**settings: object) -> list[str]:
    given = {"name": "s", "workers": 1, "heartbeat_s": 0.3, "metrics": "{value: maximize}", **settings}
    return [APP, *(f"hydra.sweeper.settings.{key}={value}" for key, value in given.items())]


def study_of(toy: Any) -> Any:
    """The sweep; None until it has been made."""
    with contextlib.suppress(SweepError, OSError, KeyError):
        study = Study(open_storage(f"sqlite:///{toy.folder}/multirun/sweeps.db", create=False), "s", 30)
        study.header()
        return study
    return None


def deaths(toy: Any) -> list[int]:
    return [t.system_attrs["lease"]["deaths"] for t in study_of(toy).trials()]


def wait_for(condition: Callable[[], Any], seconds: float = 90) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.05)
    raise subprocess.TimeoutExpired("a condition", seconds)
