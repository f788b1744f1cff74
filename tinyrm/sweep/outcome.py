"""What a task gives back, what is recorded of a trial, and what a reader of the storage sees."""

from __future__ import annotations

import contextlib
import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from .errors import End, SweepError, near

LEASE = "lease"  # system attribute of a trial: who runs it
OUTCOME = "outcome"  # user attributes of a trial
POINT = "point"
OVERRIDES = "overrides"
STOP = "stop"
ALONE = "alone"
WAITING, RUNNING = "waiting", "running"
_LONGEST_MESSAGE = 500
Scalar = int | float | str | bool | None


@dataclass(frozen=True)
class Result:
    """What a task found out.

    Attributes:
        values: every metric by name; `sweep.metrics` says which of them the sweep goes by.
        intervals: 95% intervals, of the metrics that have one.
        info: what else belongs into the table of trials: counts, seconds, other numbers.
    """

    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    info: Mapping[str, Scalar] = field(default_factory=dict)

    @classmethod
    def of(cls, returned: Any, metrics: Sequence[str]) -> Result:
        """Read what a task returned: a Result, a mapping, or a number for each metric.

        Raises:
            SweepError: it is none of these, or lacks a metric.
        """
        if isinstance(returned, Result):
            result = returned
        elif isinstance(returned, Mapping):
            result = cls({str(k): float(v) for k, v in returned.items()})
        elif isinstance(returned, Sequence) and not isinstance(returned, str) and len(returned) == len(metrics):
            result = cls(dict(zip(metrics, map(float, returned), strict=True)))
        elif isinstance(returned, int | float) and len(metrics) == 1:
            result = cls({metrics[0]: float(returned)})
        else:
            raise SweepError(f"the task returned {returned!r}; the sweep needs {', '.join(metrics)}.")
        for metric in metrics:
            if metric not in result.values:
                raise SweepError(f"sweep.metrics: the task gives no {metric!r}.{near(metric, result.values)}")
        return result


@dataclass
class Outcome:
    """How a trial ended; kept in the storage and in the trial's folder."""

    end: str
    fingerprint: str | None = None
    values: dict[str, float | None] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    info: dict[str, Scalar] = field(default_factory=dict)
    message: str | None = None  # one line: why it ended so
    traceback: str | None = None
    seconds: float = 0.0  # of its last attempt
    devices: str = ""
    same_as: int | None = None  # the trial of the same config whose result this is

    @classmethod
    def of_result(cls, result: Result, metrics: Sequence[str]) -> Outcome:
        """What a task found out.

        Raises:
            SweepError: something in it is no plain value.
        """
        bad = [m for m in metrics if not math.isfinite(result.values[m])]
        outcome = cls(
            End.COMPLETE,
            values={str(k): float(v) for k, v in result.values.items()},
            intervals={str(k): (float(low), float(high)) for k, (low, high) in result.intervals.items()},
            info={str(k): _scalar(str(k), v) for k, v in result.info.items()},
        )
        if bad:
            outcome.end, outcome.message = End.NONFINITE, f"{', '.join(bad)} is {result.values[bad[0]]}"
        return outcome

    @classmethod
    def of_error(cls, error: BaseException, end: End) -> Outcome:
        """What ended a task."""
        first = str(error).strip().splitlines() or [type(error).__name__]
        trace = "" if end == End.PRUNED else "".join(traceback.format_exception(error))
        message = f"{type(error).__name__}: {first[0]}"[:_LONGEST_MESSAGE]
        return cls(end, message=printable(message), traceback=printable(trace) or None)

    def as_json(self) -> dict[str, Any]:
        """Plain values, strict JSON."""
        plain = asdict(self)
        for name in ("values", "info"):
            plain[name] = {k: _plain(v) for k, v in plain[name].items()}
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Outcome:
        """What :meth:`as_json` gave."""
        return cls(**{**plain, "intervals": {k: tuple(v) for k, v in plain["intervals"].items()}})


@dataclass(frozen=True)
class TrialRecord:
    """A trial as a reader of the storage sees it."""

    number: int
    state: str  # waiting, running, or how it ended
    params: dict[str, Any]
    overrides: tuple[str, ...]
    fixed: tuple[str, ...]  # the overrides it shares with others
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    info: dict[str, Scalar]
    attempt: int  # 1 for the first
    fraction: float | None  # of a running one: how much is done
    seconds: float
    devices: str
    worker: str
    message: str | None
    traceback: str | None
    fingerprint: str | None
    same_as: int | None
    folder: Path
    alive: bool  # of a running one: its lease holds
    repeated_as: int | None = None  # the trial that runs it once more; what becomes of that one counts

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        return self.state not in (WAITING, RUNNING)

    @property
    def failed(self) -> bool:
        """Whether it ended as it should not, and no other trial has taken its place."""
        return self.finished and not End(self.state).as_it_should and self.repeated_as is None


def state_of(trial: FrozenTrial) -> str:
    """In our words; a trial that another program finished gets the nearest."""
    if trial.state == TrialState.WAITING:
        return WAITING
    if trial.state == TrialState.RUNNING:
        return RUNNING
    recorded = trial.user_attrs.get(OUTCOME, {}).get("end")
    plain = {TrialState.COMPLETE: End.COMPLETE, TrialState.PRUNED: End.PRUNED}
    return str(recorded or plain.get(trial.state, End.FAILED).value)


def printable(text: str) -> str:
    """Text that every file and terminal takes: halves of characters, as of a file name in no encoding, are escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _scalar(key: str, value: Any) -> Scalar:
    """A plain value; NumPy's and torch's numbers become Python's."""
    if not isinstance(value, Scalar) and hasattr(value, "item"):
        with contextlib.suppress(ValueError, RuntimeError, TypeError):  # of many numbers, or another thing altogether
            value = value.item()
    if not isinstance(value, Scalar):
        raise SweepError(f"the task's info {key!r} is {value!r:.80}: give a number, a text, true, false or None.")
    return printable(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
