"""Training one model: builds the Lightning trainer, resumes where a checkpoint is, returns how it went."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file
from torch import nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from tinyrm.config import LoopConfig
from tinyrm.errors import ConfigError, Interrupted, NonFiniteLossError, StorageError
from tinyrm.model import PrefixStore, RewardNet, SharedPrefix
from tinyrm.training.callbacks import (
    QUIET_LOGGERS,
    Checkpoints,
    HearsOrders,
    ProcessSettings,
    ProgressBar,
    StopOnSignal,
)
from tinyrm.training.datamodule import PairDataModule, StreamModule
from tinyrm.training.frozen import FrozenStore
from tinyrm.training.history import BEST, BEST_DEV, LAST, History
from tinyrm.training.module import TinyRM
from tinyrm.training.trained import TrainedModule

log = logging.getLogger(__name__)

_LAST_TO_HEAR_S = 1.0  # of a signal sent to all processes of a run


@dataclass(frozen=True)
class FitResult:
    """How training went.

    Attributes:
        history: the evaluations of dev, how it ended, and what it cost.
        resumed: whether it went on from a checkpoint.
        precision: what `trainer.precision=auto` came to, in Lightning's words.
        dev_log_odds: (orders, dev pairs) of the weights that were kept, see :meth:`TinyRM.dev_log_odds`; None where
            the module keeps none, or the run began with a version that kept none.
    """

    history: History
    resumed: bool
    precision: str
    dev_log_odds: NDArray[np.float64] | None = None


def fit(
    module: TrainedModule,
    data: StreamModule,
    config: LoopConfig,
    *,
    folder: Path,
    patience: int = 0,
    loggers: Sequence[Any] = (),
    callbacks: Sequence[Callback] = (),
    frozen: FrozenStore | None = None,
    shared: SharedPrefix | None = None,
) -> FitResult:
    """Train `module` and leave the weights of its best evaluation in it.

    Goes on from `folder/last.ckpt` where there is one: the result is then the same as if it had never stopped.

    Args:
        module, data, config: what, on what, and how.
        folder: of checkpoints and history.
        patience: evaluations without a better one before it stops early; 0 never stops it.
        loggers, callbacks: more of them, for Lightning.
        frozen: store the output of the frozen layers where that pays.
        shared: what it shares in memory with nets that are trained beside it.

    Raises:
        Interrupted: a signal came; once training has begun, a checkpoint was written.
        NonFiniteLossError: the loss became NaN or infinite.
        StorageError: a checkpoint could not be written.
    """
    checkpoints = Checkpoints(
        folder,
        every_steps=config.checkpoint_steps,
        batches_per_epoch=data.batches_per_epoch,
        patience=patience,
    )
    stop = StopOnSignal(checkpoints, [c for c in callbacks if isinstance(c, HearsOrders)])
    nodes = config.processes // config.devices
    own: list[Callback] = [ProcessSettings(config.threads), checkpoints, stop, *callbacks]
    if config.progress == "on" or (config.progress == "auto" and sys.stderr.isatty()):
        own.append(ProgressBar())
    precision = choose_precision(config)
    last = folder / LAST
    resumed = last.is_file()
    if resumed:
        log.info("Resuming from %s.", last)
    with _calm(), stop.handling(processes=1 if nodes > 1 else config.devices):
        try:
            trainer = _trainer(config, module.optimizer_config.clip_norm, precision, data, own, list(loggers))
        except (MisconfigurationException, ValueError) as error:
            settings = f"trainer.accelerator={config.accelerator} trainer.devices={config.devices}"
            raise ConfigError(f"{settings} cannot be had on this machine: {error}") from error
        if shared is not None and isinstance(module, TinyRM):
            shared.place(module.net, trainer.strategy.root_device)
            module.passes = shared.of(module.net, precision)
        if frozen is not None and isinstance(data, PairDataModule) and config.processes == 1:
            data.prefix = _stored(module.net, data, trainer, frozen, stop)
        elif frozen is not None and frozen.speed.prefix == "on":
            log.warning("speed.prefix=on: what trains in %s processes stores nothing.", config.processes)
        try:
            trainer.fit(module, datamodule=data, ckpt_path=str(last) if resumed else None, weights_only=True)
        except ProcessRaisedException as error:
            raise _own_error(error) from error
        except (ProcessExitedException, RuntimeError) as error:
            # A signal that all of them got ended a process that had no handler yet, or one on another machine.
            if config.processes > 1 and stop.asked(within_s=_LAST_TO_HEAR_S):
                raise Interrupted(
                    f"stopped by a signal, which has ended one of {config.processes} processes."
                ) from error
            raise
    if trainer.global_rank:
        return FitResult(checkpoints.history, resumed, precision)
    _load_best(module.net, folder / BEST)
    return FitResult(History.read(folder), resumed, precision, _dev_log_odds(folder / BEST_DEV))


def choose_precision(config: LoopConfig) -> str:
    """Lightning's name of the precision; `auto` is bf16 where the hardware multiplies it natively, else float32."""
    names = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
    if config.precision != "auto":
        return names[config.precision]
    on_gpu = config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    native = torch.cuda.is_bf16_supported() if on_gpu else can_multiply_bf16()
    return names["bf16" if native else "32"]


