"""`tinyrm doctor`: what this machine can do, and what is missing for what."""

from __future__ import annotations

import json
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from packaging.requirements import Requirement
from rich.console import Console
from rich.table import Table

from tinyrm.config import compose
from tinyrm.model import can_multiply_int8
from tinyrm.training import can_multiply_bf16

_PACKAGES = ("torch", "transformers", "peft", "lightning", "hydra-core", "optuna")
_PURPOSE = {
    "hub": "data sets from the Hugging Face hub",
    "report": "tinyrm report --wandb",
    "tensorboard": "tracking=tensorboard",
    "postgres": "sweep.storage=postgresql://...",
    "launchers": "hydra/launcher=joblib and submitit",
    "onnx": "evaluation.backend=onnx",
    "serve": "tinyrm serve",
    "trl": "reward functions for TRL's trainers",
}
_LITTLE_DISK = 2 * 2**30


def examine(folder: Path) -> dict[str, Any]:
    """What was found, as plain values.

    Args:
        folder: where runs would go.
    """
    cache = Path(compose().data.cache_dir).expanduser()
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return {
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}},
        "cpu": {
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "threads": torch.get_num_threads(),
            "bf16": can_multiply_bf16(),
            "int8": can_multiply_int8(),
        },
        "gpus": [{"name": gpu.name, "memory_gib": round(gpu.total_memory / 2**30, 1)} for gpu in gpus],
        "disk_gib": {str(place): round(_free(place) / 2**30, 1) for place in (folder, cache)},
        "offline": os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"),
        "extras": {name: _missing(name) for name in _PURPOSE},
        "advice": _advice(folder, cache),
    }


def show(found: dict[str, Any], *, as_json: bool) -> None:
    """Print it."""
    if as_json:
        print(json.dumps(found, indent=2))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    cpu = found["cpu"]
    table.add_row("versions", ", ".join(f"{name} {version}" for name, version in found["versions"].items()))
    fast = [name for name in ("bf16", "int8") if cpu[name]]
    table.add_row("CPU", f"{cpu['cores']} cores, {cpu['threads']} threads, fast in {', '.join(['float32', *fast])}")
    gpus = [f"{gpu['name']} ({gpu['memory_gib']} GiB)" for gpu in found["gpus"]]
    table.add_row("GPU", ", ".join(gpus) or "none that torch can use: models of 22M parameters train on the CPU")
    table.add_row("disk", ", ".join(f"{gib} GiB free in {place}" for place, gib in found["disk_gib"].items()))
    table.add_row("hub", "offline (HF_HUB_OFFLINE)" if found["offline"] else "may be asked; minilm and nano need none")
    for name, missing in found["extras"].items():
        state = "ready" if not missing else f"lacks {', '.join(missing)}: pip install 'tinyrm\\[{name}]'"
        table.add_row(f"extra {name}", f"{state} ({_PURPOSE[name]})")
    for line in found["advice"]:
        table.add_row("advice", line)
    Console(soft_wrap=True, highlight=False).print(table)


def _missing(extra: str) -> list[str]:
    """Packages of an extra that are not installed, or not in a version it takes."""
    lacking = []
    for line in metadata.requires("tinyrm") or []:
        wanted = Requirement(line)
        if wanted.marker is None or not wanted.marker.evaluate({"extra": extra}) or wanted.name == "tinyrm":
            continue
        try:
            fits = wanted.specifier.contains(metadata.version(wanted.name), prereleases=True)
        except metadata.PackageNotFoundError:
            fits = False
        if not fits:
            lacking.append(str(wanted.name))
    return lacking


def _free(place: Path) -> int:
    """Bytes free where `place` is or would be made."""
    there = next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())
    return shutil.disk_usage(there).free


def _advice(folder: Path, cache: Path) -> list[str]:
    told = []
    for place, setting in ((folder, "hydra.run.dir"), (cache, "data.cache_dir or TINYRM_CACHE")):
        if _free(place) < _LITTLE_DISK:
            told.append(f"less than 2 GiB free for {place}: set {setting} to another disk")
    if not torch.cuda.is_available() and shutil.which("nvidia-smi"):
        told.append("there is a GPU that this build of torch cannot use: install torch for its CUDA version")
    return told
