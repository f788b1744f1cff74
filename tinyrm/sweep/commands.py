"""`sweep ls | status | resume | stop | show`: what runs, what failed and why, read from the storage alone."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from omegaconf import OmegaConf
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .board import print_line, status_view
from .config import CLUSTER, ONE_MACHINE, SweepConfig
from .errors import SweepError
from .leases import WorkerId, node_here
from .outcome import RUNNING, WAITING
from .shared import SharedStorage
from .slurm_client import JobState, SlurmAway, cancel_waiting, remembered, scripts, states
from .space import quoted
from .storage import is_there, open_storage
from .study import Study, names
from .summary import best_line, duration, ranked, with_interval

Rerun = Callable[[Sequence[str]], None]
_WATCH_S = 2.0
_ENDED_JOBS = 10  # of those that have ended, so many are shown


def run_command(options: argparse.Namespace, rerun: Rerun) -> None:
    """Do what was asked.

    Args:
        options: parsed by what :func:`.arguments.add_commands` added.
        rerun: starts the application with these arguments.

    Raises:
        SweepError: no such storage, sweep or trial.
    """
    settings: SweepConfig = OmegaConf.to_object(OmegaConf.structured(SweepConfig))  # type: ignore[assignment]
    if options.verb == "ls":
        return _ls([open_storage(url, create=False) for url in _places(options.storage, settings)])
    if options.verb == "proxy":
        return _proxy(_places(options.storage, settings)[0], options.host, options.port)
    where, storage = _place(options.storage, settings, options.name)
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
    return [Study(_place(storage, settings, name)[1], name, settings.storage_patience_s) for name in names]


def _places(given: str | None, settings: SweepConfig) -> list[str]:
    """The storages to look in: the one that was given, or those of `auto` that are there."""
    asked = given or settings.storage
    if asked != "auto":
        return [asked]
    known = [url.format(dir=settings.dir) for url in (ONE_MACHINE, CLUSTER)]
    return [url for url in known if is_there(url)] or known[:1]


def _place(given: str | None, settings: SweepConfig, name: str) -> tuple[str, SharedStorage]:
    """The storage that knows a sweep; where none does, the first, which then says so."""
    opened = [(url, open_storage(url, create=False)) for url in _places(given, settings)]
    return next((found for found in opened if name in names(found[1])), opened[0])


def _proxy(url: str, host: str, port: int) -> None:
    from .proxy import serve  # only here and for its URL is gRPC needed

    storage = open_storage(url)
    print_line(Text(f"proxy of {storage.label} at {host}:{port}: sweep.storage=grpc://{node_here()}:{port}/FOLDER"))
    with contextlib.suppress(KeyboardInterrupt):
        serve(storage.optuna, host, port)


def _ls(storages: Sequence[SharedStorage]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("sweep", "created", "done", "running", "failed", "best"):
        table.add_column(column)
    for study in (Study(storage, name, 10) for storage in storages for name in names(storage)):
        header, records = study.header(), study.records()
        total = len(records) + study.unstarted()
        order = ranked(header["metrics"], records)
        first = next(iter(header["metrics"]))
        best = f"{first}={with_interval(order[0], first)} (trial {order[0].number})" if order else ""
        created = datetime.fromisoformat(header["created"]).astimezone().strftime("%Y-%m-%d %H:%M")
        done, failed = sum(r.finished for r in records), sum(r.failed for r in records)
        running = sum(r.state == RUNNING and r.alive for r in records)
        table.add_row(Text(study.name), created, f"{done}/{total}", str(running), str(failed), Text(best))
    print_line(table)


def _status(study: Study) -> None:
    records = study.records()
    print_line(status_view(study, records))
    _jobs(study)
    _hints(study)


def _jobs(study: Study) -> None:
    """The workers that are Slurm jobs: those that live, and the last that do not."""
    jobs = remembered(scripts(Path(study.header()["folder"])))
    if not jobs:
        return
    try:
        known = states(jobs)
    except SlurmAway as error:
        print_line(Text(f"{len(jobs)} Slurm jobs were submitted; their states are not known here: {error}"))
        return
    trials = {WorkerId.job_of(r.worker): str(r.number) for r in study.records() if r.state == RUNNING and r.alive}
    alive = [job for job in jobs if job.id in known and known[job.id].alive]
    ended = [job for job in jobs if job not in alive][-_ENDED_JOBS:]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("job", "state", "node", "trial", "log"):
        table.add_column(column, overflow="fold")
    for job in (*alive, *ended):
        state = known.get(job.id, JobState("ended long ago"))
        why = f" ({state.reason})" if state.state == "PENDING" and state.reason else ""
        table.add_row(job.id, state.state.lower() + why, state.node, trials.get(job.id, ""), Text(job.log))
    print_line(table)


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
        jobs = remembered(scripts(Path(study.header()["folder"])))
        if jobs:
            try:
                waiting = cancel_waiting(jobs)
                print_line(Text(f"{waiting} jobs that had not begun are cancelled; those that run end by themselves"))
            except SlurmAway as error:
                print_line(
                    Text(f"jobs that wait in Slurm's queue could not be cancelled, and end as they start: {error}")
                )
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
