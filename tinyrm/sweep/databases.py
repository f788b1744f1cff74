"""Studies in a database: SQLite on one machine, PostgreSQL for many."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import RDBStorage, get_storage
from optuna.trial import FrozenTrial
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from .outcome import POINT
from .shared import UNFINISHED, SharedStorage, flock, short


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
        found = self.optuna._backend.get_all_trials(study_id, deepcopy=False, states=UNFINISHED)  # type: ignore[attr-defined]
        return sorted(found, key=lambda trial: trial.number)

    def points(self, study_id: int, since: int) -> list[tuple[int, int]]:
        statement = text(
            "SELECT t.trial_id, a.value_json FROM trials t JOIN trial_user_attributes a ON a.trial_id = t.trial_id "
            "WHERE t.study_id = :study AND t.trial_id >= :since AND a.key = :key ORDER BY t.trial_id"
        )
        with self._engine().connect() as connection:
            found = connection.execute(statement, {"study": study_id, "since": since, "key": POINT}).all()
        return [(int(trial_id), int(point)) for trial_id, point in found]

    def close(self) -> None:
        self._engine().dispose()

    def _engine(self) -> Any:
        return self.optuna._backend.engine  # type: ignore[attr-defined]


class SqliteStorage(_Database):
    """One file on one machine; write-ahead log, so that readers never wait for a writer."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path.resolve()
        # mode=rw: a file that has vanished is an error to wait out, never a new, empty database.
        # SQLite reads a URI; whether SQLAlchemy escapes it once more depends on its version.
        uri = URL.create("sqlite", database=f"file:{quote(str(self.path))}", query={"mode": "rw", "uri": "true"})
        engine_url = uri.render_as_string()
        # Optuna makes its tables without asking whether another process does the same.
        with flock(self._lock_path("tables")):
            storage = RDBStorage(engine_url, engine_kwargs={"connect_args": {"timeout": 60}})
        event.listen(storage.engine, "connect", _write_ahead)
        storage.engine.dispose()  # connections made so far lack the settings
        super().__init__(get_storage(storage), url)

    def _lock_path(self, name: str) -> Path:
        return self.path.with_name(f".{self.path.name}.{short(name)}.lock")

    @contextlib.contextmanager
    def _exclusive(self, name: str) -> Iterator[None]:
        with flock(self._lock_path(name)):
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


def _write_ahead(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")  # safe against a killed process; power loss may cost the last write
    cursor.close()


def _key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"sweep:{name}".encode()).digest()[:8], "big", signed=True)
