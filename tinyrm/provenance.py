"""What ran: code revision, versions, hardware. Never environment variables: they may hold secrets."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

_PACKAGES = (
    "tinyrm",
    "torch",
    "lightning",
    "transformers",
    "peft",
    "hydra-core",
    "tokenizers",
    "safetensors",
    "numpy",
    "onnxruntime",
)


def code_revision(root: Path | None = None) -> dict[str, Any]:
    """`{"commit", "dirty"}` of the checkout that `root` (by default this package) lies in; nulls outside of one."""
    folder = root or Path(__file__).resolve().parents[1]

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *args], check=False, capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # A package installed into some other project's tree must not claim that project's commit.
    commit = git("rev-parse", "HEAD") if (folder / ".git").exists() else None
    status = git("status", "--porcelain") if commit else None
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def code_hashes(package: Path, parts: Sequence[str]) -> dict[str, str]:
    """A hash of the code of each module, by its full name; comments and docstrings do not count.

    Args:
        package: folder of the package.
        parts: which files and folders of it.
    """
    files = [f for p in parts for f in ([package / p] if p.endswith(".py") else sorted((package / p).rglob("*.py")))]
    return {".".join(f.relative_to(package.parent).with_suffix("").parts): _code_hash(f) for f in sorted(files)}


def _code_hash(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:  # type: ignore[arg-type]
            del node.body[0]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:12]


def versions() -> dict[str, str]:
    """Version of Python and of each package that has a say in the numbers."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def hardware() -> dict[str, Any]:
    """Processor, cores, memory in GiB, GPUs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cpu_count": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "memory_gib": round(memory / 2**30, 1),
        "gpus": gpus,
    }


def reset_peak_memory() -> None:
    """Start the GPU's count anew; that of the process counts from its beginning and cannot be reset."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory_mib() -> dict[str, int]:
    """Most memory held so far: of this process since it began, and of the GPU since :func:`reset_peak_memory`."""
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    peak = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20}
    if torch.cuda.is_available():
        peak["gpu"] = torch.cuda.max_memory_allocated() // 2**20
    return peak


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
