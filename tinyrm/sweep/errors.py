"""What can go wrong with a sweep, and how one trial can end. This folder imports nothing of the application."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from enum import StrEnum


class End(StrEnum):
    """How a trial ended; each finished trial has exactly one."""

    COMPLETE = "complete"  # returned its metrics
    PRUNED = "pruned"  # the pruner saw no hope in it
    FAILED = "failed"  # raised; the traceback is kept
    OUT_OF_MEMORY = "out_of_memory"  # of the device, of the host, or over sweep.trial_memory_gb
    NONFINITE = "nonfinite"  # NaN or infinite: the loss, or a metric it returned
    TIMED_OUT = "timed_out"  # ran longer than sweep.trial_timeout_min
    KILLED = "killed"  # its process died more than sweep.max_retries times
    STOPPED = "stopped"  # ended by hand: `sweep stop NAME --trial K`

    @property
    def as_it_should(self) -> bool:
        """Whether a sweep with such an end still exits with 0."""
        return self in (End.COMPLETE, End.PRUNED, End.STOPPED)


class SweepError(Exception):
    """Base of every error with a message for the person at the terminal. Holds every problem found.

    Args:
        problems: one message each: what is wrong, where, and what would be right.
    """

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        listed = "\n".join(f"  {i}. {p}" for i, p in enumerate(self.problems, 1))
        super().__init__(self.problems[0] if len(self.problems) == 1 else f"{len(self.problems)} problems:\n{listed}")


class TrialsFailedError(SweepError):
    """The sweep is over and some of its trials failed for good."""

    exit_code = 3


class StorageUnavailableError(SweepError):
    """The study's storage cannot be reached, or is full. Results not yet told lie in their trials' folders."""

    exit_code = 5


class SweepInterrupted(SweepError):  # noqa: N818 (an end, not an error)
    """Stopped by a signal or by `sweep stop`; what ran is waiting again, with its checkpoints.

    Args:
        whole: the sweep is to stop, by `sweep stop` or a signal to the process it was called in; else one worker alone.
    """

    exit_code = 130

    def __init__(self, problems: str | Sequence[str], *, whole: bool = True) -> None:
        super().__init__(problems)
        self.whole = whole


class TrialPruned(Exception):  # noqa: N818 (an end, not an error)
    """Raised by :meth:`Progress.report` where the pruner sees no hope. A task lets it pass."""

    end = End.PRUNED


class TrialEnded(BaseException):
    """Raised in a task whose trial must end now. Not an Exception, so that a task that retries cannot swallow it.

    Args:
        end: how the trial is recorded; None puts it back among the waiting (its lease is lost, or its worker stops).
        message: why.
    """

    def __init__(self, end: End | None, message: str) -> None:
        super().__init__(message)
        self.end = end


def near(word: str, choices: Iterable[str]) -> str:
    """' Did you mean x?' for the nearest choices, else the list of all of them (both start with a blank)."""
    known = sorted(set(choices))
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if close:
        return f" Did you mean {' or '.join(repr(c) for c in close)}?"
    return f" Choose one of: {', '.join(known)}." if known else ""