def can_multiply_bf16() -> bool:
    """Whether this CPU multiplies bf16 natively; one that does not emulates it, slower than float32."""
    probes = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(bool(probe()) for probe in probes if probe is not None)


def _trainer(
    config: LoopConfig,
    clip_norm: float,
    precision: str,
    data: StreamModule,
    callbacks: list[Callback],
    loggers: list[Any],
) -> L.Trainer:
    nodes = config.processes // config.devices
    # Spawned processes, not re-run scripts: an experiment is a function that any process may call many times.
    strategy = "ddp_spawn" if config.devices > 1 else "auto"
    # A worker's job in Slurm is one process, whatever it trains with on one machine: Lightning would take it for one of
    # several. Only on several machines it is one process a device. Whether it is requeued is the sweep's to say.
    return L.Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=nodes,
        strategy="ddp" if nodes > 1 else strategy,
        plugins=[SLURMEnvironment(auto_requeue=False) if nodes > 1 else LightningEnvironment()],
        precision=precision,  # type: ignore[arg-type]
        max_epochs=1,  # the stream holds all epochs, so that resuming is always resuming within one
        val_check_interval=data.evaluate_every,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=clip_norm or None,
        callbacks=callbacks,
        logger=loggers or False,
        log_every_n_steps=1 if data.optimizer_steps < 200 else 10,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _stored(
    net: RewardNet, data: PairDataModule, trainer: L.Trainer, frozen: FrozenStore, stop: StopOnSignal
) -> PrefixStore | None:
    """The store for this run.

    Raises:
        Interrupted: a signal came while it was filled.
    """
    store = frozen.fill(
        net.to(trainer.strategy.root_device),
        data.frozen_reads(),
        precision=str(trainer.precision),
        context=trainer.precision_plugin.forward_context,
        stopped=lambda: stop.received is not None,
    )
    if stop.received is not None:
        raise Interrupted(f"stopped by {stop.received} before the first step.")
    return store


def _load_best(net: nn.Module, path: Path) -> None:
    trained = load_file(path)
    parameters = dict(net.named_parameters())
    with torch.no_grad():
        for name, value in trained.items():
            parameters[name].copy_(value)


def _dev_log_odds(path: Path) -> NDArray[np.float64] | None:
    if not path.is_file():
        return None
    kept: NDArray[np.float64] | None = load_arrays(path).get("dev_log_odds")
    return None if kept is None else kept.astype(np.float64)


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """Keep Lightning's advice and device lines off the screen; its errors still come through."""
    loggers = [logging.getLogger(name) for name in QUIET_LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            warnings.filterwarnings("ignore", message=".*(isinstance\\(treespec|eval mode at the start).*")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _own_error(error: BaseException) -> BaseException:
    """What a spawned process raised, where it is one of ours: its traceback comes back as text."""
    for kind in (NonFiniteLossError, Interrupted, StorageError):
        _, found, message = str(error).rpartition(f"tinyrm.errors.{kind.__name__}: ")
        if found:
            return kind(message.strip())
    return error
