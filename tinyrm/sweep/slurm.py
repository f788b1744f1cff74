"""The `slurm` launcher: workers as one job array, submitted by submitit; then it waits, or leaves them alone.

Nothing depends on the process that submits: workers find trials, take over those of dead workers, requeue themselves
and write the summary without it. While it lives it submits workers anew where too few are left.
"""

from __future__ import annotations

import contextlib
import logging
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from .errors import SweepError, SweepInterrupted
from .local import job_configs
from .slurm_client import Job, JobState, SlurmAway, cancel_waiting, remember, remembered, states
from .slurm_job import SlurmWorker
from .watch import RESTART

log = logging.getLogger(__name__)

_TICK_S = 0.5
_TAIL_LINES = 20
_OURS = {"devices_per_trial", "max_workers", "min_workers", "max_num_timeout", "python", "poll_s"}
_NAMES = {"name": "job_name", "timeout_min": "time", "mem_gb": "mem", "tasks_per_node": "ntasks_per_node"}
_FAILED = ("FAILED", "OUT_OF_MEMORY", "BOOT_FAIL")


def script(params: Mapping[str, Any], folder: Path, count: int) -> str:
    """What sbatch is given for `count` workers."""
    from submitit.slurm.slurm import _make_sbatch_string

    command = f"{_python(params)} -u -m submitit.core._submit {folder.absolute()}"
    array = count if count > 1 else None
    return str(_make_sbatch_string(command=command, folder=folder.absolute(), map_count=array, **_asked(params)))


def submit(
    params: Mapping[str, Any],
    folder: Path,
    context: HydraContext,
    master: DictConfig,
    task: TaskFunction,
    job_overrides: Sequence[Sequence[str]],
    first: int,
) -> list[Job]:
    """Submit a worker for each set of overrides.

    Raises:
        SweepError: Slurm refuses.
    """
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor = SlurmExecutor(folder=folder, python=_python(params))
    executor.update_parameters(**_asked(params))
    configs = [config for config, _ in job_configs(context, master, job_overrides, first)]
    state = Singleton.get_state()
    try:
        jobs = executor.submit_array([SlurmWorker(config, context, task, state) for config in configs])
    except (FailedJobError, FailedSubmissionError) as error:
        raise SweepError(f"Slurm refuses the workers: {_complaint(str(error))}") from error
    numbers = [int(Path(str(config.hydra.sweep.subdir)).name) for config in configs]
    made = [Job(str(job.job_id), str(job.paths.stdout), number) for job, number in zip(jobs, numbers, strict=True)]
    remember(folder, made)
    return made


def wait(folder: Path, least: int, poll_s: float, look: Callable[[], tuple[int, bool]], since: Sequence[Job]) -> None:
    """Wait until the sweep is done, or too few workers are left for it.

    Args:
        least: with fewer workers queued or running (and trials for them), return, so that others are submitted.
        look: how many trials have not ended, and whether the sweep has been told to stop.
        since: the jobs just submitted.

    Raises:
        SweepError: all of them have failed, before the sweep was done.
        SweepInterrupted: somebody has cancelled all of them.
    """
    asked, away, told = 0.0, False, False
    while True:
        time.sleep(_TICK_S)
        unfinished, stopped = look()
        if not unfinished or (stopped and not told):
            told = True
            with contextlib.suppress(SlurmAway):
                cancel_waiting(remembered(folder))
        if not unfinished:
            return
        if time.monotonic() - asked < poll_s:
            continue
        asked = time.monotonic()
        try:
            known = states(remembered(folder))
        except SlurmAway as error:
            if not away:
                log.warning("Slurm does not answer, its jobs go on: %s", error)
            away = True
            continue
        away = False
        left = sum(state.alive for state in known.values())
        if not left:
            _check_ends(since, known, look()[0])
        if not left or (left < min(least, unfinished) and not stopped):
            return


def alive(folder: Path) -> list[Job]:
    """The sweep's workers that run or wait in the queue.

    Raises:
        SlurmAway: Slurm does not answer.
    """
    jobs = remembered(folder)
    known = states(jobs) if jobs else {}
    return [job for job in jobs if job.id in known and known[job.id].alive]


def _check_ends(jobs: Sequence[Job], known: Mapping[str, JobState], left: int) -> None:
    ends = [known[job.id].state for job in jobs if job.id in known]
    if not left or not ends:
        return
    if all(end in _FAILED for end in ends):
        shown = jobs[0]
        raise SweepError(
            f"all {len(jobs)} workers failed; the first is job {shown.id}, {shown.log}:\n{_tail(shown.log)}"
        )
    if all(end.startswith("CANCELLED") for end in ends):
        raise SweepInterrupted(f"all {len(jobs)} jobs of the sweep were cancelled; {left} trials are left.")


def _asked(params: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of submitit, from those of the launcher."""
    plain: dict[str, Any] = {
        k: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for k, v in params.items()
    }
    asked: dict[str, Any] = {_NAMES.get(k, k): v for k, v in plain.items() if k not in _OURS and v is not None}
    if plain["nodes"] > 1:
        asked["ntasks_per_node"] = plain["devices_per_trial"]
    if not asked.get("gpus_per_node") or "gres" in asked:
        asked.pop("gpus_per_node", None)
    if "mem" in asked:
        asked["mem"] = f"{asked['mem']}GB"
    asked["additional_parameters"] = {"requeue": True, **asked.get("additional_parameters", {})}
    # One process of several that ends ends all: they wait for each other for ever else.
    asked["srun_args"] = ["--kill-on-bad-exit=1", *asked.get("srun_args", [])]
    asked["teardown"] = [*asked.get("teardown", []), *_requeueing(int(plain["max_num_timeout"]))]
    return asked


def _requeueing(most: int) -> list[str]:
    """Shell lines after the worker: have the job requeued where it asks for it, else end as it has ended."""
    return [
        "code=$?",
        f'if [ "$code" -eq {RESTART} ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {most} ]; then',
        '  scontrol requeue "${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}"',
        "fi",
        'exit "$code"',
    ]


def _python(params: Mapping[str, Any]) -> str | None:
    return str(params["python"]) if params.get("python") else shlex.quote(sys.executable)


def _complaint(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if "error:" in line]
    return " ".join(lines) or said.strip()


def _tail(log_file: str) -> str:
    with contextlib.suppress(OSError):
        return "\n".join(Path(log_file).read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:])
    return "(no log: is its folder on a file system that every node sees?)"
