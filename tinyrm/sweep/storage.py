"""Where a study lives, opened by one URL: SQLite on one machine, a journal file on a shared file system, PostgreSQL."""

from __future__ import annotations

import re
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

KINDS = ("sqlite", "journal", "postgresql", "grpc")
_EXTRA = {"postgresql": "postgres", "grpc": "grpc"}
_PASSWORDS = ("password", "sslpassword")  # parameters of a URL


def open_storage(url: str, *, create: bool = True) -> SharedStorage:
    """Open a storage by its URL.

    Args:
        url: `sqlite:///FILE`, `journal:///FILE` (a fourth slash begins an absolute path) or
            `postgresql://USER@HOST/DATABASE` (a password comes from PGPASSWORD or ~/.pgpass), or
            `grpc://HOST:PORT/FOLDER`, a proxy in front of one of them.
        create: make the file and its folder where missing.

    Raises:
        SweepError: the URL is none of these or malformed, a driver is missing, or the file is not there and `create` is
            false.
        StorageUnavailableError: the server does not answer, or the folder cannot be written.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kind, label, path = _kind_of(url), mask(url), _file_of(url)
    if path is not None and not create and not path.is_file():
        raise SweepError(f"there is no {path}: no sweep has run with sweep.storage={label} in this folder.")
    try:
        if kind == "grpc":
            from . import proxy

            return proxy.GrpcStorage(*proxy.parse(url), label)
        if path is None:
            return PostgresStorage(_with_driver(url), label)
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return SqliteStorage(path, label) if kind == "sqlite" else JournalFile(path, label)
    except ImportError as error:
        raise SweepError(
            f"sweep.storage={label} needs a driver: pip install 'tinyrm[{_EXTRA[kind]}]' ({error})."
        ) from error
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


def absolute(url: str, folder: Path) -> str:
    """The same storage from every folder: a relative file's URL is taken from `folder`."""
    path = _file_of(url)
    if _kind_of(url) == "grpc":
        from . import proxy

        host, port, locks = proxy.parse(url)
        return f"grpc://{host}:{port}/{folder.absolute() / locks}"
    return url if path is None else f"{url.partition('://')[0]}:///{folder.absolute() / path}"


def is_there(url: str) -> bool:
    """Whether there is something to open: a file, or a server that can be asked."""
    path = _file_of(url)
    return path is None or path.is_file()


def mask(url: str) -> str:
    """`url` without its passwords, for messages."""
    if _kind_of(url) != "postgresql":
        return url
    try:
        return make_url(url).difference_update_query(_PASSWORDS).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        return "postgresql://..."


def passwords(url: str) -> list[str]:
    """Each password in a URL, as it stands there with the signs around it."""
    named = "|".join(_PASSWORDS)
    return [found[0] for found in re.finditer(rf"(?<=://)[^:/@]*:[^@]+@|(?<=[?&])(?:{named})=[^&]+", url)]


def _kind_of(url: str) -> str:
    """One of KINDS.

    Raises:
        SweepError: the URL is none of a storage.
    """
    kind, _, rest = url.partition("://")
    kind = kind.partition("+")[0]
    if kind not in KINDS or not rest:
        hint = near(kind, KINDS) if kind not in KINDS else ""
        raise SweepError(f"sweep.storage={kind}://... is no storage.{hint} As in sqlite:///multirun/sweeps.db.")
    return kind


def _file_of(url: str) -> Path | None:
    """The file of a storage that is one.

    Raises:
        SweepError: it lacks a slash, and with it its first letter.
    """
    kind, rest = _kind_of(url), url.partition("://")[2]
    if kind in ("postgresql", "grpc"):
        return None
    if not rest.startswith("/"):
        raise SweepError(
            f"sweep.storage={url} lacks a slash: {kind}:///{rest}, or {kind}:////{rest} for an absolute path."
        )
    return Path(rest[1:]).expanduser()


def _with_driver(url: str) -> str:
    """The same with the driver that the extra `postgres` installs.

    Raises:
        SweepError: it is malformed. It is not shown: what stands in a wrong place may be the password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SweepError(
            f"sweep.storage={mask(url)} is malformed: as in postgresql://USER@HOST:PORT/DATABASE, a number for PORT."
        ) from None
    plain = parsed.drivername in ("postgresql", "postgres")
    return (parsed.set(drivername="postgresql+psycopg") if plain else parsed).render_as_string(hide_password=False)
