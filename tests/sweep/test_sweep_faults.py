"""What a sweep survives, with real processes: killed workers, lost storage, full disks, stops from every side."""

from __future__ import annotations

import contextlib
import csv
import multiprocessing
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import JournalStorage
from sqlalchemy import create_engine, text

from tinyrm.sweep.errors import StorageUnavailableError
from tinyrm.sweep.leases import _born
from tinyrm.sweep.outcome import TrialRecord
from tinyrm.sweep.storage import open_storage
from tinyrm.sweep.study import Study

KILLS = int(os.environ.get("SWEEP_KILLS", "12"))  # 50 take minutes
AWAY_S = float(os.environ.get("SWEEP_AWAY_S", "4"))
PATIENCE_S = 90.0  # of a test, for what should happen soon


@dataclass(frozen=True)
class Note:
    """What a trial wrote down: `begin` with the steps its checkpoint held and its process, or `end`."""

    what: str
    trial: int
    at: float
    done: int = 0
    pid: int = 0


class Rig:
    """A sweep `s` of the toy app, and means to harm it."""

    def __init__(self, toy: Any, storage: str) -> None:
        self.toy = toy
        self.storage = storage
        self.folder: Path = toy.folder / "multirun" / "s"
        self.hold: Path = toy.folder / "hold"
        self.shells: list[subprocess.Popen[str]] = []

    def start(self, *overrides: str, **settings: object) -> subprocess.Popen[str]:
        """The command, as a person types it, for the first time or again."""
        given = {"name": "s", "metrics": "{value: maximize}", "workers": 2, "heartbeat_s": 0.3, **settings}
        given.setdefault("storage", self.storage)
        typed = [f"hydra.sweeper.settings.{key}={value}" for key, value in given.items()]
        self.shells.append(self.toy.start(*typed, f"hold={self.hold}", *overrides))
        return self.shells[-1]

    def run(self, *overrides: str, **settings: object) -> tuple[int, str]:
        """Run the command to its end: exit code and output."""
        return ended(self.start(*overrides, **settings))

    def study(self) -> Study:
        return Study(open_storage(self.storage, create=False), "s", 30)

    def records(self) -> list[TrialRecord]:
        return self.study().records()

    def notes(self, what: str = "") -> list[Note]:
        found = []
        for line in self.toy.notes.read_text().splitlines() if self.toy.notes.exists() else ():
            fields = line.split()
            rest = (int(fields[2]), int(fields[4])) if fields[0] == "begin" else (0, 0)
            found.append(Note(fields[0], int(fields[1]), float(fields[-1]), *rest))
        return [n for n in found if what in ("", n.what)]

    def held(self, *trials: int) -> None:
        """Wait until trials stand after their fourth step, where `hold` keeps them."""
        wait_for(lambda: all(self.step(k) == 4 for k in trials))

    def step(self, trial: int) -> int:
        """The step in a trial's checkpoint."""
        try:
            return int((self.folder / str(trial) / "checkpoint").read_text().split()[0])
        except (OSError, IndexError):
            return 0

    def workers(self) -> list[int]:
        """Processes that the local launcher started for this sweep, whoever their parent is now."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                    if b"tinyrm.sweep.local_job" in command and (entry / "cwd").readlink() == self.toy.folder:
                        found.append(int(entry.name))
                except OSError:
                    continue
        return [pid for pid in found if _born(pid) not in ("", "zombie")]

    def kill(self, *shells: subprocess.Popen[str]) -> None:
        """kill -9 of shells and of every worker."""
        for shell in shells:
            shell.kill()
            shell.wait()
        while left := self.workers():
            for pid in left:
                kill(pid)
            time.sleep(0.02)


@pytest.fixture
def rig(toy: Any) -> Iterator[Rig]:
    made = Rig(toy, f"sqlite:///{toy.folder}/store/sweeps.db")
    yield made
    made.kill(*made.shells)
    for shell in made.shells:
        if shell.stdout is not None:
            shell.stdout.close()


def ended(shell: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and output of a command."""
    output, _ = shell.communicate(timeout=2 * PATIENCE_S)
    return shell.returncode, output


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """Wait until something holds; give it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def check_all_complete(rig: Rig, xs: Sequence[int], steps: int | None = None) -> None:
    """Every point once, with the values an undisturbed sweep gives, none begun again after its end; a full table."""
    trials = rig.study().trials()
    records = rig.records()
    assert [r.state for r in records] == ["complete"] * len(xs), [(r.number, r.state, r.message) for r in records]
    assert sorted(r.params["x"] for r in records) == sorted(xs)
    for record in records:
        x = record.params["x"]
        assert record.values == {"value": 10 * x + 0.5 + 100, "cost": float(x)}
        assert record.info["work"] == x * int(str(record.info["steps"]))
        assert steps is None or record.info["steps"] == steps
    complete = {t.number: t.datetime_complete.timestamp() for t in trials if t.datetime_complete}
    late = [n for n in rig.notes("begin") if n.at > complete[n.trial]]
    assert not late, late
    with (rig.folder / "trials.csv").open() as table:
        assert [int(row["trial"]) for row in csv.DictReader(table)] == list(range(len(xs)))


def begun_once(rig: Rig) -> bool:
    """Whether no trial has begun twice."""
    return set(Counter(n.trial for n in rig.notes("begin")).values()) == {1}


# --- killed processes


def test_a_killed_worker_is_replaced_and_its_trial_goes_on_from_its_checkpoint(rig: Rig) -> None:
    rig.hold.touch()
    shell = rig.start("x=1,2,3", "seconds=0.5")
    rig.held(0, 1)
    victim = next(n.pid for n in rig.notes("begin") if n.trial == 0)
    kill(victim)
    rig.hold.unlink()
    code, output = ended(shell)
    assert code == 0, output
    check_all_complete(rig, [1, 2, 3], 10)
    attempts = [n for n in rig.notes("begin") if n.trial == 0]
    assert len(attempts) == 2 and attempts[1].done >= 4 and attempts[1].pid != victim
    assert Counter(n.trial for n in rig.notes("end")) == {0: 1, 1: 1, 2: 1}
    assert rig.records()[0].attempt == 2
    assert "another one takes its place" in output


def test_everything_killed_and_the_command_again(rig: Rig) -> None:
    command = ("seconds=0.2,0.5", "x=1,2")
    rig.hold.touch()
    shell = rig.start(*command)
    rig.held(2, 3)
    rig.kill(shell)
    before = {r.number for r in rig.records() if r.finished}
    assert before == {0, 1}
    rig.hold.unlink()
    mark = time.time()
    code, output = rig.run(*command)
    assert code == 0, output
    check_all_complete(rig, [1, 1, 2, 2])
    assert {n.trial: n.done for n in rig.notes("begin") if n.at > mark} == {2: 4, 3: 4}
    assert Counter(n.trial for n in rig.notes("begin")) == {0: 1, 1: 1, 2: 2, 3: 2}


def test_workers_need_no_supervisor(rig: Rig) -> None:
    shell = rig.start("x=1,2,3,4", "seconds=0.5")
    wait_for(lambda: rig.notes("begin"))
    shell.kill()
    wait_for(lambda: not rig.workers())
    check_all_complete(rig, [1, 2, 3, 4], 10)
    assert begun_once(rig)


def test_two_shells_resume_one_study(rig: Rig) -> None:
    command = ("x=range(1,13)", "seconds=0.3")
    first = rig.start(*command)
    wait_for(lambda: len(rig.notes("end")) >= 2)
    rig.kill(first)
    mark = time.time()
    ends = {n.trial for n in rig.notes("end")}  # told or not: what lies in their folders is enough
    shells = [rig.start(*command), rig.start(*command)]
    results = [ended(shell) for shell in shells]
    assert [code for code, _ in results] == [0, 0], results
    check_all_complete(rig, range(1, 13), 6)
    later = Counter(n.trial for n in rig.notes("begin") if n.at > mark)
    assert set(range(12)) - ends <= set(later) and set(later.values()) == {1}


def test_random_kills_lose_nothing(rig: Rig) -> None:
    """SWEEP_KILLS=50 for all of them: of a worker mostly, now and then of the supervisor or of everything."""
    rng = random.Random(7)
    count = 2 + 2 * KILLS  # enough to be hit to the end
    command = (f"x=range(1,{count + 1})", "seconds=0.1,0.25,0.4")
    settings: dict[str, object] = {"max_retries": 10_000, "heartbeat_s": 0.2}
    shell = rig.start(*command, **settings)
    hits: Counter[str] = Counter()
    mark = time.time()
    while hits.total() < KILLS:
        # Not while all of them are starting: only who has begun a trial since the last blow has something to lose.
        busy = wait_for(lambda since=mark: {n.pid for n in rig.notes("begin") if n.at > since} & set(rig.workers()))
        time.sleep(rng.uniform(0, 0.5))
        draw = rng.random()
        mark = time.time()
        if draw < 0.1:
            rig.kill(shell)
            hits["everything"] += 1
        elif draw < 0.2:
            shell.kill()
            shell.wait()
            hits["supervisor"] += 1
        else:
            kill(rng.choice(sorted(busy)))
            hits["worker"] += 1
        if shell.poll() is not None:
            shell = rig.start(*command, **settings)
    ended(shell)
    code, output = rig.run(*command, **settings)
    assert code == 0, output
    records, trials = rig.records(), rig.study().trials()
    assert len(records) == 3 * count and {r.state for r in records} == {"complete"}
    assert len({tuple(sorted(r.params.items())) for r in records}) == 3 * count
    for record in records:
        assert record.values["value"] == 10 * record.params["x"] + 100.5
        assert record.info["work"] == record.params["x"] * round(record.params["seconds"] / 0.05)
    complete = {t.number: t.datetime_complete.timestamp() for t in trials if t.datetime_complete}
    again = [n for n in rig.notes("begin") if n.at > complete[n.trial]]
    assert not again
    attempts = sum(r.attempt for r in records) - len(records)
    print(f"{dict(hits)}: {len(records)} trials, {attempts} attempts cut short, 0 lost, 0 run after their end")


def test_a_worker_that_slept_through_its_lease_cannot_tell_its_result(rig: Rig) -> None:
    rig.hold.touch()
    shell = rig.start("x=1,2", "seconds=0.5", lease_s=1.5)
    rig.held(0, 1)
    first = next(n for n in rig.notes("begin") if n.trial == 0)
    rig.hold.unlink()
    stop_outside_of_the_lock(rig, first.pid)
    wait_for(lambda: len([n for n in rig.notes("begin") if n.trial == 0]) == 2)
    wait_for(lambda: rig.records()[0].finished)
    told = rig.records()[0]
    kill(first.pid, signal.SIGCONT)
    code, output = ended(shell)
    assert code == 0, output
    check_all_complete(rig, [1, 2], 10)
    assert rig.records()[0].attempt == 2 and rig.records()[0].worker == told.worker
    second = [n for n in rig.notes("begin") if n.trial == 0][1]
    assert second.done == 4 and second.pid != first.pid


def stop_outside_of_the_lock(rig: Rig, pid: int) -> None:
    """SIGSTOP; not within the milliseconds in which it holds the study's lock, which nobody could take from it."""
    while True:
        kill(pid, signal.SIGSTOP)
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        if not any(fields[1] == "FLOCK" and int(fields[-4]) == pid for fields in locks if fields[1] != "->"):
            return
        kill(pid, signal.SIGCONT)
        time.sleep(0.01)


