"""What the parts share: running commands, facts of the machine, targets."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
APPS = ROOT / "tests" / "bench" / "sweep_apps"
PACKAGES = (
    "hydra-core",
    "hydra-joblib-launcher",
    "omegaconf",
    "optuna",
    "sqlalchemy",
    "psycopg",
    "joblib",
    "torch",
    "transformers",
)


@dataclass(frozen=True)
class Target:
    """What the issue asks of a figure."""

    what: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def line(self) -> str:
        """For people."""
        sign = "at least" if self.at_least else "at most"
        return f"{'met   ' if self.met else 'MISSED'} {self.what}: {self.value:.4g} ({sign} {self.limit:g})"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


def environment(**more: str) -> dict[str, str]:
    """That of every command: CPU only, one thread a process, no setting of the caller's own sweeps."""
    kept = {k: v for k, v in os.environ.items() if k not in ("SWEEP_STORAGE", "VIRTUAL_ENV", "PYTHONPATH")}
    quiet = {"PYTHONWARNINGS": "ignore", "HYDRA_FULL_ERROR": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**kept, **quiet, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **more}


def timed(command: Sequence[str | Path], cwd: Path, env: Mapping[str, str] | None = None) -> float:
    """Run a command; its seconds.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    cwd.mkdir(parents=True, exist_ok=True)
    with (cwd / "output.txt").open("w+", encoding="utf-8") as output:
        began = time.perf_counter()
        done = subprocess.run(
            [str(c) for c in command],
            cwd=cwd,
            env=dict(env or environment()),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            output.seek(0)
            raise RuntimeError(f"exit code {done.returncode}: {' '.join(map(str, command))}\n{output.read()[-3000:]}")
    return seconds


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load_average": os.getloadavg(),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
        "revision": _git("rev-parse", "HEAD"),
        "uncommitted": bool(_git("status", "--porcelain")),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=False, capture_output=True, text=True).stdout.strip()
