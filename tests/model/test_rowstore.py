"""Rows come back as they were put in, or not at all."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tinyrm.errors import StorageError
from tinyrm.model.rowstore import DATA, INDEX, NoRoomError, RowStore, amount, clear, make_room, usage

WIDTH = 4
FLOAT = np.dtype(np.float32)


def digest(name: object) -> bytes:
    return hashlib.blake2b(str(name).encode(), digest_size=16).digest()


def row(seed: int, length: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(length, WIDTH)).astype(np.float32)


def store(root: Path, key: str = "k", limit: int = 10**6) -> RowStore:
    return RowStore(root, key, WIDTH, FLOAT, limit)


def put(into: RowStore, *names: int, length: int = 5) -> None:
    with into.adding(length * len(names)) as writer:
        for name in names:
            writer.add(digest(name), row(name, length))


def get(found: RowStore, name: int, length: int = 5) -> NDArray[np.float32] | None:
    into = np.full((length + 2, WIDTH), -1, np.float32)
    if not found.read(digest(name), into):
        return None
    assert (into[length:] == -1).all()  # nothing beyond the row is touched
    return into[:length]


def test_rows_come_back(tmp_path: Path) -> None:
    ours = store(tmp_path)
    assert digest(1) not in ours
    put(ours, 1, 2)
    put(ours, 3, length=7)
    other = store(tmp_path)  # as another process opens it
    for found in (ours, other):
        for name, length in ((1, 5), (2, 5), (3, 7)):
            assert found.length(digest(name)) == length
            assert np.array_equal(get(found, name, length), row(name, length))  # type: ignore[arg-type]
        assert get(found, 4) is None
    assert digest(1) not in store(tmp_path, "another key")


def test_what_others_write_is_seen_after_a_refresh(tmp_path: Path) -> None:
    ours, other = store(tmp_path), store(tmp_path)
    put(other, 1)
    assert digest(1) not in ours
    ours.refresh()
    assert get(ours, 1) is not None


def test_what_was_added_whole_stays_when_it_ends_early(tmp_path: Path) -> None:
    ours = store(tmp_path)
    with pytest.raises(KeyboardInterrupt), ours.adding(100) as writer:
        writer.add(digest(1), row(1))
        raise KeyboardInterrupt
    assert get(store(tmp_path), 1) is not None
    (data,) = tmp_path.glob(f"k/*{DATA}")
    assert data.stat().st_size == 5 * WIDTH * 4  # the room that was taken for the rest is given back
    with pytest.raises(KeyboardInterrupt), ours.adding(100):
        raise KeyboardInterrupt
    assert len(list(tmp_path.glob(f"k/*{DATA}"))) == 1


def damage_a_byte(data: Path) -> None:
    raw = bytearray(data.read_bytes())
    raw[30] ^= 1
    data.write_bytes(raw)


DAMAGES = {
    "cut data": lambda data: os.truncate(data, 40),
    "no data": lambda data: data.unlink(),
    "cut index": lambda data: os.truncate(data.with_suffix(INDEX), 50),
    "no safetensors": lambda data: data.with_suffix(INDEX).write_bytes(b"rubbish" * 20),
    "empty index": lambda data: data.with_suffix(INDEX).write_bytes(b""),
    "a byte": damage_a_byte,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_not_there(damage: str, tmp_path: Path) -> None:
    put(store(tmp_path), 1, 2)
    (data,) = tmp_path.glob(f"k/*{DATA}")
    DAMAGES[damage](data)
    found = store(tmp_path)
    assert get(found, 1) is None
    with found.locked():  # so that it is made again
        assert not list(tmp_path.glob(f"k/*{INDEX}"))
        put(found, 1)
    assert np.array_equal(get(store(tmp_path), 1), row(1))  # type: ignore[arg-type]


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    size = 100 * WIDTH * 4
    for number, key in enumerate("abc"):
        put(store(tmp_path, key), number, length=100)
        os.utime(next(tmp_path.glob(f"{key}/*{INDEX}")), (number, number))
    opened = store(tmp_path, "a")
    assert get(opened, 0, 100) is not None  # used now
    limit = usage(tmp_path) + size // 2
    put(store(tmp_path, "d", limit), 9, length=100)
    assert sorted(p.parent.name for p in tmp_path.glob(f"*/*{INDEX}")) == ["a", "c", "d"]
    assert usage(tmp_path) <= limit
    put(store(tmp_path, "e", size * 2), 10, length=100)
    assert get(opened, 0, 100) is not None  # who has it open goes on reading it
    assert digest(0) not in store(tmp_path, "a")


def test_what_does_not_fit_is_refused_before_anything_is_removed(tmp_path: Path) -> None:
    put(store(tmp_path), 1)
    with pytest.raises(NoRoomError, match=r"0\.0 MB are more than the limit of 0\.0 MB"):
        put(store(tmp_path, limit=10), 2)
    with pytest.raises(NoRoomError, match=r"are needed, .* could be had"):
        make_room(tmp_path, 10**15, 10**18)
    assert digest(1) in store(tmp_path)
    assert amount(1_500_000) == "1.5 MB" and amount(2_340_000_000) == "2.34 GB"


def test_what_a_killed_process_left_takes_no_room(tmp_path: Path) -> None:
    put(store(tmp_path), 1)
    put(store(tmp_path, "other"), 2)
    left, written = tmp_path / "other" / f"left{DATA}", tmp_path / "third" / f"written{DATA}"
    with store(tmp_path, "third").locked():  # another process, which is writing
        for path in (left, written):
            path.write_bytes(b"x" * 1000)
        put(store(tmp_path, limit=2500), 3)
        assert written.exists() and not left.exists()
    assert digest(2) in store(tmp_path, "other")  # what is whole did not have to go
    with store(tmp_path, "third").locked():
        assert not written.exists()


def test_what_cannot_be_read_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's file, a server that does not answer, too many open files: no damage."""
    put(store(tmp_path), 1)

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("tinyrm.model.rowstore.load_file", refuse)
        assert digest(1) not in store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", refuse)
        assert get(store(tmp_path), 1) is None
    with monkeypatch.context() as patch:
        patch.setattr(os, "utime", refuse)
        assert get(store(tmp_path), 1) is not None
    assert get(store(tmp_path), 1) is not None


