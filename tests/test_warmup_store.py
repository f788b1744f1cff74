"""Which warm-ups go when they take too much room, and that none goes which somebody uses or makes."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest

from tinyrm.files import lock_file, write_json
from tinyrm.runs import RUN
from tinyrm.warmup_store import clear, kept, taken, trim

SIZE = 100_000


def made(folder: Path) -> None:
    """What a warm-up leaves, as far as the store looks at it."""
    (folder / "model").mkdir(parents=True, exist_ok=True)
    (folder / "model" / "weights").write_bytes(folder.name.encode() * (SIZE // len(folder.name)))
    (folder / "model" / "config.json").write_text("{}")
    write_json(folder / RUN, {"state": "complete"})


def use(folder: Path, at: float | None = None) -> bool:
    """Use it; as if at that time. Whether it had to be made."""
    with taken(folder, lambda: made(folder)) as (record, was_made):
        assert record["state"] == "complete"
    if at is not None:
        os.utime(folder / "lock", (at, at))
    return was_made


def names(root: Path) -> set[str]:
    return {folder.name for folder in root.iterdir()}


def test_it_is_made_once(tmp_path: Path) -> None:
    assert use(tmp_path / "a") and not use(tmp_path / "a")
    (tmp_path / "a" / "model" / "config.json").unlink()
    assert use(tmp_path / "a")


def test_what_was_used_longest_ago_goes(tmp_path: Path) -> None:
    for at, name in enumerate(["aaaa", "bbbb", "cccc", "dddd"]):
        use(tmp_path / name, at=1000 + at)
    use(tmp_path / "aaaa", at=2000)  # used again
    (tmp_path / ".gone-1").mkdir()  # of a process that was killed as it removed one
    trim(tmp_path, 3 * SIZE)
    assert names(tmp_path) == {"aaaa", "dddd"}  # four of a little more than SIZE; three would not fit
    trim(tmp_path, 3 * SIZE)
    assert kept(tmp_path).count == 2 and kept(tmp_path).held == 0
    assert 2 * SIZE < kept(tmp_path).size < 2 * SIZE + 1000


def test_what_is_used_or_made_stays(tmp_path: Path) -> None:
    for name in ("used", "half", "free"):
        use(tmp_path / name, at=1000)
    with taken(tmp_path / "used", lambda: None), lock_file(tmp_path / "half" / "lock") as got:
        assert got()  # as whoever makes it has it
        assert kept(tmp_path).held == 2
        trim(tmp_path, 1)
        assert names(tmp_path) == {"used", "half"}
        assert clear(tmp_path) == 0
        with taken(tmp_path / "used", lambda: None) as (_, was_made):  # others may use it beside us
            assert not was_made
    assert clear(tmp_path) > 2 * SIZE and names(tmp_path) == set()


def test_whoever_waited_for_one_that_was_removed_makes_it(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    use(folder)
    with lock_file(folder / "lock") as waiting:
        with lock_file(folder / "lock") as removing:
            assert removing() and not waiting()
            folder.rename(tmp_path / ".gone-1")
        assert waiting()  # of the file that has the name now
        assert (folder / "lock").is_file()
        with lock_file(folder / "lock") as other:
            assert not other()
    assert use(folder)


def _busy(root: Path, seed: int, until: float) -> None:
    """Use warm-ups at random, removing as ever."""
    drawn, done = random.Random(seed), 0
    while time.monotonic() < until:
        name = drawn.choice("abcd") * 4
        folder = root / name
        with taken(folder, lambda folder=folder: made(folder)):  # type: ignore[misc]
            trim(root, 2 * SIZE)
            time.sleep(drawn.random() / 100)
            assert (folder / "model" / "weights").read_bytes() == name.encode() * (SIZE // 4)
        done += 1
    os._exit(0 if done > 5 else 1)


def test_several_processes_remove_and_make(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_busy, args=(tmp_path, n, time.monotonic() + 3)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    trim(tmp_path, 2 * SIZE)
    assert kept(tmp_path).size <= 2 * SIZE
    assert not [name for name in names(tmp_path) if name.startswith(".gone")]


@pytest.mark.parametrize("shared", [False, True])
def test_a_share_of_a_lock_and_the_whole(tmp_path: Path, shared: bool) -> None:
    with lock_file(tmp_path / "x", shared=True) as one, lock_file(tmp_path / "x", shared=shared) as two:
        assert one()
        assert two() == shared
