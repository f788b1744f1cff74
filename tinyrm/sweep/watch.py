"""The watch over a running trial: keeps its lease, hears orders, and ends it when its time or memory is up.

A trial is ended in steps, each harder than the one before: its next report raises; an exception is raised in the middle
of whatever Python it runs; this thread ends the process, and whoever started the worker starts another; where not even
a thread can run, because the trial hangs in C and keeps Python's lock, a timer without Python ends the process.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, NoReturn

from .claims import Claim
from .config import SweepConfig
from .errors import End, StorageUnavailableError, TrialEnded
from .leases import Host
from .memory import Memory
from .outcome import Outcome
from .progress import Progress
from .seat import Seat
from .study import Study
from .team import Team

log = logging.getLogger(__name__)

RESTART = 75  # exit code of a worker that must be replaced (EX_TEMPFAIL)
GRACE_S = 5.0  # for a task to react to the signal
_TICK_S = 0.2
_LONGEST_PAUSE_S = 1.0  # between two tries to reach a storage that is away


class Watch:
    """A thread beside a trial; a context manager.

    Args:
        study, claim: the trial.
        progress: the task's line to its sweep.
        settings: the sweep's.
        stops: how often the sweep had been told to stop when this worker began.
        hang: where to write at which line the trial hung, if it does.
        memory, host, team: of the worker.
        seat: how the trial sits in its process; only while it runs does its time count.

    Attributes:
        told_to_stop: whether the sweep was, and with it this worker.
    """

    def __init__(
        self,
        study: Study,
        claim: Claim,
        progress: Progress,
        settings: SweepConfig,
        stops: int,
        *,
        hang: Path,
        memory: Memory,
        host: Host,
        seat: Seat,
        team: Team | None = None,
    ) -> None:
        self._study, self._claim, self._progress = study, claim, progress
        self._settings, self._stops, self._hang = settings, stops, hang
        self._memory, self._host, self._team, self._seat = memory, host, team, seat
        self.told_to_stop = False
        self._began = seat.seconds()
        self._ordered: TrialEnded | None = None
        self._done = threading.Event()
        self._guard = threading.Lock()  # held while an exception is sent, so that none arrives after the trial
        self._thread = threading.Thread(target=self._run, name=f"watch-{claim.number}", daemon=True)
        self._away = False
        self._trace: IO[str] | None = None

    def __enter__(self) -> Watch:
        if self._settings.trial_timeout_min is not None:
            self._trace = self._hang.open("w", encoding="utf-8")
        self._seat.begin(self)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        ending = self._progress.ending
        if ending is not None and error is not None and error is not ending:
            raise ending from error  # the task put its own error in the place of ours

    def close(self) -> None:
        """Stop watching. May be called again, where a signal came in between."""
        with self._guard:
            self._done.set()
        self._seat.end()
        if self._trace is not None:
            self._trace.close()
            self._hang.unlink(missing_ok=True)

    @property
    def ending(self) -> TrialEnded | None:
        """How the trial is to end now; None once it has ended."""
        return None if self._done.is_set() else self._progress.ending

    def order(self, ending: TrialEnded) -> None:
        """End the trial so, whatever its time and memory say."""
        self._progress.ending = self._ordered = ending

    def arm(self) -> None:
        """Set the timer that ends the process if the trial hangs where not even a thread can run."""
        limit = self._settings.trial_timeout_min
        if limit is not None and self._trace is not None and not self._done.is_set():
            left = max(0.0, 60 * limit - self._used()) + 2 * GRACE_S
            faulthandler.dump_traceback_later(left, exit=True, file=self._trace)

    def disarm(self) -> None:
        """Stop that timer. May be called again."""
        if self._trace is not None and not self._trace.closed:
            faulthandler.cancel_dump_traceback_later()

    def _used(self) -> float:
        return self._seat.seconds() - self._began

    def _run(self) -> None:
        beat = time.monotonic() + self._settings.heartbeat_s
        while not self._done.wait(_TICK_S):
            ending = self._over()
            if ending is None and time.monotonic() >= beat:
                ending = self._beat()
                every = self._settings.heartbeat_s
                beat = time.monotonic() + (min(every, _LONGEST_PAUSE_S) if self._away else every)
            if ending is not None:
                self._end(ending)
                return

    def _over(self) -> TrialEnded | None:
        if self._ordered is not None:
            return self._ordered
        limit = self._settings.trial_timeout_min
        if limit is not None and self._used() > 60 * limit:
            return TrialEnded(End.TIMED_OUT, f"ran longer than sweep.trial_timeout_min={limit:g}")
        broken = self._team.failure() if self._team is not None else None
        if broken is not None:  # what this process computes with that one may wait for it for ever
            return TrialEnded(End.FAILED, broken)
        excess = self._memory.excess()
        return None if excess is None else TrialEnded(End.OUT_OF_MEMORY, excess)

    def _beat(self) -> TrialEnded | None:
        try:
            orders = self._study.heartbeat(
                self._claim, self._progress.fraction, lease_s=self._settings.lease_s, stops=self._stops
            )
        except StorageUnavailableError as error:
            if not self._away:
                log.warning("The trial goes on while its storage is away: %s", error)
            self._away = True
            return None
        if self._away:
            self._away, self._study.storage.returned = False, time.time()
        if orders.lost:
            return TrialEnded(None, "its lease ran out and another worker has taken it over")
        if orders.stop_trial:
            return TrialEnded(End.STOPPED, "stopped by hand")
        if orders.stop_sweep and not self.told_to_stop:
            self._ask_to_stop()
        return None

    def _ask_to_stop(self) -> None:
        """As Ctrl-C would, once: the task may write a checkpoint first, and its lease is kept as long as that takes."""
        with self._guard:
            if not self._done.is_set():
                self.told_to_stop = True
                self._seat.stop()

    def _end(self, ending: TrialEnded) -> None:
        self._progress.ending = ending
        with self._guard:
            if not self._done.is_set():
                self._seat.interrupt()
        began = self._seat.seconds()  # one that waits for its turn cannot react
        while self._seat.seconds() - began < GRACE_S:
            if self._done.wait(_TICK_S):
                return
        # Nothing moves it. Tell how it ended, then go: the memory and the device are only free once we are gone.
        with contextlib.suppress(Exception):
            if not self._seat.leaving(ending) and ending.end is not None:
                outcome = Outcome(ending.end, message=str(ending), devices=self._claim.worker.devices)
                outcome.seconds = round(self._used(), 3)
                self._study.finish(self._claim, outcome)
        leave(f"trial {self._claim.number} {ending}; it could not be interrupted, so {self._what_ends()}.")

    def _what_ends(self) -> str:
        if not self._host.here:
            return "its worker ends"
        return (
            f"the sweep's own process ends with it. Go on with: tinyrm sweep resume {self._study.name} "
            "(hydra/launcher=local runs trials in processes that are replaced)"
        )


last_words: list[Callable[[], object]] = []  # what is called first where a process ends by `leave`


def leave(message: str) -> NoReturn:
    """End this process, whatever still runs in it; its launcher, where it has one that does so, starts another."""
    for word in last_words:
        word()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(message + "\n")
        sys.stderr.flush()
    os._exit(RESTART)
