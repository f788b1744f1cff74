"""Who runs a trial, and whether they still live."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class WorkerId:
    """One worker: a process that claims trials.

    Attributes:
        name: unique, for people too.
        place: where its process number means something.
        pid, born: which process there.
        devices: what its trials see.
    """

    name: str
    place: str
    pid: int
    born: str
    devices: str = ""

    @classmethod
    def here(cls, devices: str = "") -> WorkerId:
        """This process."""
        pid = os.getpid()
        name = f"{job_here()}{node_here()}:{pid}:{uuid.uuid4().hex[:4]}"
        return cls(name, _place(), pid, _born(pid), devices)

    @staticmethod
    def job_of(name: str) -> str | None:
        """The Slurm job of the worker with this name; None where it runs in none."""
        job, found, _ = name.partition("@")
        return job if found else None

    def lease(
        self, *, lease_s: float, attempt: int, deaths: int, fraction: float | None, began: float
    ) -> dict[str, Any]:
        """What is written at a trial this worker runs."""
        return {
            "worker": self.name,
            "place": self.place,
            "pid": self.pid,
            "born": self.born,
            "devices": self.devices,
            "until": time.time() + lease_s,
            "attempt": attempt,
            "deaths": deaths,
            "fraction": fraction,
            "began": began,
        }


@dataclass(frozen=True)
class Host:
    """The process a worker runs in.

    Attributes:
        here: it is the one the sweep was called in.
        launcher: the process that starts another one where this one ends, if there is such.
    """

    here: bool = False
    launcher: int | None = None

    @property
    def replaced(self) -> bool:
        """Whether another process would take this one's place: its launcher may have died."""
        return self.launcher is not None and os.getppid() == self.launcher


def holds(lease: Mapping[str, Any] | None, at_least_until: float = 0.0) -> bool:
    """Whether a lease's worker is to be taken for alive.

    On its own machine a process that is gone is gone; elsewhere the lease must run out.

    Args:
        lease: as :meth:`WorkerId.lease` wrote it.
        at_least_until: a time before which no lease runs out, for it could not be renewed.
    """
    if not lease:
        return False
    if lease["place"] == _place() and not _alive(int(lease["pid"]), str(lease["born"])):
        return False
    return max(float(lease["until"]), at_least_until) > time.time()


def _alive(pid: int, born: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _born(pid) == born


def _born(pid: int) -> str:
    """When a process started, so that another one with its number is not taken for it; 'zombie' once it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "zombie" if fields[0] in "ZX" else fields[19]


def node_here() -> str:
    """This machine, as the cluster calls it."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def job_here() -> str:
    """`12_3@` in that job of Slurm (task 3 of the array 12), `12@` in one that is no array; else nothing."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID')}" if array else os.environ.get("SLURM_JOB_ID")
    return f"{job}@" if job else ""


@cache
def _place() -> str:
    """One running kernel and one table of processes; a host name where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()
