"""Where a study lives: SQLite on one machine, a journal file on a shared file system, PostgreSQL.

Each is an Optuna storage, opened by one URL, plus a lock over processes (and machines) that survives no process: what
is done under it is a transaction of the study. The lock is the operating system's or the server's own, so that
`kill -9` of its holder frees it at once.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from .errors import StorageUnavailableError, SweepError, near
from .interrupts import check, held

log = logging.getLogger(__name__)

T = TypeVar("T")
_UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)
KINDS = ("sqlite", "journal", "postgresql")
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
        return self.optuna.get_all_trials(study_id, deepcopy=False, states=_UNFINISHED)

    def latest(self, study_id: int) -> int:
        """The highest number of a trial; -1 where there is none."""
        return self.optuna.get_n_trials(study_id) - 1

    def forget(self, study_id: int) -> None:  # noqa: B027 (nothing kept is a right answer)
        """Read the study's records again: they may have been widened."""

    def close(self) -> None:  # noqa: B027 (nothing to close is a right answer)
        """Let go of connections."""


class _Database(SharedStorage):
    def widen(self, study_id: int, distributions: Mapping[str, BaseDistribution]) -> None:
        # Optuna refuses a categorical parameter whose choices grow. The recorded value is the index of the choice, so
        # choices added at the end leave every record as it was.
        statement = text(
            "UPDATE trial_params SET distribution_json = :json WHERE param_name = :name "
            "AND trial_id IN (SELECT trial_id FROM trials WHERE study_id = :study)"
        )
        with self._engine().begin() as connection:
            for name, kind in distributions.items():
                values = {"json": distribution_to_json(kind), "name": name, "study": study_id}
                connection.execute(statement, values)
        self.forget(study_id)

    def forget(self, study_id: int) -> None:
        cache: Any = self.optuna
        with cache._lock:
            kept = cache._studies.get(study_id)
            if kept is not None:
                kept.param_distribution.clear()
                kept.last_finished_trial_id = -1

    def unfinished(self, study_id: int) -> list[FrozenTrial]:
        # Past Optuna's cache, which would first read whatever all other workers have finished.
        found = self.optuna._backend.get_all_trials(study_id, deepcopy=False, states=_UNFINISHED)  # type: ignore[attr-defined]
        return sorted(found, key=lambda trial: trial.number)

    def latest(self, study_id: int) -> int:
        with self._engine().connect() as connection:
            statement = text("SELECT MAX(number) FROM trials WHERE study_id = :study")
            number = connection.execute(statement, {"study": study_id}).scalar()
        return -1 if number is None else int(number)

    def close(self) -> None:
        self._engine().dispose()

    def _engine(self) -> Any:
        return self.optuna._backend.engine  # type: ignore[attr-defined]


class SqliteStorage(_Database):
    """One file on one machine; write-ahead log, so that readers never wait for a writer."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path.resolve()
        # mode=rw: a file that has vanished is an error to wait out, never a new, empty database.
        engine_url = f"sqlite:///file:{self.path}?mode=rw&uri=true"
        # Optuna makes its tables without asking whether another process does the same.
        with _flock(self._lock_path("tables")):
            storage = RDBStorage(engine_url, engine_kwargs={"connect_args": {"timeout": 60}})
        event.listen(storage.engine, "connect", _write_ahead)
        storage.engine.dispose()  # connections made so far lack the settings
        super().__init__(get_storage(storage), url)

    def _lock_path(self, name: str) -> Path:
        return self.path.with_name(f".{self.path.name}.{_short(name)}.lock")

    @contextlib.contextmanager
    def _exclusive(self, name: str) -> Iterator[None]:
        with _flock(self._lock_path(name)):
            yield


class PostgresStorage(_Database):
    """A server; the lock is an advisory lock of a transaction, which ends with its connection."""

    def __init__(self, url: str, label: str) -> None:
        self._locks = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": 10})
        with self._locks.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _key("tables")})
            pool = {"pool_size": 2, "max_overflow": 2, "pool_pre_ping": True}
            storage = RDBStorage(url, engine_kwargs={**pool, "connect_args": {"connect_timeout": 10}})
        super().__init__(get_storage(storage), label)
        # One connection for the lock, kept: connecting costs more than what is done under it.
        self._locks.dispose()
        self._locks = create_engine(
            url, pool_size=1, max_overflow=1, pool_pre_ping=True, connect_args={"connect_timeout": 10}
        )

    @contextlib.contextmanager
    def _exclusive(self, name: str) -> Iterator[None]:
        with self._locks.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _key(name)})
            yield

    def close(self) -> None:
        super().close()
        self._locks.dispose()


class JournalFile(SharedStorage):
    """An append-only file, for file systems that machines share (NFS and the like)."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path.resolve()
        backend = _JournalBackend(str(self.path), lock_obj=_JournalLock(self.path))
        super().__init__(JournalStorage(backend), url)

    @contextlib.contextmanager
    def _exclusive(self, name: str) -> Iterator[None]:
        with _flock(self.path.with_name(f".{self.path.name}.{_short(name)}.lock")):
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


