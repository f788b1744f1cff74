"""Arrays by content on disk, memory-mapped, shared by processes and bounded in size.

A store is a folder of segments, each written once by one process: `NAME.data` with the rows one after the other, and
`NAME.index` (safetensors) with their digests, places and checksums, which appears last and makes the segment count.
A row that is missing, damaged or gone is one that must be computed again: nothing here can make a result wrong.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tinyrm.files import atomic_path

log = logging.getLogger(__name__)

DIGEST_BYTES = 16
DATA, INDEX = ".data", ".index"
_POLL_S = 0.1
_ABANDONED_S = 24 * 3600  # data without an index that is older than this belongs to nobody


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
        self._segments: dict[str, int] = {}
        self._arrays: list[NDArray[Any]] = []
        self._paths: list[Path] = []
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
        row = self._arrays[place.segment][place.start : place.start + place.length]
        if digest not in self._trusted:
            if zlib.crc32(row.tobytes()) != place.checksum:
                self._drop(place.segment)
                return False
            self._trusted.add(digest)
        into[: place.length] = row
        return True

    def refresh(self) -> None:
        """Take in what other processes have written since."""
        with contextlib.suppress(OSError):
            for index in sorted(self.folder.glob(f"*{INDEX}")):
                if index.stem not in self._segments:
                    self._open(index)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from computing the same meanwhile. Asks now and then, so that signals come through.

        Raises:
            OSError: the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(_POLL_S)
            yield
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def adding(self, tokens: int) -> Iterator[Writer]:
        """Write a segment; what was added whole stays, however the block ends.

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
        """Take in a segment; one that is not whole is removed."""
        data = index.with_suffix(DATA)
        try:
            found = load_file(index)
            digests, lengths, checksums = found["digests"], found["lengths"], found["checksums"]
            total = int(lengths.sum())
            whole = data.stat().st_size == total * self.width * self.dtype.itemsize and bool((lengths > 0).all())
            if not whole or not len(digests) == len(lengths) == len(checksums) or digests.shape[1:] != (DIGEST_BYTES,):
                raise ValueError("data and index do not belong together")
            array = np.memmap(data, self.dtype, mode="r", shape=(total, self.width))
            os.utime(index)  # used last: goes last
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            log.warning("A part of the store in %s is damaged (%s): computed again.", self.folder, error)
            _remove(index)
            return
        number = len(self._arrays)
        self._segments[index.stem] = number
        self._arrays.append(array)
        self._paths.append(index)
        starts = np.cumsum(lengths) - lengths
        for row, digest in enumerate(digests):
            place = _Place(number, int(starts[row]), int(lengths[row]), int(checksums[row]))
            self._places.setdefault(digest.tobytes(), place)

    def _drop(self, segment: int) -> None:
        """Forget a segment that holds a damaged row, and remove it: it is computed again."""
        log.warning("The store in %s is damaged: its rows are computed again.", self._paths[segment])
        self._places = {d: p for d, p in self._places.items() if p.segment != segment}
        _remove(self._paths[segment])


def make_room(root: Path, size: int, limit: int) -> None:
    """Remove what was used longest ago until `size` bytes more fit the limit and the disk.

    A process that has a removed segment open goes on reading it.

    Raises:
        NoRoomError: they do not fit, even alone; then nothing is removed.
    """
    root.mkdir(parents=True, exist_ok=True)
    if size > limit:
        raise NoRoomError(f"{amount(size)} are more than the limit of {amount(limit)}")
    if size > (room := shutil.disk_usage(root).free + usage(root)):
        raise NoRoomError(f"{amount(size)} are needed, the disk has {amount(room)}")
    for stray in (p for p in root.glob(f"*/*{DATA}") if not p.with_suffix(INDEX).exists()):
        with contextlib.suppress(OSError):
            if time.time() - stray.stat().st_mtime > _ABANDONED_S:
                stray.unlink()
    kept = sorted((_used(p), p) for p in root.glob(f"*/*{INDEX}"))
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
    total = 0
    for path in root.glob("*/*"):
        with contextlib.suppress(OSError):  # another process removes as well
            total += path.stat().st_size
    return total


def amount(size: int) -> str:
    """For people."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


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
