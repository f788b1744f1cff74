"""(d) How the cost of ask, status and resume grows with the trials a study holds; SQLite."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rich.table import Table

from tinyrm.sweep import End
from tinyrm.sweep.leases import WorkerId
from tinyrm.sweep.outcome import Outcome
from tinyrm.sweep.storage import open_storage
from tinyrm.sweep.study import Claim, Study

from .studies import NAME, fill, make

T = TypeVar("T")
SIZES = (100, 1000, 5000, 20000)
QUICK = (100, 500)
_SPARE = 64  # points that are still to be claimed
COLUMNS = {
    "ask": "ask: claim, in a worker that runs",
    "tell": "tell: finish",
    "status_again": "status of a process that has read before",
    "status": "status: open and read all",
    "first_ask": "first claim of a new worker: open and read all",
    "resume": "resume: open, settle the same question, claim",
}


def measure(scratch: Path, quick: bool) -> dict[str, Any]:
    """Milliseconds of each operation by the number of trials."""
    rows = []
    for size in QUICK if quick else SIZES:
        folder = scratch / str(size)
        url = f"sqlite:///{folder}/sweeps.db"
        began = time.perf_counter()
        fill(make(open_storage(url), size + _SPARE, folder).study, size)
        filled = time.perf_counter() - began
        rows.append({"trials": size, **_costs(url, size, folder, 3)})
        print(f"  {size:,} trials (made in {filled:.0f} s)", flush=True)
    return {"rows": rows}


def _costs(url: str, size: int, folder: Path, repeats: int) -> dict[str, float]:
    study, worker = Study(open_storage(url), NAME, 60), WorkerId.here()
    study.records()
    ask, tell, again = [], [], []
    for _ in range(4 * repeats):
        held, took = _timed(lambda: _ask(study, worker))
        ask.append(took)
        outcome = Outcome(End.COMPLETE, f"{held.number:016x}", {"value": 0.5})
        tell.append(_timed(lambda: study.finish(held, outcome, [0.5]))[1])  # noqa: B023 (called at once)
        again.append(_timed(study.records)[1])
    status = [_timed(lambda: Study(open_storage(url), NAME, 60).records())[1] for _ in range(repeats)]
    first, resume = [], []
    for _ in range(repeats):
        held, took = _timed(lambda: _ask(Study(open_storage(url), NAME, 60), worker))
        first.append(took)
        study.release(held)
        held, took = _timed(lambda: _ask(make(open_storage(url), size + _SPARE, folder).study, worker))
        resume.append(took)
        study.release(held)
    figures = {"ask": ask, "tell": tell, "status_again": again, "status": status, "first_ask": first, "resume": resume}
    return {name: 1000 * statistics.median(seconds) for name, seconds in figures.items()}


def _ask(study: Study, worker: WorkerId) -> Claim:
    claim = study.claim(worker, lease_s=60, max_retries=0)
    assert isinstance(claim, Claim)
    return claim


def _timed(action: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    return action(), time.perf_counter() - began


def table(found: dict[str, Any]) -> Table:
    """For people."""
    shown = Table(title="(d) ms of an operation by trials in the study; SQLite, imports not counted")
    shown.add_column("operation")
    for row in found["rows"]:
        shown.add_column(f"{row['trials']:,} trials", justify="right")
    for key, label in COLUMNS.items():
        shown.add_row(label, *(f"{row[key]:.1f}" for row in found["rows"]))
    return shown
