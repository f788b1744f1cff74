"""What is wrong with a sweep's settings for Slurm, found before anything is submitted."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .errors import near
from .shell import kept_from_jobs
from .slurm_client import Offer, SlurmAway, available, default_partition, offers

MISSING = (
    "hydra/launcher=slurm needs sbatch, srun, squeue and scancel, which are not here: type this on a login node of the "
    "cluster, or use hydra/launcher=local (this machine); sweep.dry_run=true prints the job script anywhere."
)

_EARLY_S = 60  # how much earlier than it was told to Slurm may send a signal, says the manual of sbatch


def problems(
    params: Mapping[str, Any], folder: Path, storage: str, nodes_per_trial: int, reads: Sequence[str], *, dry: bool
) -> list[str]:
    """What is wrong.

    Args:
        params: of the launcher.
        folder: of all sweeps.
        storage: its URL.
        nodes_per_trial: of the sweep.
        reads: variables of the environment that the launcher's shell commands read in the job.
        dry: only the script is wanted: Slurm may be missing.
    """
    found = _of_numbers(params, nodes_per_trial)
    missing, setting = kept_from_jobs(reads, params["additional_parameters"])
    if missing:
        found.append(
            f"hydra.launcher.setup reads {', '.join(missing)} from the environment, which {setting} keeps from the "
            f"job: add it there ({','.join(['ALL', *missing])}), or leave that out: Slurm then exports everything."
        )
    if find_spec("submitit") is None:
        found.append("hydra/launcher=slurm needs submitit: pip install 'tinyrm[launchers]'.")
    if storage.startswith("sqlite"):
        found.append(
            "sweep.storage=sqlite:///... is for workers on one machine; its locks do not hold on the file systems that "
            "nodes share: use journal:///FILE (the default here) or postgresql://USER@HOST/DATABASE."
        )
    found += unwritable(folder)
    if not available():
        return found if dry else [*found, MISSING]
    try:
        return found + _of_cluster(params, offers(), default_partition())
    except SlurmAway as error:
        return found if dry else [*found, f"Slurm does not answer ({error}): try again when `sinfo` works."]


def unwritable(folder: Path) -> list[str]:
    """Whether files can be made in a folder, or in the nearest one above it that is there."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            return []
    except OSError as error:
        return [
            f"sweep.dir={folder} cannot be written ({place}: {os.strerror(error.errno or 0)}): give a folder that you "
            "may write to and that every node sees."
        ]


def _of_numbers(params: Mapping[str, Any], nodes_per_trial: int) -> list[str]:
    found = []
    least = {"timeout_min": 1, "signal_delay_s": 0, "max_num_timeout": 0, "min_workers": 0, "array_parallelism": 1}
    for key, low in (least | {"nodes": 1, "tasks_per_node": 1, "gpus_per_node": 0, "max_workers": 1}).items():
        if params.get(key) is not None and params[key] < low:
            found.append(f"hydra.launcher.{key}={params[key]} must be at least {low}.")
    for key, wanted in (("nodes", nodes_per_trial), ("tasks_per_node", 1)):
        if params[key] != wanted:
            found.append(
                f"hydra.launcher.{key}={params[key]}: what a worker takes follows from its trials: give them several "
                "GPUs with sweep.devices_per_trial, several machines with sweep.nodes_per_trial, and more workers with "
                "sweep.workers."
            )
    most = params.get("max_workers")
    if most is not None and params["min_workers"] > most:
        found.append(f"hydra.launcher.min_workers={params['min_workers']} is more than max_workers={most}.")
    delay_s, limit_min = params["signal_delay_s"], params["timeout_min"]
    if delay_s and delay_s + _EARLY_S >= 60 * limit_min:
        found.append(
            f"hydra.launcher.signal_delay_s={delay_s} leaves nothing of timeout_min={limit_min}: Slurm may warn "
            f"{_EARLY_S} s earlier, so that jobs would be warned as they start, again and again; use "
            f"hydra.launcher.timeout_min={(delay_s + _EARLY_S) // 60 + 1} or more."
        )
    return found


def _of_cluster(params: Mapping[str, Any], known: Sequence[Offer], default: str | None) -> list[str]:
    asked = params.get("partition") or default
    names = sorted({offer.partition for offer in known})
    if asked is None:
        return [f"hydra.launcher.partition must be given: this cluster has no default one ({', '.join(names)})."]
    wanted = str(asked).split(",")
    unknown = [name for name in wanted if name not in names]
    if unknown:
        return [f"hydra.launcher.partition={asked}: there is no {unknown[0]!r}.{near(unknown[0], names)}"]
    there = [offer for offer in known if offer.partition in wanted]
    found = _of_nodes(params, there, str(asked))
    constraint = params.get("constraint")
    if constraint and constraint.replace("_", "").isalnum():  # else an expression, which Slurm judges
        features = sorted({feature for offer in there for feature in offer.features})
        if constraint not in features:
            found.append(
                f"hydra.launcher.constraint={constraint}: no node of {asked} has it.{near(constraint, features)}"
            )
    return found


def _of_nodes(params: Mapping[str, Any], there: Sequence[Offer], partition: str) -> list[str]:
    found = []
    tasks = params["devices_per_trial"] if params["nodes"] > 1 else 1
    cpus = (params.get("cpus_per_task") or 1) * tasks
    asked = {
        "gpus_per_node": (params.get("gpus_per_node") or 0, max((o.gpus for o in there), default=0), "GPUs"),
        "cpus_per_task": (
            cpus,
            max((o.cpus for o in there), default=0),
            f"CPUs{' (x devices_per_trial)' * (tasks > 1)}",
        ),
        "mem_gb": (params.get("mem_gb") or 0, max((o.memory_mb for o in there), default=0) // 1024, "GB of memory"),
    }
    if params.get("gres"):
        del asked["gpus_per_node"]
    for key, (wanted, most, what) in asked.items():
        if wanted > most:
            right = f"{key}={most}" if most else f"{key}=0, or another partition"
            found.append(
                f"hydra.launcher.{key} asks for {wanted} {what}; a node of partition {partition} has at most {most}: "
                f"use hydra.launcher.{right}."
            )
    machines = sum(o.nodes for o in there)
    if params["nodes"] > machines:
        found.append(
            f"sweep.nodes_per_trial={params['nodes']}: partition {partition} has {machines} nodes: use at most so many."
        )
    limit = max((o.limit_min for o in there), default=math.inf)
    if params["timeout_min"] > limit:
        found.append(
            f"hydra.launcher.timeout_min={params['timeout_min']}: partition {partition} allows {limit:g} minutes; "
            "trials may take longer all the same, for workers are requeued."
        )
    return found