def test_who_waits_for_the_lock_can_be_stopped(tmp_path: Path) -> None:
    asked: list[bool] = []

    def stopped() -> bool:
        asked.append(len(asked) == 2)
        return asked[-1]

    with store(tmp_path).locked() as ours, store(tmp_path).locked(stopped) as theirs:
        assert (ours, theirs) == (True, False)
    assert asked == [False, False, True]
    with store(tmp_path).locked() as again:
        assert again


def test_clearing_while_it_is_written_loses_that_alone(tmp_path: Path) -> None:
    ours = store(tmp_path)
    with pytest.raises(OSError, match="cleared meanwhile"), ours.adding(5) as writer:
        writer.add(digest(1), row(1))
        clear(tmp_path)
    assert digest(1) not in ours
    put(ours, 1)
    assert get(store(tmp_path), 1) is not None


def test_clearing(tmp_path: Path) -> None:
    opened = store(tmp_path)
    put(opened, 1)
    assert clear(tmp_path) > 5 * WIDTH * 4
    assert usage(tmp_path) == 0
    assert get(opened, 1) is not None
    put(opened, 2)
    assert get(store(tmp_path), 2) is not None


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode:
        raise RuntimeError(f"this test mounts a small tmpfs and must be root for it: {mounted.stderr!r}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(tiny_disk: Path) -> None:
    ours = store(tiny_disk, limit=10**9)
    put(ours, 1)
    (tiny_disk / "filler").write_bytes(b"x" * 200_000)
    with pytest.raises(NoRoomError):
        put(ours, 2, length=10_000)
    assert digest(1) in store(tiny_disk)
    with pytest.raises((OSError, StorageError)), ours.adding(1_000) as writer:
        (tiny_disk / "more").write_bytes(b"x" * (os.statvfs(tiny_disk).f_bavail * 4096))
        for name in range(1_000):
            writer.add(digest(name), row(name, 50))
    assert digest(0) not in store(tiny_disk)
    assert len(list(tiny_disk.glob(f"k/*{DATA}"))) <= 1  # nothing half written is left


def add_some(root: Path, first: int, queue: Any) -> None:
    ours = store(root)
    for number in range(first, first + 20):
        with ours.locked():
            ours.refresh()
            made = digest(number) not in ours
            if made:
                put(ours, number)
        queue.put((number, made))


def test_processes_at_once_make_each_row_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    workers = [spawn.Process(target=add_some, args=(tmp_path, first, queue)) for first in (0, 0, 10)]
    for worker in workers:
        worker.start()
    made = [queue.get(timeout=60) for _ in range(60)]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert sorted(number for number, fresh in made if fresh) == list(range(30))
    found = store(tmp_path)
    assert all(np.array_equal(get(found, n), row(n)) for n in range(30))  # type: ignore[arg-type]
