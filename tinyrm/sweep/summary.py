"""What a sweep found: ranking with intervals, trials.csv, trials.parquet, and the best config as a line to type."""

from __future__ import annotations

import csv
import io
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from .errors import End
from .outcome import TrialRecord, printable

CSV, PARQUET, BEST = "trials.csv", "trials.parquet", "best.txt"
_SHOWN = 30
# Settings of a sweep by which a config may go, as trainer.devices does.
_OF_EACH_TRIAL = {"sweep.devices_per_trial"}


def ranked(metrics: Mapping[str, str], records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Complete trials, best first; with several metrics those on the Pareto front first."""
    complete = [r for r in records if r.state == End.COMPLETE and all(m in r.values for m in metrics)]
    first = next(iter(metrics))
    complete.sort(key=lambda r: (-_toward(r, first, metrics[first]), r.number))
    if len(metrics) == 1:
        return complete
    front = pareto(metrics, complete)
    return sorted(complete, key=lambda r: r.number not in front)


def pareto(metrics: Mapping[str, str], records: Sequence[TrialRecord]) -> set[int]:
    """Numbers of the trials than which no other is at least as good in every metric and better in one."""
    points = {r.number: [_toward(r, m, d) for m, d in metrics.items()] for r in records}

    def beaten(point: list[float]) -> bool:
        others = (p for p in points.values() if p != point)
        return any(all(a >= b for a, b in zip(other, point, strict=True)) for other in others)

    return {number for number, point in points.items() if not beaten(point)}


def best_line(header: Mapping[str, Any], record: TrialRecord) -> str:
    """What to type to run a trial's config alone."""
    own = {o.partition("=")[0].lstrip("+") for o in record.overrides}
    kept = [
        o
        for o in record.fixed
        if (key := o.partition("=")[0].lstrip("+")) not in own
        and (not key.startswith("sweep.") or key in _OF_EACH_TRIAL)
    ]
    return f"{header['program']} {shlex.join([*kept, *record.overrides])}".rstrip()


def ranking_table(name: str, header: Mapping[str, Any], records: Sequence[TrialRecord]) -> Table:
    """The table printed at the end: the best trials, then those without a result."""
    metrics = header["metrics"]
    order = ranked(metrics, records)
    front = pareto(metrics, order) if len(metrics) > 1 else set()
    rest = [r for r in records if r.state != End.COMPLETE]
    params = param_names(records)
    table = Table(title=f"sweep {name}", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in ("#", "trial", *map(short, params)):
        table.add_column(column, justify="right")
    for metric in metrics:
        table.add_column(f"{metric} [95%]" if any(metric in r.intervals for r in records) else metric, justify="right")
    table.add_column("state")
    table.add_column("time", justify="right")
    for rank, record in enumerate(order[:_SHOWN], 1):
        shown = "*" if record.number in front else str(rank)
        table.add_row(shown, *row(record, params, metrics))
    for record in rest[:_SHOWN]:
        table.add_row("", *row(record, params, metrics))
    left = max(0, len(order) - _SHOWN) + max(0, len(rest) - _SHOWN)
    if left:
        table.caption = f"and {left} more in {CSV}"
    return table


def row(record: TrialRecord, params: Sequence[str], metrics: Mapping[str, str]) -> list[Text | str]:
    """A trial in a table: number, parameters, metrics, state, time. User text is shown as it is, never as markup."""
    state = record.state.replace("_", " ")
    if record.repeated_as is not None:
        state += f" (repeated as {record.repeated_as})"
    elif record.same_as is not None:
        state += f" (as {record.same_as})"
    elif record.attempt > 1:
        state += f" (attempt {record.attempt})"
    cells: list[Text | str] = [str(record.number)]
    cells += [Text(shown(record.params.get(p))) for p in params]
    cells += [Text(with_interval(record, m)) for m in metrics]
    return [*cells, Text(state, style=_STYLES.get(record.state, "")), duration(record.seconds)]


_STYLES = {
    "complete": "green",
    "running": "cyan",
    "waiting": "dim",
    **dict.fromkeys(("pruned", "stopped"), "yellow"),
    **dict.fromkeys(("failed", "out_of_memory", "nonfinite", "timed_out", "killed"), "red"),
}


def write_summary(header: Mapping[str, Any], records: Sequence[TrialRecord]) -> bool:
    """Write trials.csv, trials.parquet and best.txt into the sweep's folder, each whole or not at all.

    Returns:
        whether the table says something else than it did: the second of two that write it has nothing new.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = Path(header["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    rows = [flat(record, header) for record in records]
    columns = list(dict.fromkeys(key for r in rows for key in r))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode()
    known = (folder / CSV).is_file() and (folder / CSV).read_bytes() == content
    _write(folder / CSV, content)
    table = pa.table({c: _column([r.get(c) for r in rows]) for c in columns})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    _write(folder / PARQUET, buffer.getvalue())
    order = ranked(header["metrics"], records)
    if order:
        many = len(header["metrics"]) > 1
        front = pareto(header["metrics"], order) if many else {order[0].number}
        lines = [f"# trial {r.number}\n{best_line(header, r)}\n" for r in order if r.number in front]
        _write(folder / BEST, printable("".join(lines)).encode())
    return not known


def flat(record: TrialRecord, header: Mapping[str, Any]) -> dict[str, Any]:
    """A trial as one row: `params.*`, `metrics.*` with `.low` and `.high`, `info.*`, and how it went."""
    cells: dict[str, Any] = {"trial": record.number, "state": record.state}
    cells |= {f"params.{k}": v for k, v in record.params.items()}
    for metric in dict.fromkeys([*header["metrics"], *record.values]):
        cells[f"metrics.{metric}"] = record.values.get(metric)
        if metric in record.intervals:
            cells[f"metrics.{metric}.low"], cells[f"metrics.{metric}.high"] = record.intervals[metric]
    cells |= {f"info.{k}": v for k, v in record.info.items()}
    cells |= {
        "seconds": record.seconds,
        "attempt": record.attempt,
        "same_as": record.same_as,
        "repeated_as": record.repeated_as,
        "devices": record.devices,
        "worker": record.worker,
        "message": record.message,
        "overrides": shlex.join(record.overrides),
        "fingerprint": record.fingerprint,
        "folder": str(record.folder),
    }
    return {printable(k): printable(v) if isinstance(v, str) else v for k, v in cells.items()}


def param_names(records: Sequence[TrialRecord]) -> list[str]:
    """Every parameter that some trial has, in the order they came."""
    return list(dict.fromkeys(name for r in records for name in r.params))


def short(name: str) -> str:
    """The last part of a dotted key: what tables have room for."""
    return name.rpartition(".")[2]


def shown(value: Any) -> str:
    """A value in a table."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def with_interval(record: TrialRecord, metric: str) -> str:
    """`0.612 [0.58, 0.64]`."""
    value = record.values.get(metric)
    if value is None:
        return ""
    number = f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"
    if metric not in record.intervals:
        return number
    low, high = record.intervals[metric]
    return f"{number} [{low:.4f}, {high:.4f}]"


def duration(seconds: float) -> str:
    """`4.2 s`, `3:05`, `2:03:05`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def _toward(record: TrialRecord, metric: str, direction: str) -> float:
    value = record.values[metric]
    return value if direction == "maximize" else -value


def _column(values: list[Any]) -> list[Any]:
    """One type a column: text where numbers and text meet (a parameter may be `8` or `null`)."""
    kinds = {type(v) for v in values if v is not None}
    if kinds <= {int, float}:
        return [None if v is None or (isinstance(v, float) and not math.isfinite(v)) else v for v in values]
    return values if len(kinds) == 1 else [None if v is None else str(v) for v in values]


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
