"""Which devices this machine offers, and which trial gets which: without importing torch."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from .errors import SweepError

VISIBLE = "CUDA_VISIBLE_DEVICES"
_MOST_CPU_WORKERS = 8
_GB_PER_CPU_WORKER = 3


@dataclass(frozen=True)
class Slot:
    """What one worker's trials get.

    Attributes:
        devices: as `CUDA_VISIBLE_DEVICES` names them; empty on a CPU.
        threads: CPU threads.
    """

    devices: tuple[str, ...]
    threads: int

    def environment(self) -> dict[str, str]:
        """What a worker's process starts with."""
        env = {} if not self.devices else {VISIBLE: ",".join(self.devices)}
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            if name not in os.environ:
                env[name] = str(self.threads)
        # Threads that spin while they wait take the cores from the other workers.
        return {**env, "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")}


def slots(workers: int | None, devices_per_trial: int, trials_per_device: int) -> list[Slot]:
    """Share this machine out.

    Args:
        workers: how many; None: one for each device (or share of one), without devices one for each core up to 8, as
            far as the memory goes.
        devices_per_trial: how many devices a trial sees.
        trials_per_device: how many trials share a device.

    Raises:
        SweepError: there are too few devices, or both numbers are above 1.
    """
    for key, value in (("devices_per_trial", devices_per_trial), ("trials_per_device", trials_per_device)):
        if value < 1:
            raise SweepError(f"sweep.{key}={value} must be at least 1.")
    if workers is not None and workers < 1:
        raise SweepError(f"sweep.workers={workers} must be at least 1 (null: one a device).")
    if devices_per_trial > 1 and trials_per_device > 1:
        raise SweepError("sweep.devices_per_trial and sweep.trials_per_device cannot both be above 1.")
    devices, cores = visible_devices(), usable_cores()
    if not devices:
        count = workers or max(1, min(cores, _MOST_CPU_WORKERS, int(_memory_gb() // _GB_PER_CPU_WORKER)))
        return [Slot((), max(1, cores // count))] * count
    groups = [tuple(devices[i : i + devices_per_trial]) for i in range(0, len(devices), devices_per_trial)]
    groups = [g for g in groups if len(g) == devices_per_trial]
    if not groups:
        raise SweepError(
            f"sweep.devices_per_trial={devices_per_trial}, but {len(devices)} are visible ({','.join(devices)})."
        )
    shares = [group for _ in range(trials_per_device) for group in groups]
    if workers is not None and workers > len(shares):
        raise SweepError(
            f"sweep.workers={workers}, but {len(devices)} visible devices make room for {len(shares)}: use fewer, or "
            f"sweep.trials_per_device={-(-workers // len(groups))} to share them."
        )
    count = workers or len(shares)
    return [Slot(group, max(1, cores // count)) for group in shares[:count]]


def visible_devices() -> list[str]:
    """The GPUs this process may use, by the names `CUDA_VISIBLE_DEVICES` takes."""
    given = os.environ.get(VISIBLE)
    if given is not None:
        names = [d.strip() for d in given.split(",")]
        return [d for d in names if d and d not in ("-1", "NoDevFiles")]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"],
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return listed.stdout.split() if listed.returncode == 0 else []


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_gb() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (OSError, ValueError):
        return 16.0
