"""Several trials in one process, one thread each, of which one runs at a time.

What a trial changes of the process (random numbers, log, working directory, ...) is taken down when its turn ends and
put back when its next one begins: each finds the process as it left it, and computes what it would compute alone.
"""

from __future__ import annotations

import ctypes
import logging
import os
import random
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig

PutBack = Callable[[], None]


class Turns:
    """Who runs, and who comes next: in the order in which they joined, round and round.

    Args:
        keep: takes down what a trial may change of the process, and gives what puts it back.
    """

    def __init__(self, keep: Callable[[], PutBack]) -> None:
        self.keep = keep
        self.fresh = keep()  # the process as every trial first finds it
        self.changed = threading.Condition()
        self.waiting: deque[Turn] = deque()  # the first one has the turn

    def join(self) -> Turn:
        """A place in the round, to be entered (`with`) by the thread that takes it."""
        turn = Turn(self)
        with self.changed:
            self.waiting.append(turn)
        return turn


class Turn:
    """One thread's place in the round: it runs inside the `with` block, while it has the turn."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._used, self._since = 0.0, 0.0
        self._guard = threading.RLock()  # held while an exception is sent, so that none arrives outside of a turn
        self._running = False
        self._thread = 0
        self.at_begin: PutBack | None = None
        self.at_end: PutBack | None = None

    def __enter__(self) -> Turn:
        self._thread = threading.get_ident()
        self._wait(self._turns.fresh)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        with self._turns.changed:
            self._turns.waiting.remove(self)
            self._turns.changed.notify_all()

    def pass_on(self) -> None:
        """Let the others run, each until it does the same; come back when it is our turn again."""
        turns = self._turns
        if len(turns.waiting) == 1:
            return
        self._close()
        put_back = turns.keep()
        if self.at_end is not None:
            self.at_end()
        with turns.changed:
            turns.waiting.rotate(-1)
            turns.changed.notify_all()
        self._wait(put_back)
        if self.at_begin is not None:
            self.at_begin()

    def seconds(self) -> float:
        """How long it has had the turn, all in all."""
        return self._used + (time.monotonic() - self._since if self._running else 0.0)

    def interrupt(self, kind: type[BaseException]) -> None:
        """Raise an exception in the thread, in the middle of whatever Python it runs, if it has the turn."""
        with self._guard:
            if self._running:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), ctypes.py_object(kind))

    def _wait(self, put_back: PutBack) -> None:
        with self._turns.changed:
            self._turns.changed.wait_for(lambda: self._turns.waiting[0] is self)
        put_back()
        self._since, self._running = time.monotonic(), True

    def _close(self) -> None:
        """No exception comes from here on: what was sent before has been raised by the end of this call."""
        with self._guard:
            self._used, self._running = self.seconds(), False


def process_state() -> PutBack:
    """Take down what any Hydra job may change of its process; give what puts it back."""
    hydra: Any = HydraConfig.instance()
    root = logging.getLogger()
    config, folder, environment = hydra.cfg, Path.cwd(), dict(os.environ)
    handlers, level = root.handlers, root.level
    filters, show = warnings.filters, warnings.showwarning
    python, numpy = random.getstate(), np.random.get_state()

    def put_back() -> None:
        hydra.cfg = config
        root.handlers, root.level = handlers, level
        warnings.filters, warnings.showwarning = filters, show
        random.setstate(python)
        np.random.set_state(numpy)
        if Path.cwd() != folder:
            os.chdir(folder)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)

    return put_back
