"""The `ray` launcher: workers as tasks of Ray, here or on a cluster, each with the share of GPUs it asks for.

Ray starts a task anew whose process or node has died; which trials it then goes on with is told by the study.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from .errors import SweepError
from .leases import Host
from .local import run_job_here, write_to
from .slurm_checks import unwritable

log = logging.getLogger(__name__)


def problems(params: Mapping[str, Any], folder: Path, storage: str, *, dry: bool) -> list[str]:
    """What is wrong with the settings.

    Args:
        params: of the launcher.
        folder: of all sweeps.
        storage: its URL.
        dry: nothing is to run.
    """
    found = [
        f"hydra.launcher.{key}={params[key]} must be {'at least 1' if key == 'max_workers' else 'at least 0'}."
        for key, least in (("num_gpus", 0), ("num_cpus", 0), ("max_workers", 1), ("max_restarts", 0))
        if params[key] is not None and params[key] < least
    ]
    if params["address"] and storage.startswith("sqlite"):
        found.append(
            "sweep.storage=sqlite:///... is for workers on one machine: use journal:///FILE (the default here) or "
            "postgresql://USER@HOST/DATABASE."
        )
    found += unwritable(folder)
    if find_spec("ray") is None:
        return [*found, "hydra/launcher=ray needs Ray: pip install 'tinyrm[ray]'."]
    if found or dry:
        return found
    needs, there = _needs(params), _resources(params)
    for name, what in (("GPU", "num_gpus"), ("CPU", "num_cpus")):
        if needs[name] > there.get(name, 0):
            found.append(
                f"hydra.launcher.{what}={needs[name]:g}: the Ray cluster has {there.get(name, 0):g} {name}s in all."
            )
    return found


def room(params: Mapping[str, Any]) -> int:
    """How many workers: as many as were asked for, else as many as fit into the cluster at once."""
    if params["max_workers"] is not None:
        return int(params["max_workers"])
    needs, there = _needs(params), _resources(params)
    wanted = needs | _plain(params["resources"])
    return max(1, int(min(there.get(name, 0) / need for name, need in wanted.items() if need)))


def launch(
    params: Mapping[str, Any], jobs: Sequence[tuple[DictConfig, Path]], context: HydraContext, task: TaskFunction
) -> list[JobReturn]:
    """Run each job as a Ray task, and wait for all.

    Args:
        jobs: config and log file of each.
        context, task: Hydra's.
    """
    import ray

    _connect(params)
    needs = _needs(params)
    remote = ray.remote(_work).options(
        num_gpus=needs["GPU"],
        num_cpus=needs["CPU"],
        resources=_plain(params["resources"]) or None,
        max_retries=params["max_restarts"],
        runtime_env=_plain(params["runtime_env"]) or None,
    )
    state = Singleton.get_state()
    try:
        tasks = [remote.remote(cloudpickle.dumps((logfile, config, context, task, state))) for config, logfile in jobs]
        return [_result(ray, ref) for ref in tasks]
    finally:
        if params["address"] is None:
            ray.shutdown()


def _result(ray: Any, ref: Any) -> JobReturn:
    try:
        done: JobReturn = cloudpickle.loads(ray.get(ref))  # written by the task that we started
    except ray.exceptions.RayError as error:
        done = JobReturn()
        done.status, done.return_value = JobStatus.FAILED, RuntimeError(f"a Ray worker is lost: {error}")
    return done


def _work(payload: bytes) -> bytes:
    """What a Ray task does: run the Hydra job it was handed."""
    logfile, config, context, task, state = cloudpickle.loads(payload)
    write_to(logfile)
    if hasattr(task, "host"):
        task.host = Host(launcher=os.getppid())
    setup_globals()
    Singleton.set_state(state)
    return bytes(cloudpickle.dumps(run_job_here(task, config, context)))


def _connect(params: Mapping[str, Any]) -> None:
    """Join the cluster, or start one on this machine.

    Raises:
        SweepError: nothing answers at the address.
    """
    import ray

    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    own = {} if params["address"] else {"include_dashboard": False}
    given = {"log_to_driver": False, "logging_level": "warning", **own, **_plain(params["init"])}
    try:
        with contextlib.redirect_stdout(None):
            ray.init(address=params["address"] or "local", **given)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise SweepError(
            f"hydra.launcher.address={params['address']}: {' '.join(str(error).split())[:300]} "
            "(null starts a Ray on this machine; `ray start --head` one for others to join, which may ask them for "
            "RAY_AUTH_MODE=token and its token)"
        ) from error


def _resources(params: Mapping[str, Any]) -> dict[str, float]:
    import ray

    _connect(params)
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


def _needs(params: Mapping[str, Any]) -> dict[str, float]:
    """What each worker takes."""
    gpus = params["num_gpus"]
    if gpus is None:
        share = params["devices_per_trial"] / params["trials_per_device"]
        gpus = share if _resources(params).get("GPU") else 0
    return {"GPU": float(gpus), "CPU": float(params["num_cpus"])}


def _plain(node: Any) -> dict[str, Any]:
    plain = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    return dict(plain)  # type: ignore[arg-type]