def open_storage(url: str, *, create: bool = True) -> SharedStorage:
    """Open a storage by its URL.

    Args:
        url: `sqlite:///FILE`, `journal:///FILE` (a fourth slash begins an absolute path) or
            `postgresql://USER@HOST/DATABASE` (a password comes from PGPASSWORD or ~/.pgpass).
        create: make the file and its folder where missing.

    Raises:
        SweepError: the URL is none of these, a driver is missing, or the file is not there and `create` is false.
        StorageUnavailableError: the server does not answer, or the folder cannot be written.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kind, _, rest = url.partition("://")
    kind = kind.partition("+")[0]
    if kind not in KINDS or not rest:
        hint = near(kind, KINDS) if kind not in KINDS else ""
        raise SweepError(f"sweep.storage={url} is no storage.{hint} As in sqlite:///multirun/sweeps.db.")
    label = url if kind == "journal" else mask(url)
    path = Path(rest[1:]).expanduser()
    if kind != "postgresql" and not create and not path.is_file():
        raise SweepError(f"there is no {path}: no sweep has run with sweep.storage={label} in this folder.")
    try:
        if kind != "postgresql" and create:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        if kind == "sqlite":
            return SqliteStorage(path, label)
        if kind == "journal":
            return JournalFile(path, label)
        return PostgresStorage(_with_driver(url), label)
    except ImportError as error:
        raise SweepError(f"sweep.storage={label} needs a driver: pip install 'tinyrm[postgres]' ({error}).") from error
    except (SQLAlchemyError, StorageInternalError, OSError) as error:
        raise StorageUnavailableError(f"cannot open sweep.storage={label}: {reason(error)}") from error


def reopen_storage(url: str, patience_s: float) -> SharedStorage:
    """Open a storage that is known to be there; while it is away, wait for it.

    Raises:
        StorageUnavailableError: it was away for longer than `patience_s` seconds.
    """
    began = time.monotonic()
    while True:
        try:
            return open_storage(url, create=False)
        except SweepError as error:
            if isinstance(error.__cause__, ImportError) or (error.__cause__ and is_full(error.__cause__)):
                raise
            if time.monotonic() - began > patience_s:
                raise StorageUnavailableError(str(error)) from error
        time.sleep(1)


def mask(url: str) -> str:
    """`url` without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url.partition("://")[0] + "://..."


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
        except (DBAPIError, StorageInternalError, OSError) as error:
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


def _with_driver(url: str) -> str:
    parsed = make_url(url)
    plain = parsed.drivername in ("postgresql", "postgres")
    return (parsed.set(drivername="postgresql+psycopg") if plain else parsed).render_as_string(hide_password=False)


@contextlib.contextmanager
def _flock(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write_ahead(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")  # safe against a killed process; power loss may cost the last write
    cursor.close()


def _short(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def _key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"sweep:{name}".encode()).digest()[:8], "big", signed=True)
