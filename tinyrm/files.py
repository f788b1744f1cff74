"""Writing files so that a final name never holds half a file, and one process at a time does."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from tinyrm.errors import StorageError

_NO_ROOM = {errno.ENOSPC: "no space left on the device", errno.EDQUOT: "disk quota exceeded"}
_NATIVE_WRITE_FAILURES = ("PytorchStreamWriter failed", "file write failed", "unexpected pos", "I/O error", "os error")


@contextlib.contextmanager
def storage_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what a failed write to `path` raises (full disk, read-only, no permission) into a :class:`StorageError`.

    Libraries that write from native code say so in their own ways: torch as a RuntimeError, safetensors as its own.
    """
    try:
        yield
    except OSError as error:
        reason = _NO_ROOM.get(error.errno or 0, error.strerror or str(error))
        raise StorageError(f"cannot write {os.fspath(path)}: {reason}.") from error
    except (RuntimeError, SafetensorError) as error:
        if any(sign in str(error) for sign in _NATIVE_WRITE_FAILURES):
            raise StorageError(f"cannot write {os.fspath(path)}: {str(error).splitlines()[0]}.") from error
        raise


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside `path`; move it to `path` when the block succeeds, remove it when it fails.

    Raises:
        StorageError: the write failed for want of space or permission.
    """
    final = Path(path)
    with storage_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # mkstemp makes it private
            temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)


def _umask() -> int:
    """The process's umask; Python can read it only by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as strict, indented JSON to `path` (NaN is refused: it is not JSON), whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def lock_file(path: str | os.PathLike[str], *, shared: bool = False) -> Iterator[Callable[[], bool]]:
    """A function that tries to get the lock of a file (made if missing), and says whether we have it.

    It is let go of at the end of the block, or with the process. Where the file has been removed or moved by whoever
    had its lock, what is got is the lock of the file that has its name now.

    Args:
        shared: a share of the lock, which others may have beside us as long as nobody has the whole.

    Raises:
        OSError: the file cannot be made.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    held = False

    def got() -> bool:
        nonlocal handle, held
        with contextlib.suppress(BlockingIOError):
            while not held:
                fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                held = _is_at(handle, path)
                if not held:
                    with contextlib.suppress(FileNotFoundError, FileExistsError):  # removed once more meanwhile
                        Path(path).parent.mkdir(parents=True, exist_ok=True)
                        again = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
                        os.close(handle)
                        handle = again
        return held

    try:
        yield got
    finally:
        os.close(handle)


def _is_at(handle: int, path: str | os.PathLike[str]) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(handle), Path(path).stat())
    except FileNotFoundError:
        return False
