"""Several trials of one worker at once, each in a thread, in turn: what they share is loaded and computed once."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from .claims import Claim
from .errors import End, StorageUnavailableError, SweepInterrupted, TrialEnded
from .interrupts import check, held
from .seat import Seat
from .study import Study
from .turns import PutBack, Turn, Turns, process_state

log = logging.getLogger(__name__)

_POLL_S = 0.2


class Pack:
    """Trials that run together.

    A trial that ends, however it does, leaves the others alone. Only memory is everyone's: where it does not suffice,
    all that still run go back, to run one by one.

    Args:
        study: theirs.
        claims: the trials.
        attempt: runs one of them to its end, in the thread it is called in; whether it has an end now.
        release: puts one back among the waiting (`alone`: never again beside others).
        keep: takes down what of the process is the application's and a trial may change, see :class:`~.app.App`.
    """

    def __init__(
        self,
        study: Study,
        claims: Sequence[Claim],
        attempt: Callable[[Claim, Seat], bool],
        release: Callable[..., None],
        keep: Callable[[], PutBack],
    ) -> None:
        self._study, self._attempt, self._release, self._keep = study, attempt, release, keep
        self.stopping = False
        self.off = False  # called off: out of memory
        self._errors: list[BaseException] = []
        turns, shared = Turns(self._state), dict[str, Any]()
        self._seats = [_Seat(self, claim, turns.join(), len(claims), shared) for claim in claims]

    def run(self, *, lease_s: float, heartbeat_s: float) -> int:
        """Run all of them; give how many have an end now.

        Args:
            lease_s, heartbeat_s: of the sweep: a trial that has not had its first turn is kept from here.

        Raises:
            SweepInterrupted: told to stop. StorageUnavailableError: the storage is gone or full.
        """
        log.info("Trials %s run together.", ", ".join(str(seat.claim.number) for seat in self._seats))
        put_back = self._state()
        threads = [self._thread(seat) for seat in self._seats]
        try:
            with held():  # what a signal raises is asked for, so that nothing leaves the threads behind
                for thread in threads:
                    thread.start()
                self._wait(threads, lease_s, heartbeat_s)
        finally:
            put_back()
        self._raise_worst()
        return sum(seat.told for seat in self._seats)

    def _wait(self, threads: Sequence[threading.Thread], lease_s: float, heartbeat_s: float) -> None:
        beat, asked = time.monotonic() + heartbeat_s, 0
        while running := [thread for thread in threads if thread.is_alive()]:
            running[0].join(_POLL_S)
            if time.monotonic() >= beat:
                beat = time.monotonic() + heartbeat_s
                self._keep_leases(lease_s)
            try:
                check()
            except KeyboardInterrupt as came:
                asked += str(came) == signal.SIGINT.name
                self.stop(at_once=asked > 1)

    def stop(self, *, at_once: bool = False) -> None:
        """Let every trial stop at its next step, with a checkpoint if its task writes one; `at_once`: without."""
        self.stopping = True
        if at_once:
            self._order(TrialEnded(None, "stopped at once"))

    def call_off(self) -> None:
        """There is not enough memory for all: let every trial that runs go back."""
        if not self.off:
            self.off = True
            log.warning("Out of memory with %s trials at once: they run one by one.", len(self._seats))
            self._order(TrialEnded(None, "there was not enough memory for it beside the others"))

    def give_back(self, seats: Sequence[_Seat], beside: _Seat, *, alone: bool) -> None:
        """The process ends at once: put back these and all that are `beside` that one."""
        for seat in (*seats, *(s for s in self._seats if s is not beside and not s.over)):
            self._release(seat.claim, alone=alone)

    def _order(self, ending: TrialEnded) -> None:
        for seat in self._seats:
            if seat.watch is not None:
                seat.watch.order(ending)

    def _thread(self, seat: _Seat) -> threading.Thread:
        context = contextvars.copy_context()
        name = f"trial-{seat.claim.number}"
        return threading.Thread(target=context.run, args=(self._run_one, seat), name=name, daemon=True)

    def _raise_worst(self) -> None:
        """What one trial met that ends the worker."""
        interrupted = [e for e in self._errors if isinstance(e, SweepInterrupted)]
        others = [e for e in self._errors if not isinstance(e, SweepInterrupted)]
        others.sort(key=lambda error: isinstance(error, StorageUnavailableError))  # a defect before what is foreseen
        for error in (*others, *sorted(interrupted, key=lambda error: not error.whole)):
            raise error

    def _run_one(self, seat: _Seat) -> None:
        try:
            with seat.turn:
                if self.stopping or self.off:
                    self._release(seat.claim, alone=self.off)
                else:
                    seat.began = True
                    seat.told = self._attempt(seat.claim, seat)
        except BaseException as error:
            self._errors.append(error)
            self.stop()
        finally:
            seat.over = True

    def _keep_leases(self, lease_s: float) -> None:
        """A running trial's watch keeps its lease; this one keeps those of trials that have not had a turn."""
        for seat in self._seats:
            if not seat.began and not seat.over:
                with contextlib.suppress(StorageUnavailableError):
                    self._study.heartbeat(seat.claim, None, lease_s=lease_s, stops=0)

    def _state(self) -> PutBack:
        own, apps = process_state(), self._keep()

        def put_back() -> None:
            own()
            apps()

        return put_back


class _Seat(Seat):
    """A thread beside others, which runs in its turns.

    Attributes:
        claim: its trial.
        began, over: whether that has begun, and has ended here.
        told: whether it has an end now.
    """

    def __init__(self, pack: Pack, claim: Claim, turn: Turn, size: int, shared: dict[str, Any]) -> None:
        self._pack, self.claim, self.turn = pack, claim, turn
        self.size, self.shared = size, shared
        self.began = self.over = self.told = False

    @property
    def is_off(self) -> bool:
        return self._pack.off

    @property
    def stopped(self) -> bool:
        return self._pack.stopping

    @property
    def asked_to_stop(self) -> bool:
        return self._pack.stopping

    def seconds(self) -> float:
        return self.turn.seconds()

    def pass_on(self) -> None:
        self.turn.pass_on()

    def stop(self) -> None:
        self._pack.stop()

    def interrupt(self) -> None:
        ending = self.watch.ending if self.watch is not None else None
        if ending is not None:
            self.turn.interrupt(_raisable(ending))

    def call_off(self) -> bool:
        self._pack.call_off()
        return True

    def leaving(self, ending: TrialEnded) -> bool:
        memory = self._pack.off or ending.end == End.OUT_OF_MEMORY
        goes_back = memory or ending.end is None
        self._pack.give_back([self] if goes_back else [], alone=memory, beside=self)
        return goes_back

    def begin(self, watch: Any) -> None:
        super().begin(watch)
        self.turn.at_begin, self.turn.at_end = watch.arm, watch.disarm

    def end(self) -> None:
        super().end()
        self.turn.at_begin = self.turn.at_end = None


def _raisable(ending: TrialEnded) -> type[TrialEnded]:
    """A class whose instances are such endings: Python takes no more for an exception in another thread."""

    class Ended(TrialEnded):
        def __init__(self) -> None:
            super().__init__(ending.end, str(ending))

    return Ended