# --- trials that go wrong


def test_each_trial_that_goes_wrong_has_its_own_end_and_the_others_complete(rig: Rig) -> None:
    modes = "fine,raise,exit,nan,nan_value,hang,hang_lock,memory,kill,report"
    code, output = rig.run(f"mode={modes}", "seconds=0.1", trial_timeout_min=0.05, trial_memory_gb=0.6, max_retries=1)
    records = {r.params["mode"]: r for r in rig.records()}
    assert {mode: r.state for mode, r in records.items()} == {
        "fine": "complete",
        "raise": "failed",
        "exit": "failed",
        "nan": "nonfinite",
        "nan_value": "nonfinite",
        "hang": "timed_out",
        "hang_lock": "timed_out",
        "memory": "out_of_memory",
        "kill": "killed",
        "report": "complete",
    }, output
    assert "8 of 10 trials failed for good" in output and code == 3
    assert "TrialsFailedError" in output
    for mode, record in records.items():
        assert (f"trial {record.number} {record.state.replace('_', ' ')}: " in output) == record.failed, mode
    assert 'raise RuntimeError("this trial raises")' in (records["raise"].traceback or "")
    assert "this trial ends its process" in (records["exit"].message or "")
    assert "value is nan" in (records["nan_value"].message or "")
    assert "max_retries=1" in (records["kill"].message or "") and records["kill"].attempt == 2
    begun = Counter(n.trial for n in rig.notes("begin"))
    assert begun.pop(records["kill"].number) == 2 and set(begun.values()) == {1}


