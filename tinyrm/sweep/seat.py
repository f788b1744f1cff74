"""How a trial sits in its worker's process: alone in the main thread, or in a thread beside others."""

from __future__ import annotations

import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .interrupts import raise_soon

if TYPE_CHECKING:
    from .errors import TrialEnded
    from .watch import Watch


class Seat(ABC):
    """What the rest of the worker asks of it.

    Attributes:
        size: how many trials began beside each other.
        shared: what they keep for one another, by name; None where a trial is alone.
        watch: over the trial, while it runs.
    """

    size: int = 1
    shared: dict[str, Any] | None = None
    watch: Watch | None = None

    @property
    def is_off(self) -> bool:
        """Whether the trials that run beside each other were called off."""
        return False

    @property
    @abstractmethod
    def stopped(self) -> bool:
        """Whether the worker has been told to stop: what its task returns or raises is then half of a result."""

    @property
    @abstractmethod
    def asked_to_stop(self) -> bool:
        """Whether the task must look for itself that it stops, because no signal reaches it."""

    @abstractmethod
    def seconds(self) -> float:
        """A clock that runs while the trial does."""

    @abstractmethod
    def pass_on(self) -> None:
        """Let others run now."""

    @abstractmethod
    def stop(self) -> None:
        """Tell the worker to stop, as Ctrl-C would: the task may write a checkpoint first."""

    @abstractmethod
    def interrupt(self) -> None:
        """Raise the end that its watch has set, in the middle of whatever Python the task runs."""

    @abstractmethod
    def call_off(self) -> bool:
        """The trial is out of memory: whether that may be the others' doing; they then go back, like itself."""

    @abstractmethod
    def leaving(self, ending: TrialEnded) -> bool:
        """The process ends at once, because of this trial: give back the others, and say whether it goes back too."""

    def begin(self, watch: Watch) -> None:
        """The trial begins."""
        self.watch = watch
        watch.arm()

    def end(self) -> None:
        """The trial has ended. May be called again."""
        if self.watch is not None:
            self.watch.disarm()


class Alone(Seat):
    """The main thread, where signals arrive; in another thread nothing interrupts.

    Args:
        signalled: whether a signal to stop has come.
    """

    asked_to_stop = False

    def __init__(self, signalled: Callable[[], bool]) -> None:
        self._signalled = signalled
        self._main = threading.current_thread() is threading.main_thread()
        self._before: Any = None

    @property
    def stopped(self) -> bool:
        return self._signalled()

    def seconds(self) -> float:
        return time.monotonic()

    def pass_on(self) -> None:
        """Nobody else is there."""

    def stop(self) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    def interrupt(self) -> None:
        if self._main:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    def call_off(self) -> bool:
        return False

    def leaving(self, ending: TrialEnded) -> bool:
        return False

    def begin(self, watch: Watch) -> None:
        super().begin(watch)
        if self._main:
            self._before = signal.signal(signal.SIGALRM, self._raise)

    def end(self) -> None:
        super().end()
        if self._before is not None:
            signal.signal(signal.SIGALRM, self._before)

    def _raise(self, number: int, frame: Any) -> None:
        ending = self.watch.ending if self.watch is not None else None
        if ending is not None:
            raise_soon(ending)
