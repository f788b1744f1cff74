"""Where warm-ups are kept: made by one process, used by many, removed by any when they take too much room.

Each has a folder `<data.cache_dir>/warmups/<key>/` with a lock, of which whoever makes or removes it has the whole and
whoever uses it a share, until the run ends. So what is in use or being made stays; processes that want the same wait
for the one that makes it; what one that was stopped has left, the next one goes on with. When the lock was touched says
when the warm-up was used last. Locks end with their process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyrm.errors import Interrupted
from tinyrm.files import lock_file, storage_errors
from tinyrm.model.rowstore import amount, usage
from tinyrm.runs import read_record
from tinyrm.sweep import current_progress

log = logging.getLogger(__name__)

WARMUPS = "warmups"  # of data.cache_dir
_LOCK = "lock"
_GONE = ".gone-"  # how the name of a folder that is being removed begins
_POLL_S = 0.2
_TRIES = 100
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Kept:
    """What is kept.

    Attributes:
        count: warm-ups, those that were stopped half-way among them.
        held: of these, used or being made now.
        size: bytes of all.
    """

    count: int
    held: int
    size: int


@contextlib.contextmanager
def taken(folder: Path, make: Callable[[], None]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Use a warm-up until the block ends; it is made first where it is not there.

    Args:
        folder: of this one.
        make: makes it there, or goes on with what is there.

    Yields:
        its record, and whether it was made by this call.

    Raises:
        Interrupted: a signal came while another process made it.
        StorageError: the folder cannot be written. Beside that what `make` raises.
    """
    made = False
    while True:
        with _locked(folder, shared=True):
            if (record := _complete(folder)) is not None:
                _touch(folder)
                try:
                    yield record, made
                finally:
                    _touch(folder)
                return
        with _locked(folder, shared=False):
            if _complete(folder) is None:  # nobody has made it since
                _touch(folder)
                make()
                made = True


def trim(root: Path, limit: int) -> None:
    """Remove what was used longest ago until what is kept below `root` takes at most `limit` bytes.

    What is in use or being made is left, also where that alone takes more.
    """
    _remove_gone(root)
    removed = 0
    for folder in sorted(_folders(root), key=_used):
        if usage(root) <= limit:
            break
        size = usage(folder)
        removed += size if _remove(folder) else 0
    if removed:
        log.info("Warm-ups that took %s were removed from %s: warmup.cache_gb.", amount(removed), root)
    if (left := usage(root)) > limit:
        log.info("Warm-ups in use take %s, more than warmup.cache_gb=%g.", amount(left), limit / 1e9)


def clear(root: Path) -> int:
    """Remove every warm-up below `root` that is not in use or being made; give how many bytes that were."""
    before = usage(root)
    _remove_gone(root)
    for folder in _folders(root):
        _remove(folder)
    return before - usage(root)


def kept(root: Path) -> Kept:
    """How many warm-ups there are below `root`, and how much they take."""
    folders = _folders(root)
    return Kept(len(folders), sum(not _free(folder) for folder in folders), usage(root))


def heed_sweep() -> None:
    """End here where the trial that this process runs has been told to."""
    progress = current_progress()
    if progress is not None:
        progress.heed()  # those that run beside it in turn wait for the same warm-up


def _complete(folder: Path) -> dict[str, Any] | None:
    """The record of a warm-up that is there whole."""
    record = read_record(folder)
    whole = record is not None and record["state"] == "complete" and (folder / "model" / "config.json").is_file()
    return record if whole else None


@contextlib.contextmanager
def _locked(folder: Path, *, shared: bool) -> Iterator[None]:
    """Hold the folder's lock, or a share of it; wait for it as long as need be."""
    with contextlib.ExitStack() as stack:
        with storage_errors(folder):
            got = _lock(folder, shared, stack)
        if not got():
            log.info("Waiting for the warm-up that another process makes in %s.", folder)
            with _noticing_signals() as received:
                while not got():
                    if received:
                        raise Interrupted(f"stopped by {received[0]} while another process made the warm-up.")
                    heed_sweep()
                    time.sleep(_POLL_S)
        yield


def _lock(folder: Path, shared: bool, stack: contextlib.ExitStack) -> Callable[[], bool]:
    """What tries to get the folder's lock until the stack closes; the folder is made if missing."""
    tries = 0
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return stack.enter_context(lock_file(folder / _LOCK, shared=shared))
        except (FileNotFoundError, FileExistsError):  # removed while we made it: once more
            tries += 1
            if tries == _TRIES:  # what stands there is no folder of ours
                raise


@contextlib.contextmanager
def _noticing_signals() -> Iterator[list[str]]:
    """The names of the stop signals that come during the block, which do nothing else."""
    received: list[str] = []
    if threading.current_thread() is not threading.main_thread():  # Python handles them elsewhere
        yield received
        return
    before = {
        number: signal.signal(number, lambda number, frame: received.append(signal.Signals(number).name))
        for number in _STOP_SIGNALS
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _folders(root: Path) -> list[Path]:
    return [folder for folder in root.glob("*/") if not folder.name.startswith(_GONE)]


def _touch(folder: Path) -> None:
    with contextlib.suppress(OSError):  # another user's
        os.utime(folder / _LOCK)


def _used(folder: Path) -> float:
    try:
        return (folder / _LOCK).stat().st_mtime
    except OSError:
        return 0.0


def _free(folder: Path) -> bool:
    """Whether nobody uses or makes it now."""
    try:
        with lock_file(folder / _LOCK) as got:
            return got()
    except OSError:  # gone meanwhile, or closed to us
        return False


def _remove(folder: Path) -> bool:
    """Remove a warm-up that nobody holds; whether that was so.

    It is renamed first, under its lock: whoever comes meanwhile finds it whole or not at all.
    """
    gone = folder.with_name(f"{_GONE}{uuid.uuid4().hex[:8]}")
    try:
        with lock_file(folder / _LOCK) as got:
            if not got():
                return False
            folder.rename(gone)
    except OSError:
        return False
    shutil.rmtree(gone, ignore_errors=True)
    return True


def _remove_gone(root: Path) -> None:
    """What a process that was killed while it removed has left."""
    for folder in root.glob(f"{_GONE}*/"):
        shutil.rmtree(folder, ignore_errors=True)
