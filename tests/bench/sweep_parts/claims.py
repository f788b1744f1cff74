"""(c) Many processes on PostgreSQL that claim trials which do nothing: how many a second, and none lost or doubled."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from optuna.trial import TrialState
from rich.table import Table

from tinyrm.sweep.storage import open_storage
from tinyrm.sweep.study import Study

from .common import APPS, ROOT, Target, environment
from .studies import NAME, make

_CONNECTIONS = 3  # that a worker may hold
_DURABLE = "fsync = on\nsynchronous_commit = on\nfull_page_writes = on\n"  # as a real server; the tests' is faster


def measure(scratch: Path, quick: bool, url: str | None) -> dict[str, Any]:
    """Trials a second, and what became of each trial.

    Args:
        url: an empty database of a server that runs; None starts one for the measurement.
    """
    processes, trials = (4, 100) if quick else (64, 5000)
    if url is not None:
        return _claim(url, processes, trials, scratch)
    server = _server()
    try:
        server.begin()
        with (server.data / "postgresql.conf").open("a", encoding="utf-8") as settings:  # the last one counts
            settings.write(f"max_connections = {_CONNECTIONS * processes + 20}\n{_DURABLE}")
        server.stop()
        server.start()
        return _claim(server.database("bench"), processes, trials, scratch)
    finally:
        server.destroy()


def _server() -> Any:
    """The tests' own PostgreSQL."""
    spec = importlib.util.spec_from_file_location("bench_postgres", ROOT / "tests" / "sweep" / "postgres.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Postgres()


def _claim(url: str, processes: int, trials: int, scratch: Path) -> dict[str, Any]:
    storage = open_storage(url)
    make(storage, trials, scratch / "m")
    workers = [
        subprocess.Popen(
            [sys.executable, str(APPS / "claimer.py"), url, NAME],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    told = []
    try:
        for worker in workers:
            assert worker.stdin and worker.stdout
            if worker.stdout.readline() != "ready\n":
                raise RuntimeError("a worker did not start")
        began = time.time()
        for worker in workers:
            assert worker.stdin
            worker.stdin.write("go\n")
            worker.stdin.flush()
        for worker in workers:
            output, _ = worker.communicate(timeout=3600)
            if worker.returncode:
                raise RuntimeError(f"a worker ended with exit code {worker.returncode}")
            told.append(json.loads(output))
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    seconds = max(t["ended"] for t in told) - began
    finished = Counter(number for t in told for number in t["numbers"])
    study = Study(open_storage(url), NAME, 60)  # read afresh
    states = Counter(t.state.name for t in study.trials())
    points = Counter(t.user_attrs["point"] for t in study.trials())
    shares = [len(t["numbers"]) for t in told]
    return {
        "server": "PostgreSQL on this machine, durable (fsync and synchronous_commit are on)",
        "processes": processes,
        "trials": trials,
        "seconds": seconds,
        "trials_per_second": trials / seconds,
        "lost": trials - states[TrialState.COMPLETE.name],
        "doubled": sum(c - 1 for c in finished.values()) + sum(c - 1 for c in points.values()),
        "missing_points": trials - len(points),
        "refused": sum(t["refused"] for t in told),
        "states": dict(states),
        "fewest_of_a_process": min(shares),
        "most_of_a_process": max(shares),
    }


def table(found: dict[str, Any]) -> Table:
    """For people."""
    shown = Table(title=f"(c) {found['processes']} processes on PostgreSQL claim {found['trials']:,} no-op trials")
    columns = ("seconds", "trials_per_second", "lost", "doubled", "fewest_of_a_process", "most_of_a_process")
    for column in columns:
        shown.add_column(column.replace("_", " "), justify="right")
    shown.add_row(*(f"{found[c]:.4g}" for c in columns))
    shown.caption = found["server"]
    return shown


def targets(found: dict[str, Any]) -> list[Target]:
    """Of the issue."""
    lost = found["lost"] + found["missing_points"]
    return [Target("trials lost", lost, 0), Target("trials doubled", found["doubled"], 0)]
