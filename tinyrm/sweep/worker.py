"""A worker: claims trials and runs them, one after another or some together, until nothing is left or it must stop."""

from __future__ import annotations

import contextlib
import gc
import logging
import math
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from hydra.types import TaskFunction

from .app import App
from .claims import Claim, Left, Wait
from .composing import Composer
from .config import SweepConfig
from .errors import End, StorageUnavailableError, SweepInterrupted, TrialEnded
from .folders import idle_word
from .interrupts import held, raise_soon
from .leases import Host, WorkerId
from .memory import Memory
from .outcome import Outcome
from .pack import Pack
from .runner import Runner
from .seat import Alone, Seat
from .sharing import Sharing
from .study import Study
from .team import Team
from .watch import leave

log = logging.getLogger(__name__)

_POLL_S = 0.5  # while others still run


@dataclass
class Worker:
    """One process's share of a sweep.

    Attributes:
        task: what Hydra's main function calls.
        study: the sweep.
        composer: makes the configs.
        settings: the sweep's.
        app: what the application knows.
        identity: this process.
        stops: how often the sweep had been told to stop when its workers were started; None: until now.
        host: where it runs.
        team: where trials take several processes, of which this one leads.
        workers: how many were started beside it, itself included: each takes only its share of what is left.
    """

    task: TaskFunction
    study: Study
    composer: Composer
    settings: SweepConfig
    app: App
    identity: WorkerId
    stops: int | None = None
    host: Host = field(default_factory=Host)
    team: Team | None = None
    workers: int = 1
    header: dict[str, Any] = field(init=False)
    failed: int = field(init=False, default=0)  # trials of this worker that ended as they should not

    def __post_init__(self) -> None:
        self._signals = _StopSignals()
        self._stops = self.study.stops() if self.stops is None else self.stops
        self._memory = Memory(self.settings.trial_memory_gb, self.host)
        self._sharing = Sharing(tuple(self.app.affinity), tuple(self.app.packable))
        self._runner = Runner(
            *(self.task, self.study, self.composer, self.settings, self.app, self.host, self._memory, self._stops),
            team=self.team,
        )
        self.header = self._runner.header

    def run(self) -> int:
        """Work until nothing is left; give how many trials this worker finished.

        Raises:
            SweepInterrupted: told to stop, by a signal or through the storage.
            StorageUnavailableError: the storage, or the disk under the trials, is gone or full.
        """
        if self.host.here and self.settings.trial_timeout_min is not None:
            log.info(
                "A trial that hangs in C beyond its time ends this process, and the sweep: see hydra/launcher=local."
            )
        finished = 0
        with self._signals:
            while claims := self._claimed():
                self._memory.begin()
                if len(claims) == 1:
                    finished += self._attempt(claims[0], Alone(lambda: self._signals.came))
                else:
                    finished += self._together(claims)
        return finished

    def _claimed(self) -> list[Claim]:
        """The next trial, with others that may run beside it; none where nothing is left."""
        claims: list[Claim] = []
        try:
            while True:
                if self.study.stops() > self._stops:
                    raise SweepInterrupted(f"sweep {self.study.name} was told to stop.")
                first = self._claim(claims)
                if not isinstance(first, Wait):
                    break
                time.sleep(_POLL_S)
            if first is not None:
                self._add_others(claims)
        except KeyboardInterrupt as stopped:
            self._give_back(claims)
            raise SweepInterrupted("stopped between two trials.", whole=self.host.here) from stopped
        except StorageUnavailableError:
            self._give_back(claims)
            raise
        return claims

    def _claim(self, claims: list[Claim]) -> Claim | Wait | None:
        """Claim a trial and add it to those there are; once there is one, only what may run beside it."""
        with held():  # a claim that the storage has recorded must reach us
            found = self.study.claim(
                self.identity,
                lease_s=self.settings.lease_s,
                max_retries=self.settings.max_retries,
                left=self._left,
                sharing=self._sharing,
                holding=tuple(claims),
                beside=bool(claims),
            )
            if isinstance(found, Claim):
                claims.append(found)
        return found

    def _add_others(self, claims: list[Claim]) -> None:
        """Claim what `sweep.pack` lets run together with the first one, leaving other workers their share."""
        if self.settings.pack == 1 or claims[0].alone or not self._choose(claims):
            return
        left, busy = self.study.load(self.identity)
        share = math.ceil((left + 1) / max(1, self.workers - busy))
        while len(claims) < min(self.settings.pack, share) and self._claim(claims):
            if not self._choose(claims) or self._apart(claims[-1]) != self._apart(claims[0]):
                self._release(claims.pop())  # the sampler chose what cannot run beside the others
                return

    def _choose(self, claims: list[Claim]) -> bool:
        """Let the sampler choose the last claim's overrides; False where it fails, as it will where the trial runs."""
        try:
            claims[-1] = self._runner.chosen(claims[-1])
        except StorageUnavailableError:
            raise
        except Exception:
            return False
        return True

    def _apart(self, claim: Claim) -> tuple[str, ...]:
        return self._sharing.apart(claim.slot, claim.overrides or ())

    def _together(self, claims: list[Claim]) -> int:
        """Run several trials at once; how many have an end now."""
        pack = Pack(self.study, claims, self._attempt, self._release, self.app.state)
        with contextlib.suppress(KeyboardInterrupt):  # of which `came` tells
            finished = pack.run(lease_s=self.settings.lease_s, heartbeat_s=self.settings.heartbeat_s)
        if self._signals.came:
            raise SweepInterrupted("stopped while trials ran together.", whole=self.host.here)
        if pack.off:
            self._leave_if_spoilt("a pack")
        return finished

    def _attempt(self, claim: Claim, seat: Seat) -> bool:
        """Run one trial to its end; whether it has one now."""
        try:
            outcome = self._runner.outcome(claim, seat)
            if outcome.end == End.OUT_OF_MEMORY and seat.call_off():
                raise TrialEnded(None, "there was not enough memory for it beside the others")
            with held():
                told = self._tell(claim, outcome)
        except TrialEnded as ended:  # without an end of its own: another worker's now, or waiting again
            log.warning("Trial %s: %s", claim.number, ended)
            self._release(claim, alone=seat.is_off)
            return False
        except (KeyboardInterrupt, SweepInterrupted) as stopped:
            self._release(claim)
            whole = stopped.whole if isinstance(stopped, SweepInterrupted) else self.host.here
            message = f"stopped in trial {claim.number}, which waits with its checkpoint."
            raise SweepInterrupted(message, whole=whole) from stopped
        except StorageUnavailableError:
            self._release(claim)
            raise
        if not told:
            log.warning("Trial %s has been taken over by another worker; its result counts.", claim.number)
        self.failed += told and not End(outcome.end).as_it_should
        if self.team is not None and self.team.led and outcome.end != End.COMPLETE:
            leave(f"trial {claim.number} did not end alike in all its processes, so its worker starts anew.")
        if outcome.end == End.OUT_OF_MEMORY:
            self._leave_if_spoilt(f"trial {claim.number}")
        return told

    def _leave_if_spoilt(self, who: str) -> None:
        gc.collect()
        if self._memory.is_spoilt():
            leave(f"{who} has left memory behind that its worker cannot free, so its worker ends.")

    def _tell(self, claim: Claim, outcome: Outcome) -> bool:
        """Keep the result beside what the task left, then tell the storage: one of the two is enough to keep it.

        Raises:
            StorageUnavailableError: either is gone or full.
        """
        values = self._runner.values(outcome)
        try:
            self._runner.folder(claim.number).keep(outcome)
        except StorageUnavailableError:
            self.study.finish(claim, outcome, values)
            raise
        return self.study.finish(claim, outcome, values)

    def _give_back(self, claims: list[Claim]) -> None:
        """Leave no trial behind as if its worker had died: no claimed one, and none whose claim never reached us."""
        for claim in claims:
            self._release(claim)
        with contextlib.suppress(OSError):  # the storage may have recorded one more before it went away
            idle_word(Path(self.header["folder"]), self.identity.name).touch()

    def _release(self, claim: Claim, *, alone: bool = False) -> None:
        """Put a trial back among the waiting; where the storage cannot be told, leave word in its folder."""
        with contextlib.suppress(KeyboardInterrupt), held():
            try:
                released = Study(self.study.storage, self.study.name, 0)  # it has just been waited for
                released.release(claim, alone=alone)
            except StorageUnavailableError:
                with contextlib.suppress(OSError):
                    self._runner.folder(claim.number).released(claim.attempt).touch()

    def _left(self, number: int, attempt: int, worker: str) -> Left:
        """What an attempt of a trial left in its folder, whose worker is gone."""
        folder = self._runner.folder(number)
        with contextlib.suppress(OSError):
            trace = folder.hang(attempt).read_text(encoding="utf-8")
            if trace:
                limit = self.settings.trial_timeout_min
                message = f"ran longer than sweep.trial_timeout_min={limit}, and hung in C"
                return Left(outcome=Outcome(End.TIMED_OUT, message=message, traceback=trace))
        kept = folder.kept()
        complete = kept is not None and kept.end == End.COMPLETE
        words = (folder.released(attempt), idle_word(Path(self.header["folder"]), worker))
        return Left(died=not complete and not any(word.exists() for word in words))


class _StopSignals:
    """SIGTERM stops like Ctrl-C. A task may put its own handlers over ours while it runs.

    Attributes:
        came: whether one did.
    """

    def __init__(self) -> None:
        self.came = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: Any) -> None:
        self.came = True
        raise_soon(KeyboardInterrupt(signal.Signals(number).name))
