"""Studies in a file that is only appended to, for file systems that machines share (NFS and the like)."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from .shared import SharedStorage, flock, short


class JournalFile(SharedStorage):
    """An append-only file and its lock."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path.resolve()
        backend = _JournalBackend(str(self.path), lock_obj=_JournalLock(self.path))
        super().__init__(JournalStorage(backend), url)

    @contextlib.contextmanager
    def _exclusive(self, name: str) -> Iterator[None]:
        with flock(self.path.with_name(f".{self.path.name}.{short(name)}.lock")):
            yield

    def widen(self, study_id: int, distributions: Mapping[str, BaseDistribution]) -> None:
        """Nothing to do: a journal takes a record with other choices."""


class _JournalBackend(JournalFileBackend):
    """Appends whole lines or nothing: to a journal that is there, and after no half line of a full disk."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        self._lock.acquire()
        try:
            with open(self._file_path, "r+b", buffering=0) as file:  # noqa: PTH123 ("a" would begin a new journal)
                end = _whole_lines(file)
                try:
                    while lines:
                        lines = lines[file.write(lines) :]
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(end)
                    raise
        finally:
            self._lock.release()


def _whole_lines(file: Any) -> int:
    """Go to the end of the last whole line and cut off what a killed or cramped writer left behind it."""
    size = end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 4096)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        file.truncate(end)
    file.seek(end)
    return int(end)


class _JournalLock(JournalFileOpenLock):
    """In place of Optuna's lock files, which a killed process leaves behind for 30 seconds."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path.with_name(f".{path.name}.append.lock")
        self._mutex = threading.Lock()
        self._handle: int | None = None

    def acquire(self) -> bool:
        self._mutex.acquire()
        try:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        except OSError:
            self._mutex.release()
            raise
        return True

    def release(self) -> None:
        assert self._handle is not None
        os.close(self._handle)
        self._handle = None
        self._mutex.release()
