"""What runs in a Slurm job: one worker, whose process ends in the way that lets Slurm do the right thing.

A warning (`--signal`: the time limit is near, or the job is preempted) becomes a stop: the running trial writes a
checkpoint and is given back. Then the process ends with RESTART, and the job's script has the job requeued.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobStatus, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from .errors import SweepInterrupted
from .leases import Host, node_here
from .local import run_job_here
from .watch import RESTART

log = logging.getLogger(__name__)

WARNING = signal.SIGUSR2  # as submitit has Slurm send it; NCCL is said to catch SIGUSR1
CANCELLED = 128 + signal.SIGTERM
TRIALS_FAILED = 3


@dataclass
class SlurmWorker:
    """The function that submitit calls in the job.

    Attributes:
        config, context, task, state: a Hydra job, as its launchers hand it on.
    """

    config: DictConfig
    context: HydraContext
    task: TaskFunction
    state: Any

    def __call__(self) -> None:
        """Work until nothing is left.

        Raises:
            SystemExit: RESTART after a warning; CANCELLED after a SIGTERM; TRIALS_FAILED where trials of this worker
                failed for good.
            Exception: what ended the worker, so that its job is failed in Slurm too.
        """
        # Its parent, Slurm's, outlives it; what starts the next one is the script.
        if hasattr(self.task, "host"):
            self.task.host = Host(launcher=os.getppid())
        setup_globals()
        Singleton.set_state(self.state)
        with _warnings() as came:
            try:
                done = run_job_here(self.task, self.config, self.context)
                result = done.return_value if done.status == JobStatus.COMPLETED else done._return_value
            except KeyboardInterrupt as error:  # before the worker had its own handlers
                result = SweepInterrupted(str(error), whole=False)
            warned = came()
        if isinstance(result, SweepInterrupted) and result.whole:
            log.info("%s", result)  # as ordered
        elif isinstance(result, SweepInterrupted):
            raise SystemExit(RESTART if warned else CANCELLED)
        elif isinstance(result, BaseException):
            raise result
        elif getattr(self.task, "failed_here", 0):
            raise SystemExit(TRIALS_FAILED)

    def checkpoint(self) -> Any:
        """For a warning that comes before :meth:`__call__`: submitit requeues the job as it was."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@contextlib.contextmanager
def _warnings() -> Iterator[Callable[[], bool]]:
    """Let a warning do what SIGTERM does to whatever runs by then; until a worker has its handlers, both raise.

    Yields:
        whether a warning came, also where a task had put its own handler over ours.
    """

    def warned(number: int, frame: object) -> None:
        log.warning("Warned by Slurm on %s: the worker stops, to go on later.", node_here())
        signal.raise_signal(signal.SIGTERM)

    def ended(number: int, frame: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    seen, into = os.pipe()
    os.set_blocking(seen, False)
    os.set_blocking(into, False)
    numbers = b""

    def came() -> bool:
        nonlocal numbers
        with contextlib.suppress(BlockingIOError):
            numbers += os.read(seen, 4096)
        return WARNING in numbers

    before = {WARNING: signal.signal(WARNING, warned), signal.SIGTERM: signal.signal(signal.SIGTERM, ended)}
    woken = signal.set_wakeup_fd(into, warn_on_full_buffer=False)  # Python writes the number of every signal there
    try:
        yield came
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(seen)
        os.close(into)
