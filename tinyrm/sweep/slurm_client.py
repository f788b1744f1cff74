"""What is asked of Slurm: the jobs of a sweep and their states, and what partitions offer. Plain commands, no sacct."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RECORDS = "jobs.jsonl"  # in the folder of job scripts and logs
# Of a job that will yet run, or runs; all other states are ends.
ALIVE = ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "STOPPED", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED")
CLOSING = ("COMPLETING", "RESIZING", "STAGE_OUT", "SIGNALING")  # not known yet what comes of it
_ASK_S = 30.0  # how long a command may take
_AT_ONCE = 500  # job ids of one question


class SlurmAway(Exception):  # noqa: N818 (a state, not an error)
    """The controller does not answer; jobs go on without it."""


@dataclass(frozen=True)
class Job:
    """One worker's job, as it was submitted.

    Attributes:
        id: `12_3`, task 3 of the array 12, or `12`.
        log: what it writes.
        worker: number of the worker's folder.
    """

    id: str
    log: str
    worker: int


@dataclass(frozen=True)
class JobState:
    """What Slurm says of a job.

    Attributes:
        state: Slurm's word for it.
        node: where it runs or ran; of several nodes their list.
        reason: why it waits or ended.
    """

    state: str
    node: str = ""
    reason: str = ""

    @property
    def alive(self) -> bool:
        """Whether it runs or will yet run."""
        return self.state in ALIVE or self.state in CLOSING


@dataclass(frozen=True)
class Offer:
    """What the nodes of one kind in a partition have."""

    partition: str
    nodes: int
    gpus: int
    cpus: int
    memory_mb: int
    limit_min: float  # infinity where there is none
    features: tuple[str, ...]


def scripts(sweep: Path) -> Path:
    """Where a sweep's job scripts, their logs and the list of jobs lie."""
    return sweep / "workers" / "slurm"


def available() -> bool:
    """Whether this machine can submit jobs."""
    return all(shutil.which(name) for name in ("sbatch", "squeue", "scancel", "srun"))


def remember(folder: Path, jobs: Sequence[Job]) -> None:
    """Write down what was submitted, for whoever asks from another shell."""
    lines = "".join(json.dumps(asdict(job)) + "\n" for job in jobs).encode()
    handle = os.open(folder / RECORDS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(handle, lines)
    finally:
        os.close(handle)


def remembered(folder: Path) -> list[Job]:
    """Every job that was ever submitted for the sweep with this folder of job scripts."""
    try:
        lines = (folder / RECORDS).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [Job(**json.loads(line)) for line in lines]


def states(jobs: Sequence[Job]) -> dict[str, JobState]:
    """What Slurm knows of these jobs, by id; what has ended long ago it has forgotten.

    Raises:
        SlurmAway: it does not answer.
    """
    arrays = sorted({job.id.partition("_")[0] for job in jobs}, key=int)
    wanted, found = {job.id for job in jobs}, {}
    for start in range(0, len(arrays), _AT_ONCE):
        some = ",".join(arrays[start : start + _AT_ONCE])
        said = _ask(["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T|%N|%r", "--jobs", some])
        for line in said.splitlines():
            number, state, node, reason = (part.strip() for part in line.split("|", 3))
            if number in wanted:
                found[number] = JobState(state, node, "" if reason == "None" else reason)
    return found


def cancel_waiting(jobs: Sequence[Job]) -> int:
    """Take out of the queue whatever has not begun (or waits to begin again); give how many.

    Raises:
        SlurmAway: it does not answer.
    """
    waiting = [number for number, state in states(jobs).items() if state.state == "PENDING"]
    for start in range(0, len(waiting), _AT_ONCE):
        _ask(["scancel", "--state=PENDING", *waiting[start : start + _AT_ONCE]])
    return len(waiting)


def offers() -> list[Offer]:
    """What each partition's nodes have.

    Raises:
        SlurmAway: it does not answer.
    """
    lines = _ask(["sinfo", "--noheader", "--exact", "--format=%R|%D|%G|%c|%m|%l|%f"]).splitlines()
    return [_offer(*(part.strip() for part in line.split("|", 6))) for line in lines if line.count("|") >= 6]


def default_partition() -> str | None:
    """The one that jobs go to which name none."""
    starred = [line.strip() for line in _ask(["sinfo", "--noheader", "--format=%P"]).splitlines()]
    return next((name.rstrip("*") for name in starred if name.endswith("*")), None)


def _offer(partition: str, nodes: str, gres: str, cpus: str, memory: str, limit: str, features: str) -> Offer:
    known = tuple(f for f in features.split(",") if f and f != "(null)")
    return Offer(partition, int(nodes), gpus_of(gres), _least(cpus), _least(memory), minutes_of(limit), known)


def gpus_of(gres: str) -> int:
    """How many GPUs `gpu:a100:4(S:0-1),gpu:2` means; a count without a number is one."""
    total = 0
    for part in gres.split(","):
        fields = part.partition("(")[0].split(":")
        if fields[0] == "gpu":
            total += int(fields[-1]) if fields[-1].isdigit() else 1
    return total


def minutes_of(limit: str) -> float:
    """Minutes of `infinite`, `30:00`, `2:00:00` or `7-00:00:00`."""
    if not limit[:1].isdigit():
        return float("inf")
    days, _, rest = limit.rpartition("-")
    parts = [int(p) for p in rest.split(":")]
    hours, minutes, seconds = [0] * (3 - len(parts)) + parts
    return 1440 * int(days or 0) + 60 * hours + minutes + seconds / 60


def _least(number: str) -> int:
    """`8+` means nodes of several sizes, 8 the least."""
    digits = number.rstrip("+")
    return int(digits) if digits.isdigit() else 0


def _ask(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_ASK_S, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmAway(f"{command[0]}: {error}") from error
    if done.returncode and "Invalid job id" not in done.stderr:
        raise SlurmAway(f"{command[0]}: {(done.stderr.strip().splitlines() or [f'exit code {done.returncode}'])[-1]}")
    return done.stdout
