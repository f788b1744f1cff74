"""Arrays by content on disk, shared by processes and bounded in size.

A store is a folder of segments, each written once by one process: `NAME.data` with the rows one after the other, and
`NAME.index` (safetensors) with their digests, places and checksums, which appears last and makes the segment count.
A row that is missing, damaged or gone is one that must be computed again: nothing here can make a result wrong.

Rows are read from the page cache straight into the batch, as from a memory map, but by calls that fail with an error:
a map of a file that is gone (on NFS) or whose disk fails ends the process.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tinyrm.files import atomic_path, lock_file

log = logging.getLogger(__name__)

DIGEST_BYTES = 16
DATA, INDEX = ".data", ".index"
LOCK = "lock"
_POLL_S = 0.1


class NoRoomError(OSError):
    """What is to be stored fits neither the limit nor the disk."""


@dataclass(frozen=True)
class _Place:
    segment: int
    start: int
    length: int
    checksum: int


@dataclass
class Writer:
    """A segment in the making."""

    data: IO[bytes]
    digests: list[bytes] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    checksums: list[int] = field(default_factory=list)

    def add(self, digest: bytes, row: NDArray[Any]) -> None:
        """Append a row (tokens, width)."""
        raw = np.ascontiguousarray(row)
        self.data.write(raw.data)
        self.digests.append(digest)
        self.lengths.append(len(row))
        self.checksums.append(zlib.crc32(raw.data))


class RowStore:
    """Rows (tokens, width) by digest.

    Args:
        root: folder of all stores, which share one limit.
        key: what else decides the rows' content: a store of its own each.
        width: columns of a row.
        dtype: of its values.
        limit: bytes that all stores together may take.
    """

    def __init__(self, root: Path, key: str, width: int, dtype: np.dtype[Any], limit: int) -> None:
        self.root, self.folder = root, root / key
        self.width, self.dtype, self.limit = width, dtype, limit
        self._known: set[str] = set()  # names of segments
        self._segments: list[tuple[Path, IO[bytes]]] = []  # index, and data
        self._used: set[int] = set()  # segments of which a row has been read
        self._places: dict[bytes, _Place] = {}
        self._trusted: set[bytes] = set()  # whose checksum was right when they were first read
        self.refresh()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._places

    def length(self, digest: bytes) -> int:
        """Tokens of a row that is here."""
        return self._places[digest].length

    def read(self, digest: bytes, into: NDArray[Any]) -> bool:
        """Copy a row into the first lines of `into`; False where it is not here or is damaged."""
        place = self._places.get(digest)
        if place is None:
            return False
        index, data = self._segments[place.segment]
        target = into[: place.length]
        try:
            offset = place.start * self.width * self.dtype.itemsize
            whole = os.preadv(data.fileno(), [target.data], offset) == target.nbytes
        except OSError as error:
            log.warning("The store in %s cannot be read (%s): computed instead.", index, error)
            self._forget(place.segment)
            return False
        if not whole or (digest not in self._trusted and zlib.crc32(target.data) != place.checksum):
            log.warning("The store in %s is damaged: its rows are computed again.", index)
            self._forget(place.segment)
            _remove(index)
            return False
        self._trusted.add(digest)
        if place.segment not in self._used:
            self._used.add(place.segment)
            with contextlib.suppress(OSError):  # another user's
                os.utime(index)  # used last: goes last
        return True

    def refresh(self) -> None:
        """Take in what other processes have written since."""
        with contextlib.suppress(OSError):
            for index in sorted(self.folder.glob(f"*{INDEX}")):
                if index.stem not in self._known:
                    self._open(index)

    @contextlib.contextmanager
    def locked(self, stopped: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Keep other processes from computing the same meanwhile; what one that was killed has left is removed.

        Args:
            stopped: asked while another has the lock; the block is then given False, and no lock.

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with lock_file(self.folder / LOCK) as got:
            while not got() and not stopped():
                time.sleep(_POLL_S)
            if got():
                _remove_strays(self.folder)
            yield got()

    @contextlib.contextmanager
    def adding(self, tokens: int) -> Iterator[Writer]:
        """Write a segment, under the lock; what was added whole stays, however the block ends.

        Args:
            tokens: how many lines will be added at most; their room is taken at once.

        Raises:
            NoRoomError: there is none, even with all that is older gone.
            OSError, StorageError: the folder cannot be written.
        """
        size = tokens * self.width * self.dtype.itemsize
        make_room(self.root, size, self.limit)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}{DATA}"
        try:
            with path.open("wb") as data:
                _reserve(data, size)
                writer = Writer(data)
                try:
                    yield writer
                finally:
                    self._commit(path, writer)
        except BaseException:
            if not path.with_suffix(INDEX).exists():
                path.unlink(missing_ok=True)
            raise

    def _commit(self, path: Path, writer: Writer) -> None:
        if not writer.digests:
            path.unlink(missing_ok=True)
            return
        writer.data.flush()
        writer.data.truncate(sum(writer.lengths) * self.width * self.dtype.itemsize)
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, "the store has been cleared meanwhile", str(path))
        with atomic_path(path.with_suffix(INDEX)) as temporary:
            save_file(
                {
                    "digests": np.frombuffer(b"".join(writer.digests), np.uint8).reshape(-1, DIGEST_BYTES),
                    "lengths": np.array(writer.lengths, np.int64),
                    "checksums": np.array(writer.checksums, np.int64),
                },
                temporary,
            )
        self.refresh()

    def _open(self, index: Path) -> None:
        """Take in a segment; one that is not whole is removed, one that cannot be read is left alone."""
        try:
            data = index.with_suffix(DATA).open("rb", buffering=0)
            found = load_file(index)
            digests, lengths, checksums = found["digests"], found["lengths"], found["checksums"]
            size = os.fstat(data.fileno()).st_size
            whole = size == int(lengths.sum()) * self.width * self.dtype.itemsize and bool((lengths > 0).all())
            if not whole or not len(digests) == len(lengths) == len(checksums) or digests.shape[1:] != (DIGEST_BYTES,):
                raise ValueError("data and index do not belong together")
        except FileNotFoundError:  # removed by another process, or what one that was killed has left
            return
        except OSError as error:
            log.warning("A part of the store in %s cannot be read (%s): computed instead.", self.folder, error)
            return
        except (ValueError, KeyError, SafetensorError) as error:
            log.warning("A part of the store in %s is damaged (%s): computed again.", self.folder, error)
            _remove(index)
            return
        number = len(self._segments)
        self._known.add(index.stem)
        self._segments.append((index, data))
        starts = np.cumsum(lengths) - lengths
        for row, digest in enumerate(digests):
            place = _Place(number, int(starts[row]), int(lengths[row]), int(checksums[row]))
            self._places.setdefault(digest.tobytes(), place)

    def _forget(self, segment: int) -> None:
        self._places = {d: p for d, p in self._places.items() if p.segment != segment}


def make_room(root: Path, size: int, limit: int) -> None:
    """Remove what was used longest ago until `size` bytes more fit the limit and the disk.

    A process that has a removed segment open goes on reading it, where the file system lets it.

    Raises:
        NoRoomError: they do not fit, even alone; then nothing is removed.
    """
    root.mkdir(parents=True, exist_ok=True)
    if size > limit:
        raise NoRoomError(f"{amount(size)} are more than the limit of {amount(limit)}")
    for folder in root.glob("*/"):
        with contextlib.suppress(OSError), lock_file(folder / LOCK) as got:
            if got():  # nobody writes there now
                _remove_strays(folder)
    kept = sorted((_used(p), p) for p in root.glob(f"*/*{INDEX}"))
    removable = sum(_size(p) + _size(p.with_suffix(DATA)) for _, p in kept)
    room = removable + min(shutil.disk_usage(root).free, limit - usage(root))
    if size > room:
        raise NoRoomError(f"{amount(size)} are needed, {amount(room)} could be had")
    while kept and (usage(root) + size > limit or shutil.disk_usage(root).free < size):
        _remove(kept.pop(0)[1])
    room = min(shutil.disk_usage(root).free, limit - usage(root))
    if room < size:  # another process has taken it
        raise NoRoomError(f"{amount(size)} are needed, {amount(room)} are free")


def clear(root: Path) -> int:
    """Remove every store below `root`; give how many bytes that were. Who has one open goes on reading it."""
    freed = usage(root)
    for index in root.glob(f"*/*{INDEX}"):
        _remove(index)
    shutil.rmtree(root, ignore_errors=True)
    return freed - usage(root)


def usage(root: Path) -> int:
    """Bytes that all stores below `root` take."""
    return sum(_size(Path(folder, name)) for folder, _, names in os.walk(root) for name in names)


def amount(size: int) -> str:
    """For people."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _remove_strays(folder: Path) -> None:
    """Remove data without an index or the other way round, which a killed process has left.

    To be called under the folder's lock, which whoever writes there has.
    """
    for path in (*folder.glob(f"*{DATA}"), *folder.glob(f"*{INDEX}")):
        if not path.with_suffix(INDEX if path.suffix == DATA else DATA).exists():
            path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # another process removes as well
        return 0


def _used(index: Path) -> float:
    try:
        return index.stat().st_mtime
    except OSError:
        return 0.0


def _remove(index: Path) -> None:
    """The index first: what has none does not count."""
    for path in (index, index.with_suffix(DATA)):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _reserve(file: IO[bytes], size: int) -> None:
    """Take the room now: a disk that fills up under a memory map would kill the process."""
    if hasattr(os, "posix_fallocate") and size:
        os.posix_fallocate(file.fileno(), 0, size)
