"""Where a study lives, opened by one URL: SQLite on one machine, a journal file on a shared file system, PostgreSQL."""

from __future__ import annotations

import time
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from .databases import PostgresStorage, SqliteStorage
from .errors import StorageUnavailableError, SweepError, near
from .journal import JournalFile
from .shared import SharedStorage, is_full, reason

KINDS = ("sqlite", "journal", "postgresql")


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


def _with_driver(url: str) -> str:
    parsed = make_url(url)
    plain = parsed.drivername in ("postgresql", "postgres")
    return (parsed.set(drivername="postgresql+psycopg") if plain else parsed).render_as_string(hide_password=False)
