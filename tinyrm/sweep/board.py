"""A sweep while it runs: a live table on a terminal, one line a finished trial elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .errors import SweepError
from .outcome import RUNNING, WAITING, TrialRecord
from .study import Study
from .summary import duration, param_names, row, short, with_interval

_EVERY_S = 1.0


class Board:
    """A context manager: shows the study until the block is left.

    Args:
        study: the sweep.
        metrics: by which it goes.
        live: draw the table where there is a terminal; false where trials print there themselves.
    """

    def __init__(self, study: Study, metrics: Mapping[str, str], *, live: bool = True) -> None:
        self._study, self._metrics, self._live = study, metrics, live
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="board", daemon=True)

    def __enter__(self) -> Board:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        console = Console(stderr=True)
        began = time.monotonic()
        if console.is_terminal and self._live:
            with Live(console=console, auto_refresh=False, transient=True) as live:
                while not self._done.wait(_EVERY_S):
                    with contextlib.suppress(SweepError):
                        live.update(self._view(console.height, time.monotonic() - began), refresh=True)
            return
        told: set[int] = set()
        with contextlib.suppress(SweepError):
            told = {r.number for r in self._study.records() if r.finished}
        while not self._done.wait(_EVERY_S):
            self._tell(told)
        self._tell(told)

    def _view(self, height: int, elapsed: float) -> RenderableType:
        return status_view(self._study, self._study.records(), elapsed=elapsed, rows=max(4, height - 8))

    def _tell(self, told: set[int]) -> None:
        with contextlib.suppress(SweepError):
            for record in self._study.records():
                if record.finished and record.number not in told:
                    told.add(record.number)
                    values = "  ".join(f"{m}={with_interval(record, m)}" for m in self._metrics if m in record.values)
                    settings = " ".join(record.overrides)
                    line = f"trial {record.number} {record.state.replace('_', ' ')}  {settings}  {values}"
                    sys.stderr.write(f"{line}  {duration(record.seconds)}\n")
            sys.stderr.flush()


def status_view(
    study: Study, records: Sequence[TrialRecord], *, elapsed: float | None = None, rows: int | None = None
) -> RenderableType:
    """Counts by state, and a table of trials: those that run first, then the latest.

    Args:
        elapsed: seconds since this call of the sweep began.
        rows: at most so many trials; None for all.
    """
    header = study.header()
    unstarted = study.unstarted()
    order = sorted(records, key=lambda r: (r.finished, r.state == WAITING, r.number if not r.finished else -r.number))
    shown = order if rows is None else order[:rows]
    params = param_names(records)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("trial", *map(short, params), *header["metrics"]):
        table.add_column(column, justify="right")
    for column in ("state", "time", "progress", "device"):
        table.add_column(column)
    for record in shown:
        table.add_row(*row(record, params, header["metrics"]), _progress(record), Text(record.devices))
    left = len(order) - len(shown)
    caption = [Text(f"and {left} more trials", style="dim")] if left > 0 else []
    return Group(_headline(study.name, records, unstarted, elapsed), table, *caption)


def _headline(name: str, records: Sequence[TrialRecord], unstarted: int, elapsed: float | None) -> Text:
    counts = Counter(r.state for r in records)
    counts[WAITING] += unstarted
    text = Text(f"sweep {name}", style="bold")
    text.append(f"  {sum(r.finished for r in records)}/{len(records) + unstarted} done", style="not bold")
    for state, count in sorted(counts.items()):
        if count:
            text.append(f"  {count} {state.replace('_', ' ')}", style="not bold")
    if elapsed is not None:
        text.append(f"  {duration(elapsed)}", style="not bold")
    left = time_left(records, unstarted)
    if left is not None:
        text.append(f"  about {duration(left)} left", style="not bold")
    return text


def time_left(records: Sequence[TrialRecord], unstarted: int) -> float | None:
    """Seconds until all is done, if trials go on taking what they took; None before the first has ended."""
    ended = [r.seconds for r in records if r.finished and r.seconds and r.same_as is None]
    running = [r for r in records if r.state == RUNNING and r.alive]
    if not ended or not running:
        return None
    mean = sum(ended) / len(ended)
    waiting = unstarted + sum(r.state == WAITING for r in records)
    return (waiting * mean + sum(max(0.0, mean - r.seconds) for r in running)) / len(running)


def _progress(record: TrialRecord) -> Any:
    if record.state != RUNNING:
        return ""
    if not record.alive:
        return Text("worker is gone", style="red")
    return "" if record.fraction is None else ProgressBar(total=1.0, completed=record.fraction, width=12)


def print_line(renderable: RenderableType) -> None:
    """Print to stdout; where that is no terminal, wide enough for a table."""
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(renderable)
