"""`sweep ls | status | resume | stop | show`: what runs, what failed and why, read from the storage alone."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from omegaconf import OmegaConf
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .board import print_line, status_view
from .config import SweepConfig
from .errors import SweepError
from .outcome import RUNNING, WAITING
from .shared import SharedStorage
from .space import quoted
from .storage import open_storage
from .study import Study, names
from .summary import best_line, duration, ranked, with_interval

Rerun = Callable[[Sequence[str]], None]
_WATCH_S = 2.0


def run_command(options: argparse.Namespace, rerun: Rerun) -> None:
    """Do what was asked.

    Args:
        options: parsed by what :func:`.arguments.add_commands` added.
        rerun: starts the application with these arguments.

    Raises:
        SweepError: no such storage, sweep or trial.
    """
    settings: SweepConfig = OmegaConf.to_object(OmegaConf.structured(SweepConfig))  # type: ignore[assignment]
    where = options.storage or settings.storage
    storage = open_storage(where, create=False)
    if options.verb == "ls":
        return _ls(storage)
    study = Study(storage, options.name, settings.storage_patience_s)
    if options.verb == "status":
        return _watch(study) if options.watch else _status(study)
    if options.verb == "stop":
        return _stop(study, options.trial)
    if options.verb == "show":
        return _show(study, options.trial)
    # One of the environment may hold a password, which no config is to show.
    found = "${oc.env:SWEEP_STORAGE}" if not options.storage and "SWEEP_STORAGE" in os.environ else quoted(where)
    again = ["sweep.retry_failed=true"] if options.failed else []
    own = [f"sweep.name={study.name}", f"sweep.storage={found}"]
    return rerun(["-m", *study.header()["command"], *own, *again, *options.overrides])


def open_studies(names: Sequence[str], storage: str | None = None) -> list[Study]:
    """Sweeps by name, to be read.

    Args:
        names: of the sweeps.
        storage: where they are; None for `sweep.storage`'s own default.

    Raises:
        SweepError: no such storage or sweep.
    """
    settings: SweepConfig = OmegaConf.to_object(OmegaConf.structured(SweepConfig))  # type: ignore[assignment]
    opened = open_storage(storage or settings.storage, create=False)
    return [Study(opened, name, settings.storage_patience_s) for name in names]


def _ls(storage: SharedStorage) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("sweep", "created", "done", "running", "failed", "best"):
        table.add_column(column)
    for name in names(storage):
        study = Study(storage, name, 10)
        header, records = study.header(), study.records()
        total = len(records) + study.unstarted()
        order = ranked(header["metrics"], records)
        first = next(iter(header["metrics"]))
        best = f"{first}={with_interval(order[0], first)} (trial {order[0].number})" if order else ""
        created = datetime.fromisoformat(header["created"]).astimezone().strftime("%Y-%m-%d %H:%M")
        done, failed = sum(r.finished for r in records), sum(r.failed for r in records)
        running = sum(r.state == RUNNING and r.alive for r in records)
        table.add_row(Text(name), created, f"{done}/{total}", str(running), str(failed), Text(best))
    print_line(table)


def _status(study: Study) -> None:
    records = study.records()
    print_line(status_view(study, records))
    _hints(study)


def _watch(study: Study) -> None:
    console = Console()
    with contextlib.suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            records = study.records()
            live.update(status_view(study, records, rows=max(4, console.height - 5)), refresh=True)
            if study.unstarted() == 0 and all(r.finished for r in records):
                break
            time.sleep(_WATCH_S)


def _hints(study: Study) -> None:
    records, header = study.records(), study.header()
    order = ranked(header["metrics"], records)
    if order:
        print_line(Text(f"best: {best_line(header, order[0])}"))
    gone = sum(r.state == RUNNING and not r.alive for r in records)
    idle = study.unstarted() + gone + sum(r.state == WAITING for r in records)
    if idle and not any(r.state == RUNNING and r.alive for r in records):
        print_line(Text(f"{idle} trials are left and nobody works on them: sweep resume {study.name}"))


def _stop(study: Study, trial: int | None) -> None:
    if trial is None:
        running = study.stop()
        print_line(Text(f"{running} running trials will stop with a checkpoint; go on with: sweep resume {study.name}"))
        return
    before = study.stop_trial(trial)
    told = {RUNNING: "ends within seconds, for good", WAITING: "is ended, for good"}
    print_line(Text(f"trial {trial} {told.get(before, f'had ended already: {before}')}"))


def _show(study: Study, number: int) -> None:
    records = study.records()
    record = next((r for r in records if r.number == number), None)
    if record is None:
        counts = Counter(r.state for r in records)
        raise SweepError(f"sweep {study.name!r} has no trial {number}; it has {len(records)} ({dict(counts)}).")
    header = study.header()
    table = Table(box=None, pad_edge=False, show_header=False)
    rows = {
        "trial": f"{record.number} of sweep {study.name}",
        "state": record.state.replace("_", " "),
        "overrides": " ".join(record.overrides),
        **{m: with_interval(record, m) for m in record.values},
        **{k: str(v) for k, v in record.info.items()},
        "took": duration(record.seconds),
        "attempt": str(record.attempt),
        "worker": record.worker,
        "device": record.devices,
        "folder": str(record.folder),
        "run alone": best_line(header, record),
        "message": record.message or "",
    }
    for key, value in rows.items():
        if value:
            table.add_row(Text(key, style="bold"), Text(value))
    print_line(table)
    if record.traceback:
        print_line(Text(record.traceback))