def test_a_trial_that_hangs_in_c_and_keeps_pythons_lock(rig: Rig) -> None:
    code, output = rig.run("mode=hang_hard,fine", "seconds=0.1", workers=1, trial_timeout_min=0.03)
    records = rig.records()
    assert [r.state for r in records] == ["timed_out", "complete"], output
    assert code == 3 and "hung in C" in (records[0].message or "")
    assert "in fail" in (records[0].traceback or "")  # the line it hung at
    assert len(rig.notes("begin")) == 2


# --- storage that vanishes


@pytest.mark.parametrize("kind", ["sqlite", "journal", "postgresql"])
def test_storage_that_vanishes(rig: Rig, kind: str, request: pytest.FixtureRequest) -> None:
    """SWEEP_AWAY_S=20 for longer. Leases run out meanwhile: nobody may take over what could not be renewed."""
    go, back = _vanishing(rig, kind, request)
    shell = rig.start("x=range(1,9)", f"seconds={AWAY_S / 4}", lease_s=1.5)
    wait_for(lambda: rig.notes("end"))
    time.sleep(0.2)
    go()
    time.sleep(AWAY_S)
    back()
    code, output = ended(shell)
    assert code == 0, output
    check_all_complete(rig, range(1, 9))
    assert begun_once(rig)


