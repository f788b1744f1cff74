"""The tracking of one run, from before its data are tokenised until its record is written."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyrm.config import TrackingConfig
from tinyrm.errors import ConfigError
from tinyrm.masking import masked
from tinyrm.tracking import service
from tinyrm.tracking.identity import identify
from tinyrm.tracking.numbers import summary
from tinyrm.tracking.wandb_run import WandbRun

log = logging.getLogger(__name__)

# How W&B shows a run that ended so; 'killed' is one that goes on from its checkpoint.
_EXIT_CODES = {"complete": 0, "pruned": 0, "stopped": 0, "interrupted": 255}


@dataclass(frozen=True)
class Session:
    """What a run logs to while it runs.

    Attributes:
        loggers: for Lightning, in the order of `tracking.loggers`.
        wandb: the run of W&B; None where it is not tracked there.
    """

    loggers: list[Any]
    wandb: WandbRun | None


@contextlib.contextmanager
def tracked(config: TrackingConfig, folder: Path, record: dict[str, Any], job_type: str) -> Iterator[Session]:
    """Track the block, and tell W&B at its end how `record` says that it went.

    Every attempt of a run gets its own `curves/<n>`: resuming never overwrites what was logged before.

    Args:
        config: where to.
        folder: the run's.
        record: of run.json; read again at the end, when the block has put its numbers and its end there.
        job_type: train | pretrain.

    Raises:
        ConfigError: the package of a logger is not installed.
    """
    shown = masked(record["config"])
    loggers = [_MAKERS[name](folder) for name in config.loggers if name in _MAKERS]
    for logger in loggers:
        logger.log_hyperparams(shown)
    run = _wandb(config, folder, record, job_type) if "wandb" in config.loggers else None
    try:
        yield Session([*loggers, *([run.logger] if run else [])], run)
    finally:
        if run is not None:
            _close(run, config, folder, record)


def say_where(config: TrackingConfig) -> None:
    """Say, once a process and before anything runs, where W&B will be written, if that is not its server."""
    if "wandb" in config.loggers:
        service.mode()


def _wandb(config: TrackingConfig, folder: Path, record: dict[str, Any], job_type: str) -> WandbRun | None:
    mode = service.mode()
    if mode == "disabled":
        return None
    identity = identify(config, folder, record, job_type)
    beside = {key: record[key] for key in ("config_hash", "code", "versions", "hardware")}
    return WandbRun.start(
        config, folder, identity, masked({**record["config"], **identity.as_config(), **beside}), mode
    )


def _close(run: WandbRun, config: TrackingConfig, folder: Path, record: dict[str, Any]) -> None:
    state = record["state"]
    run.summarise(summary(record, folder))
    if config.model and state == "complete":
        run.keep_model(folder / "model", {"config_hash": record["config_hash"], "dev": record.get("dev")})
    run.finish(_EXIT_CODES.get(state, 1))


def _csv(folder: Path) -> Any:
    from lightning.pytorch.loggers import CSVLogger

    return CSVLogger(folder, name="curves", version=_attempt(folder), flush_logs_every_n_steps=50)


def _tensorboard(folder: Path) -> Any:
    from lightning.pytorch.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(folder, name="curves", version=_attempt(folder))
    except ModuleNotFoundError as error:
        raise ConfigError('tracking=tensorboard needs its package: pip install "tinyrm[tensorboard]"') from error


_MAKERS = {"csv": _csv, "tensorboard": _tensorboard}


def _attempt(folder: Path) -> str:
    curves = folder / "curves"
    return str(len(list(curves.iterdir())) if curves.is_dir() else 0)
