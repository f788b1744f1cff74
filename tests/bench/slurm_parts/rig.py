"""A sweep of two workers that the benchmark can disturb, whatever it runs."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 1800.0  # also on a machine that is busy with much else


def module(path: Path) -> Any:
    """A file of the tests, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = found
    spec.loader.exec_module(found)
    return found


def until(true: Callable[[], Any], what: str, timeout: float = PATIENCE_S) -> Any:
    """Wait until it is true."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        try:
            found = true()
        except Exception:
            found = None
        if found:
            return found
        time.sleep(0.2)
    raise SystemExit(f"{what}: not within {timeout} s")


class Rig(ABC):
    """A sweep under a Slurm that can be disturbed; starting it waits until both workers are well into a trial.

    Attributes:
        trials: how many there are.
        begun: steps that count as well into a trial.
        node: of the config that holds the sweep's settings.
        brisk, slow: seconds a step waits; `slow`: so that a trial takes longer than the shortest time limit.
    """

    trials: int
    begun: int
    node: str
    brisk: float
    slow: float

    def __init__(self, slurm: Any, *options: str, slow: bool = False) -> None:
        self.slurm, self.pause_s = slurm, self.slow if slow else self.brisk
        self.earlier = set(slurm.jobs())
        self.folder = Path(tempfile.mkdtemp(prefix="faults-"))
        given = ["hydra/launcher=slurm", f"{self.node}.name=s", f"{self.node}.workers=2", f"{self.node}.lease_s=10"]
        given += [f"{self.node}.heartbeat_s=1", "hydra.launcher.poll_s=1", "hydra.launcher.cpus_per_task=5", *options]
        if not any("timeout_min" in option for option in options):
            given.append("hydra.launcher.timeout_min=60")
        self.process = self.start(*given)
        self.began = time.monotonic()
        until(
            lambda: len(self.running()) == 2 and all(done > self.begun for done in self.running().values()),
            "two trials at work",
        )

    @abstractmethod
    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start the sweep, in a process group of its own."""

    @abstractmethod
    def multirun(self) -> Path:
        """The folder of its sweeps."""

    @abstractmethod
    def steps_of(self, record: Any) -> int:
        """How far a trial is."""

    @abstractmethod
    def told(self, records: list[Any]) -> dict[str, Any]:
        """What the end shows: whether results are right, and what was computed twice."""

    def records(self) -> list[Any]:
        """The trials so far."""
        from tinyrm.sweep.storage import open_storage
        from tinyrm.sweep.study import Study

        url = f"journal:///{self.multirun()}/sweeps.journal"
        return Study(open_storage(url, create=False), "s", 10).records()

    def running(self) -> dict[str, int]:
        """Job -> steps done, of trials that run."""
        return {r.worker.partition("@")[0]: self.steps_of(r) for r in self.records() if r.state == "running"}

    def finish(self, name: str) -> None:
        """Wait for the end of the sweep, and say what it cost."""
        output, _ = self.process.communicate(timeout=PATIENCE_S)
        if self.process.returncode == -signal.SIGKILL:
            until(lambda: len(self.records()) == self.trials and all(r.finished for r in self.records()), "the end")
        elif self.process.returncode:
            raise SystemExit(output)
        records = self.records()
        complete = sum(r.state == "complete" for r in records)
        shown = {"fault": name, "complete": f"{complete}/{self.trials}", **self.told(records)}
        shown["seconds"] = round(time.monotonic() - self.began, 1)
        shown["jobs"] = sorted(state for job, (state, _) in self.slurm.jobs().items() if job not in self.earlier)
        print(json.dumps(shown), flush=True)
        self.slurm.quiet(120)