@pytest.mark.parametrize("kind", ["sqlite", "journal", "postgresql"])
def test_storage_that_stays_away(rig: Rig, kind: str, request: pytest.FixtureRequest) -> None:
    go, back = _vanishing(rig, kind, request)
    command = ("x=1,2,3,4", "seconds=0.5")
    shell = rig.start(*command, storage_patience_s=1.5, max_retries=0)
    wait_for(lambda: rig.notes("end"))
    go()
    code, output = ended(shell)
    assert code == 5 and "StorageUnavailableError" in output
    assert "has been away for 2 s (sweep.storage_patience_s)" in output and "Resume when it is back" in output
    wait_for(lambda: not rig.workers())
    back()
    ends = {n.trial for n in rig.notes("end")}
    mark = time.time()
    code, output = rig.run(*command, storage_patience_s=1.5, max_retries=0)
    assert code == 0, output
    check_all_complete(rig, [1, 2, 3, 4], 10)
    assert not ends & {n.trial for n in rig.notes("begin") if n.at > mark}  # told from what lay in their folders


def test_a_claim_whose_answer_is_lost_is_no_death(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The storage records the claim and is away before it answers: the worker leaves without knowing of its trial."""
    settings: dict[str, Any] = {"storage": f"journal:///{engine.folder}/log", "storage_patience_s": 0.2}
    settings |= {"max_retries": 0, "name": "s"}
    real = JournalStorage.create_new_trial

    def lost(self: JournalStorage, study_id: int, template: Any = None) -> int:
        number = real(self, study_id, template)
        monkeypatch.setattr(JournalStorage, "get_trial_number_from_id", away)
        return number

    def away(self: JournalStorage, *args: Any) -> Any:
        monkeypatch.setattr(JournalStorage, "get_study_user_attrs", away)
        raise OSError("no such journal")

    def leave_early() -> None:
        monkeypatch.setattr(JournalStorage, "create_new_trial", lost)
        with pytest.raises(StorageUnavailableError):
            engine.sweep(lambda config: 1.0, "x=1,2", **settings)

    process = multiprocessing.get_context("fork").Process(target=leave_early)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    records = engine.sweep(lambda config: float(config.x), "x=1,2", **settings)
    assert [(r.state, r.attempt) for r in records] == [("complete", 2), ("complete", 1)]


def _vanishing(
    rig: Rig, kind: str, request: pytest.FixtureRequest
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Give the rig such a storage, and how it goes and comes back."""
    if kind == "postgresql":
        server = request.getfixturevalue("postgres")
        rig.storage = server.database(f"t{random.randrange(10**9)}")
        with create_engine(rig.storage.replace("://", "+psycopg://")).begin() as connection:
            name = rig.storage.rpartition("/")[2]  # the server is set up to be fast; a crash must not cost a commit
            connection.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = on"))
        request.addfinalizer(lambda: None if (server.data / "postmaster.pid").exists() else server.start())
        return lambda: server.stop("immediate"), server.start
    path = rig.toy.folder / "store" / "sweeps.file"
    rig.storage = f"{kind}:///{path}"
    place = path.parent if kind == "sqlite" else path
    return lambda: place.rename(rig.toy.folder / "away"), lambda: (rig.toy.folder / "away").rename(place)


# --- full disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode:
        raise RuntimeError(f"this test mounts a small tmpfs and must be root for it: {mounted.stderr!r}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_under_the_trials(rig: Rig, small_disk: Path) -> None:
    rig.folder = small_disk / "runs" / "s"
    command = ("x=range(1,9)", "seconds=0.3", "padding=10000")
    shell = rig.start(*command, dir=small_disk / "runs", max_retries=0)
    wait_for(lambda: rig.notes("end"))
    _fill(small_disk)
    code, output = ended(shell)
    assert code == 5 and "StorageUnavailableError" in output
    assert "No space left on device" in output and "Make room, then resume" in output
    _resumes(rig, small_disk, command, dir=small_disk / "runs", max_retries=0)


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_full_disk_under_the_storage(rig: Rig, small_disk: Path, kind: str) -> None:
    rig.storage = f"{kind}:///{small_disk}/sweeps.file"
    command = ("x=range(1,9)", "seconds=0.3")
    shell = rig.start(*command, max_retries=0)
    wait_for(lambda: rig.notes("end"))
    _fill(small_disk)
    code, output = ended(shell)
    assert code == 5 and "StorageUnavailableError" in output
    assert "is full" in output and "make room and resume; nothing is lost" in output
    _resumes(rig, small_disk, command, max_retries=0)


def _fill(place: Path) -> None:
    with (place / "ballast").open("wb", buffering=0) as file:
        for size in (65536, 512, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def _resumes(rig: Rig, place: Path, command: Sequence[str], **settings: object) -> None:
    wait_for(lambda: not rig.workers())
    ends = {n.trial for n in rig.notes("end")}
    (place / "ballast").unlink()
    mark = time.time()
    code, output = rig.run(*command, **settings)
    assert code == 0, output
    check_all_complete(rig, range(1, 9), 6)
    again = {n.trial for n in rig.notes("begin") if n.at > mark}
    assert not ends & again


# --- stopped by hand


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "Ctrl-C", "stop"])  # Ctrl-C reaches the workers too
@pytest.mark.parametrize("launcher", ["local", "basic", "joblib"])
def test_stopped_sweeps_go_on_later(rig: Rig, launcher: str, how: str) -> None:
    jobs = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    command = (f"hydra/launcher={launcher}", *jobs, "x=1,2,3", "seconds=0.5")
    running = [0] if launcher == "basic" else [0, 1]
    rig.hold.touch()
    shell = rig.start(*command, max_retries=0)
    rig.held(*running)
    if how == "stop":
        assert rig.study().stop() == len(running)
    elif how == "Ctrl-C":
        os.killpg(shell.pid, signal.SIGINT)
    else:
        shell.send_signal(signal.Signals[how])
    code, output = ended(shell)
    assert code == 130 and "SweepInterrupted" in output and "Go on with: tinyrm sweep resume s" in output
    assert not rig.workers()
    assert [r.state for r in rig.records()] == ["waiting" for _ in running]
    rig.hold.unlink()
    mark = time.time()
    code, output = rig.run(*command, max_retries=0)
    assert code == 0, output
    check_all_complete(rig, [1, 2, 3], 10)
    expected = {trial: 4 if trial in running else 0 for trial in range(3)}
    assert {n.trial: n.done for n in rig.notes("begin") if n.at > mark} == expected


def test_a_stop_reaches_workers_that_are_still_starting(rig: Rig) -> None:
    rig.hold.touch()
    shell = rig.start("x=1,2,3", "seconds=0.5")
    wait_for(rig.workers)
    rig.study().stop()
    code, output = ended(shell)
    assert code == 130, output
    assert not rig.notes("end") and not any(r.finished for r in rig.records())


def test_one_trial_stopped_by_hand(rig: Rig) -> None:
    rig.hold.touch()
    shell = rig.start("x=1,2,3", "seconds=0.5")
    rig.held(0, 1)
    assert rig.study().stop_trial(1) == "running"
    wait_for(lambda: rig.records()[1].finished)
    rig.hold.unlink()
    code, output = ended(shell)
    assert code == 0, output
    assert [r.state for r in rig.records()] == ["complete", "stopped", "complete"]
    assert Counter(n.trial for n in rig.notes("begin")) == {0: 1, 1: 1, 2: 1}


# --- asynchrony


def test_no_worker_waits_for_another_ones_trial(rig: Rig) -> None:
    """One trial of 8 units and eight of 1 on two workers take 8, not the 12 of batches. SWEEP_UNIT_S=1 for a second."""
    unit = float(os.environ.get("SWEEP_UNIT_S", "0.4"))
    arms = [[f"seconds={(8 if k == 1 else 1) * unit}", f"x={k}"] for k in range(1, 10)]
    rig.hold.touch()
    shell = rig.start(arms=arms)
    rig.held(0, 1)
    rig.hold.unlink()
    opened, optimum = time.time(), 8 * unit - 0.2
    code, output = ended(shell)
    assert code == 0, output
    took = rig.notes("end")[-1].at - opened
    print(f"took {took / optimum:.3f} of the optimum")
    assert len(rig.notes("end")) == 9 and took < 1.35 * optimum
