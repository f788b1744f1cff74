"""One trial as a Hydra job: its folder, `.hydra/`, log, environment and callbacks, as `hydra.main` would make them.

Hydra's own `run_job` does the same; most of its 60 ms go into writing YAML, which :func:`save_yaml` does in two.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, env_override
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from .composing import save_yaml


def run_as_job(
    task: TaskFunction, config: DictConfig, bare: DictConfig, folder: Path, number: int, context: HydraContext
) -> Any:
    """Call `task` with the config of a trial, as a Hydra job whose output folder is `folder`.

    Args:
        config: with its `hydra` node; taken over.
        bare: without it, for the task.
        number: the job's, `hydra.job.num`.

    Returns:
        what the task returns. What it raises passes through.
    """
    _point_at(config, folder, number)
    with _hydra_config(config), _inside(folder if config.hydra.job.chdir else None):
        folder.mkdir(parents=True, exist_ok=True)
        if config.hydra.output_subdir is not None:
            _save(config, bare, folder / str(config.hydra.output_subdir))
        with _log_of(config), env_override(config.hydra.job.env_set):
            return _called_back(task, config, bare, context)


def _point_at(config: DictConfig, folder: Path, number: int) -> None:
    """Make the folder Hydra's output folder, whatever pattern `hydra.sweep.subdir` holds."""
    hydra = config.hydra
    with read_write(hydra), open_dict(hydra):
        hydra.job.id, hydra.job.num = str(number), number
        hydra.sweep.dir, hydra.sweep.subdir = str(folder.parent), str(number)
        hydra.runtime.output_dir = str(folder)


@contextlib.contextmanager
def _hydra_config(config: DictConfig) -> Iterator[None]:
    current: Any = HydraConfig.instance()
    before = current.cfg
    OmegaConf.set_readonly(config.hydra, True)
    current.cfg = config  # as `set_config` does, without the copy that takes longer than all the rest
    try:
        yield
    finally:
        current.cfg = before


@contextlib.contextmanager
def _inside(folder: Path | None) -> Iterator[None]:
    before = Path.cwd()
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _save(config: DictConfig, bare: DictConfig, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_yaml(folder / "config.yaml", bare)
    save_yaml(folder / "hydra.yaml", {"hydra": _without_help(config)})
    save_yaml(folder / "overrides.yaml", config.hydra.overrides.task)


def _without_help(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config.hydra, resolve=False, enum_to_str=True)
    assert isinstance(plain, dict)
    return {str(k): v for k, v in plain.items() if k not in ("help", "hydra_help")}


@contextlib.contextmanager
def _log_of(config: DictConfig) -> Iterator[None]:
    """Log into the trial's folder for the block, then again where the worker logs."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers = []  # dictConfig would close the worker's own
    try:
        configure_log(config.hydra.job_logging, config.hydra.verbose)
        yield
    finally:
        for handler in root.handlers:
            if handler not in before:
                handler.close()
        root.handlers, root.level = before, level


def _called_back(task: TaskFunction, config: DictConfig, bare: DictConfig, context: HydraContext) -> Any:
    context.callbacks.on_job_start(config=config, task_function=task)
    ret = JobReturn()
    ret.cfg, ret.hydra_cfg, ret.overrides = bare, config, list(config.hydra.overrides.task)
    try:
        ret.return_value, ret.status = task(bare), JobStatus.COMPLETED
        return ret.return_value
    except BaseException as error:
        ret.return_value, ret.status = error, JobStatus.FAILED
        raise
    finally:
        context.callbacks.on_job_end(config=config, job_return=ret)
