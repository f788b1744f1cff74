"""What every kind of storage is: Optuna's, and a lock over processes (and machines) that survives no process.

What is done under the lock is a transaction of the study. It is the operating system's or the server's own, so that
`kill -9` of its holder frees it at once.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError

from .errors import StorageUnavailableError
from .interrupts import check, held
from .outcome import POINT

log = logging.getLogger(__name__)

T = TypeVar("T")
# What says that a storage is away: others add the errors of their own drivers.
AWAY: set[type[Exception]] = {DBAPIError, StorageInternalError, OSError}
UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_FULL = ("database or disk is full", "No space left on device", "disk quota exceeded", "could not extend file")


class SharedStorage(ABC):
    """An Optuna storage and its lock.

    Attributes:
        optuna: what Optuna's own tools work on.
        label: its URL without a password, for messages.
        returned: when it was last back after it had been away, in seconds since the epoch.
    """

    def __init__(self, optuna_storage: BaseStorage, label: str) -> None:
        self.optuna = optuna_storage
        self.label = label
        self.returned = 0.0
        self._mutex = threading.RLock()
        self._depth = 0

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock `name` against every other thread, process and machine. May be entered again inside."""
        with self._mutex:
            self._depth += 1
            try:
                if self._depth > 1:
                    yield
                else:
                    with self._exclusive(name):
                        yield
            finally:
                self._depth -= 1

    @abstractmethod
    def _exclusive(self, name: str) -> contextlib.AbstractContextManager[None]:
        """The lock itself."""

    @abstractmethod
    def widen(self, study_id: int, distributions: Mapping[str, BaseDistribution]) -> None:
        """Let the study's recorded parameters take `distributions`, which hold every value recorded so far."""

    def unfinished(self, study_id: int) -> list[FrozenTrial]:
        """The trials that wait or run, in order of their numbers."""
        return self.optuna.get_all_trials(study_id, deepcopy=False, states=UNFINISHED)

    def points(self, study_id: int, since: int) -> list[tuple[int, int]]:
        """(trial id, point of the plan) of the trials from this id on that have one, in order of their ids."""
        trials = self.optuna.get_all_trials(study_id, deepcopy=False)
        found = ((t._trial_id, t.user_attrs.get(POINT)) for t in trials if t._trial_id >= since)
        return [(trial_id, point) for trial_id, point in found if point is not None]

    def forget(self, study_id: int) -> None:  # noqa: B027 (nothing kept is a right answer)
        """Read the study's records again: they may have been widened."""

    def close(self) -> None:  # noqa: B027 (nothing to close is a right answer)
        """Let go of connections."""


def patiently(action: Callable[[], T], storage: SharedStorage, patience_s: float) -> T:
    """Run `action`; while the storage is away, try again, ever more slowly.

    Raises:
        StorageUnavailableError: it is full, or was away for longer than `patience_s` seconds.
    """
    began, pause = time.monotonic(), _FIRST_PAUSE_S
    while True:
        try:
            with held():
                result = action()
            if pause > _FIRST_PAUSE_S:
                storage.returned = time.time()
            return result
        except tuple(AWAY) as error:
            if is_full(error):
                raise StorageUnavailableError(
                    f"sweep.storage={storage.label} is full ({reason(error)}): make room and resume; nothing is lost."
                ) from error
            if time.monotonic() - began > patience_s:
                raise StorageUnavailableError(
                    f"sweep.storage={storage.label} has been away for {patience_s:.0f} s "
                    f"(sweep.storage_patience_s): {reason(error)}. Resume when it is back; nothing is lost."
                ) from error
            if pause == _FIRST_PAUSE_S:
                log.warning("The storage is away, waiting for it: %s", reason(error))
        time.sleep(pause)
        check()
        pause = min(_LONGEST_PAUSE_S, 2 * pause)


def is_full(error: BaseException) -> bool:
    """Whether a write failed for want of space, as the system or a database says it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(seen, DBAPIError | StorageInternalError) and any(sign in str(seen) for sign in _FULL):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def reason(error: BaseException) -> str:
    """One line that says what a database or the system complained of."""
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    original = getattr(root, "orig", None) or root
    lines = str(original).strip().splitlines()
    return lines[0] if lines else type(original).__name__


@contextlib.contextmanager
def flock(path: Path) -> Iterator[None]:
    """Hold the system's lock on a file, which ends with the process."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def short(name: str) -> str:
    """What a lock's file is called by."""
    return hashlib.sha256(name.encode()).hexdigest()[:12]
