"""The `local` launcher: each Hydra job in a process of its own, with devices of its own, replaced when it dies.

Fresh interpreters, not forks: `CUDA_VISIBLE_DEVICES` and the number of threads must be set before torch is imported.
A job's description goes through the process's standard input, never through a file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from .devices import Slot
from .errors import SweepInterrupted
from .processes import EarlyProcesses, Process, hand, spawn

log = logging.getLogger(__name__)

_POLL_S = 0.05
_BROKEN = 70  # exit code of a process that could not even say how its job ended (EX_SOFTWARE)
_STARTS_THAT_FAIL = 3  # in a row, before a job is given up
_TAIL_LINES = 15


@dataclass
class _Seat:
    """A job, and the process that runs it now."""

    number: int
    slot: Slot
    payload: bytes
    log: Path
    result: Path
    ready: Path
    early: EarlyProcesses | None = None
    process: Process | None = None
    failed_starts: int = 0
    done: JobReturn | None = None
    deaths: list[str] = field(default_factory=list)

    def start(self) -> None:
        self.ready.unlink(missing_ok=True)
        self.process = self.early.take(self.slot) if self.early is not None else None
        if self.process is None:
            with _output(self.log) as output:
                self.process = spawn(self.slot, output)
        hand(self.process, self.payload)

    def tail(self) -> str:
        """The end of what it wrote."""
        try:
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:])
        except OSError:
            return ""


def _output(log: Path) -> IO[bytes]:
    try:
        return log.open("ab")
    except OSError:  # a full disk: the job itself says so
        return Path(os.devnull).open("ab")


def launch(
    jobs: Sequence[tuple[DictConfig, Path]],
    slots: Sequence[Slot],
    context: HydraContext,
    task: TaskFunction,
    grace_s: float,
    early: EarlyProcesses | None = None,
) -> list[JobReturn]:
    """Run each job, at most one a slot at a time, and wait for all.

    Args:
        jobs: config and log file of each.
        slots: what processes get.
        context, task: Hydra's.
        grace_s: on Ctrl-C, how long jobs may take to stop by themselves.
        early: processes to take first; those that are not needed are ended.

    Raises:
        SweepInterrupted: Ctrl-C, SIGTERM or SIGHUP; no process is left.
    """
    with tempfile.TemporaryDirectory(prefix="jobs-") as scratch, _signals() as received:
        waiting = [
            _Seat(
                number,
                slots[number % len(slots)],
                cloudpickle.dumps((Path(scratch) / f"{number}", logfile, config, context, task, Singleton.get_state())),
                logfile,
                Path(scratch) / f"{number}.result",
                Path(scratch) / f"{number}.ready",
                early,
            )
            for number, (config, logfile) in enumerate(jobs)
        ]
        seats = list(waiting)
        active: list[_Seat] = []
        try:
            while waiting or active:
                if received:
                    _stop(active, grace_s, received)
                    raise SweepInterrupted("stopped; what ran is waiting with its checkpoints.")
                while waiting and len(active) < len(slots):
                    active.append(waiting.pop(0))
                    active[-1].start()
                if early is not None:
                    early.close()
                active = [seat for seat in active if not _over(seat)]
                time.sleep(_POLL_S)
        except SweepInterrupted:
            raise
        except BaseException:
            _stop(active, 0, received)
            raise
        finally:
            if early is not None:
                early.close()
    return [seat.done or JobReturn() for seat in seats]


def _over(seat: _Seat) -> bool:
    """Whether a job has ended; one whose process died is started again."""
    assert seat.process is not None
    code = seat.process.poll()
    if code is None:
        return False
    if seat.result.is_file():
        seat.done = _load(seat.result)
        return True
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    seat.failed_starts = 0 if seat.ready.is_file() else seat.failed_starts + 1
    if seat.failed_starts >= _STARTS_THAT_FAIL or code == _BROKEN:
        seat.done = JobReturn()
        seat.done.status = JobStatus.FAILED
        seat.done.return_value = RuntimeError(f"worker {seat.number} ended with {how}:\n{seat.tail()}")
        return True
    log.warning("Worker %s ended (%s): another one takes its place.", seat.number, how)
    seat.start()
    return False


def _load(path: Path) -> JobReturn:
    done: JobReturn = cloudpickle.loads(path.read_bytes())  # written by the process we started, in a folder of ours
    return done


def _stop(seats: Sequence[_Seat], grace_s: float, received: list[int]) -> None:
    """Ask each process to stop; kill what has not after `grace_s`, or at a second Ctrl-C."""
    before = len(received)
    running = [s.process for s in seats if s.process is not None and s.process.poll() is None]
    for process in running:
        process.terminate()
    until = time.monotonic() + grace_s
    while any(p.poll() is None for p in running) and time.monotonic() < until and len(received) == before:
        time.sleep(_POLL_S)
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and whatever it started
        process.wait()


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGHUP (a closed terminal) like Ctrl-C: raised anywhere, they could cost us a process."""
    received: list[int] = []
    try:
        wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {n: signal.signal(n, lambda number, frame: received.append(number)) for n in wanted}
    except ValueError:  # not in the main thread
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def job_configs(
    context: HydraContext, master: DictConfig, job_overrides: Sequence[Sequence[str]], first: int
) -> list[tuple[DictConfig, Path]]:
    """Config and log file of each job, composed as Hydra's own launchers do."""
    setup_globals()
    configure_log(master.hydra.hydra_logging, master.hydra.verbose)
    jobs = []
    for number, overrides in enumerate(job_overrides, start=first):
        config = context.config_loader.load_sweep_config(master, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        folder = Path(str(config.hydra.sweep.dir)) / str(config.hydra.sweep.subdir)
        folder.mkdir(parents=True, exist_ok=True)
        jobs.append((config, folder / "output.log"))
    return jobs


def composed_hydra(context: HydraContext, master: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The `hydra` node of a job with these overrides."""
    node: DictConfig = context.config_loader.load_sweep_config(master, list(overrides)).hydra
    return node


def run_here(payload: bytes) -> int:
    """What a started process does: run the job it was handed."""
    stem, logfile, config, context, task, state = cloudpickle.loads(payload)
    write_to(logfile)
    setup_globals()
    Singleton.set_state(state)
    stem.with_suffix(".ready").touch()
    try:
        done = run_job_here(task, config, context)
        temporary = stem.with_suffix(".tmp")
        temporary.write_bytes(cloudpickle.dumps(done))
        temporary.replace(stem.with_suffix(".result"))
    except Exception:
        traceback.print_exc()
        return _BROKEN
    return 0


def write_to(log: Path) -> None:
    """Let all this process says go to `log`: one that was started early had none yet."""
    with _output(log) as output:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)


def run_job_here(task: TaskFunction, config: DictConfig, context: HydraContext) -> JobReturn:
    """Hydra's own way to run a job; what the task raised wins over what a full disk does to Hydra's logs after it."""
    raised: list[Exception] = []

    def remembered(config: DictConfig) -> Any:
        try:
            return task(config)
        except Exception as error:
            raised.append(error)
            raise

    try:
        return run_job(remembered, config, "hydra.sweep.dir", "hydra.sweep.subdir", context)
    except Exception as error:
        done = JobReturn()
        done.status, done.return_value = JobStatus.FAILED, raised[-1] if raised else error
        return done
