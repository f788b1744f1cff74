"""What happens around the training loop: checkpoints, stopping, progress."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import save_file

from tinyrm.errors import Interrupted, NonFiniteLossError
from tinyrm.files import atomic_path, storage_errors
from tinyrm.masking import masked
from tinyrm.training.history import BEST, BEST_DEV, LAST, History
from tinyrm.training.trained import TrainedModule

QUIET_LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning")


class Checkpoints(Callback):
    """Writes `last.ckpt` (all that resuming needs), `best.safetensors` (trained weights of the best dev accuracy), what
    goes with them (`best_dev.safetensors`: the log-odds of each dev pair) and the history.

    `last.ckpt` is written only between optimizer steps, where no gradient is half accumulated. At a batch that an
    evaluation follows it is written after the evaluation, so that a resumed run never skips one.

    Args:
        folder: where they go.
        every_steps: optimizer steps between two writes of `last.ckpt`; 0 writes only at evaluations.
        batches_per_epoch: to say epochs.
        patience: evaluations without a better accuracy after which training stops; 0 never stops it.
    """

    def __init__(self, folder: Path, *, every_steps: int, batches_per_epoch: int, patience: int) -> None:
        self.folder = folder
        self.every_steps = every_steps
        self.batches_per_epoch = batches_per_epoch
        self.patience = patience
        self.history = History()
        self._step_began = 0.0

    def state_dict(self) -> dict[str, Any]:
        return {"history": dataclasses.asdict(self.history)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = History(**state_dict["history"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._out_of_patience():  # a run that had stopped early, resumed for what comes after training
            trainer.should_stop = True
        else:
            self.history.end = self.history.detail = None

    def on_train_batch_start(self, *args: Any) -> None:
        self._step_began = time.monotonic()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        held = _ours(pl_module).count(args[1])
        self.history.seconds += time.monotonic() - self._step_began
        self.history.pairs += held["pairs"] * trainer.world_size
        self.history.tokens += held["tokens"] * trainer.world_size
        due = self.every_steps and trainer.global_step % self.every_steps == 0
        if due and between_steps(trainer) and not evaluation_follows(trainer):
            self.save_last(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        _check_finite(trainer)
        metrics, module = trainer.callback_metrics, _ours(pl_module)
        before = max(map(module.judge, self.history.evaluations), default=-math.inf)
        entry = {name: float(metrics[f"dev/{name}"]) for name in module.reported if f"dev/{name}" in metrics}
        entry |= {"step": trainer.global_step, "epoch": batches_ready(trainer) / self.batches_per_epoch}
        self.history.evaluations.append(entry)
        if module.judge(entry) > before:
            self.history.best_step = trainer.global_step
            beside = module.kept_with_best()
            if trainer.is_global_zero:
                # A process that ends between the two files goes on from a `last.ckpt` before them: both are made again.
                if beside:
                    _save(beside, self.folder / BEST_DEV)
                _save(module.net.trained_state(), self.folder / BEST)
        elif self._out_of_patience():
            trainer.should_stop = True
            self.history.end = "stopped_early"
            self.history.detail = f"no better dev accuracy in {self.patience} evaluations"
        self.save_last(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.history.end = self.history.end or "complete"
        self._write_history(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        ends = {NonFiniteLossError: "nonfinite", Interrupted: "interrupted", KeyboardInterrupt: "interrupted"}
        self.history.end = ends.get(type(exception), "failed")
        self.history.detail = masked(str(exception))
        with contextlib.suppress(Exception):  # what failed first is what must be told
            self._write_history(trainer)

    def save_last(self, trainer: L.Trainer) -> None:
        """Write `last.ckpt` and the history, each whole or not at all. Every process takes part.

        Raises:
            NonFiniteLossError: the weights are NaN or infinite; what was written before stays.
            StorageError: no room or no permission.
        """
        _check_finite(trainer)
        temporary = self.folder / f".{LAST}.tmp"
        with storage_errors(self.folder / LAST):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                trainer.save_checkpoint(temporary)
                if trainer.is_global_zero:
                    temporary.replace(self.folder / LAST)
            finally:
                if trainer.is_global_zero:
                    temporary.unlink(missing_ok=True)
        self._write_history(trainer)

    def _out_of_patience(self) -> bool:
        return bool(self.patience) and self.history.evaluations_since_best >= self.patience

    def _write_history(self, trainer: L.Trainer) -> None:
        if trainer.is_global_zero:
            self.history.write(self.folder)


class HearsOrders(Callback):
    """A callback that hears that training is to stop, where no signal tells it so: in a thread."""

    @property
    def asked_to_stop(self) -> bool:
        """Whether training is to end after the step in progress, as by a signal."""
        return False


class StopOnSignal(Callback):
    """SIGINT, SIGTERM and SIGUSR2 end training after the step in progress, with a checkpoint to go on from.

    A second SIGINT stops at once. Where several processes train together, the parent passes the signal on and they
    agree on the step.

    Args:
        checkpoints: saves the state.
        others: which may hear of a stop beside signals.
    """

    def __init__(self, checkpoints: Checkpoints, others: Sequence[HearsOrders] = ()) -> None:
        self.checkpoints, self._others = checkpoints, others
        self._signal: str | None = None
        self._asked_before = False

    @property
    def received(self) -> str | None:
        """What asks training to stop, if anything does."""
        return self._signal or ("the sweep" if any(other.asked_to_stop for other in self._others) else None)

    @contextlib.contextmanager
    def handling(self, processes: int = 1) -> Iterator[None]:
        """Install the handlers for the block; in a thread other than the main one (where Python cannot) do nothing.

        Args:
            processes: how many train; above 1 they are children of this one.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handler = self._receive if processes == 1 else self._pass_on
        before = {number: signal.signal(number, handler) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, previous in before.items():
                signal.signal(number, previous)

    def asked(self, within_s: float) -> bool:
        """Whether a signal has come to this process, or comes within that time."""
        until = time.monotonic() + within_s
        while not self._asked_before and time.monotonic() < until:
            time.sleep(0.05)
        return self._asked_before

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        # Again, in the process that trains: Lightning has put its own handler over ours, which ends the process.
        for number in _STOP_SIGNALS:
            signal.signal(number, self._receive)
        if trainer.world_size > 1 and multiprocessing.parent_process() is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the parent decides

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        if between_steps(trainer) and not evaluation_follows(trainer) and self._asked(trainer):
            self.checkpoints.save_last(trainer)
            self._stop(trainer)

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        # The batch before this one ended in an evaluation, after which Checkpoints wrote the state.
        done = batches_ready(trainer) - 1
        if done and done % int(trainer.val_check_batch or 1) == 0 and self._asked(trainer):
            self._stop(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._asked(trainer):  # during the last evaluation: what follows is left to the resumed run
            self._stop(trainer)

    def _receive(self, number: int, frame: Any) -> None:
        self._second_time(number)
        self._signal = signal.Signals(number).name

    def _pass_on(self, number: int, frame: Any) -> None:
        self._second_time(number)
        for child in multiprocessing.active_children():
            if child.pid:
                os.kill(child.pid, signal.SIGTERM)

    def _second_time(self, number: int) -> None:
        if number == signal.SIGINT and self._asked_before:
            # Not KeyboardInterrupt: Lightning would end the process itself, with its own exit code.
            raise Interrupted(f"stopped at once; what was saved last is in {self.checkpoints.folder}.")
        self._asked_before = True
        sys.stderr.write("\nStopping after this step, with a checkpoint (Ctrl-C again: at once).\n")

    def _asked(self, trainer: L.Trainer) -> bool:
        return bool(trainer.strategy.reduce_boolean_decision(self.received is not None, all=False))

    def _stop(self, trainer: L.Trainer) -> None:
        raise Interrupted(
            f"stopped by {self.received or 'a signal'} after optimizer step {trainer.global_step}, "
            f"with the state in {self.checkpoints.folder / LAST}."
        )


_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR2] if hasattr(signal, "SIGUSR2") else []))


class ProcessSettings(Callback):
    """What the parent has set up, in a process that was spawned for training and starts from the defaults.

    Args:
        threads: CPU threads of the process; 0 leaves torch's choice.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if multiprocessing.parent_process() is None or trainer.world_size == 1:
            return
        if self.threads:
            torch.set_num_threads(self.threads)
        for name in QUIET_LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="lightning")


class ProgressBar(Callback):
    """One line: batches, loss, what dev says, pairs (or tokens) per second, time left."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.task: Any = None
        self.seen = 0
        self.began = 0.0
        self.dev = "-"

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self.progress = Progress(
            TextColumn("[bold]training"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn(
                f"loss {{task.fields[loss]}}  dev {{task.fields[dev]}}  {{task.fields[rate]}} {_ours(pl_module).unit}/s"
            ),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        total, done = int(trainer.num_training_batches), batches_ready(trainer)
        self.task = self.progress.add_task("", total=total, completed=done, loss="-", dev="-", rate="-")
        self.began = time.monotonic()
        self.progress.start()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        if self.progress is None:
            return
        module = _ours(pl_module)
        self.seen += module.count(args[1])[module.unit] * trainer.world_size
        rate = self.seen / max(1e-9, time.monotonic() - self.began)
        loss = float(trainer.callback_metrics.get("train/loss", float("nan")))
        self.progress.update(
            self.task, completed=batches_ready(trainer), loss=f"{loss:.3f}", dev=self.dev, rate=f"{rate:,.1f}"
        )

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.dev = f"{float(trainer.callback_metrics[f'dev/{_ours(pl_module).shown}']):.3f}"
        if self.progress is not None:
            self.progress.update(self.task, dev=self.dev)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "fit")


def history_of(trainer: L.Trainer) -> History:
    """The history that the trainer's :class:`Checkpoints` keeps."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next(c.history for c in callbacks if isinstance(c, Checkpoints))


def _ours(module: L.LightningModule) -> TrainedModule:
    assert isinstance(module, TrainedModule)
    return module


def _save(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    with atomic_path(path) as temporary:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, temporary)


def _check_finite(trainer: L.Trainer) -> None:
    """Refuse to write weights that have diverged since the last loss was looked at."""
    trained = _ours(trainer.lightning_module).net.trained_state()
    if not all(bool(torch.isfinite(value).all()) for value in trained.values()):
        raise NonFiniteLossError(
            f"the weights became NaN or infinite by optimizer step {trainer.global_step}. Try a lower optimizer.lr or "
            "trainer.precision=32; what was saved before is kept."
        )


def batches_ready(trainer: L.Trainer) -> int:
    """Forward passes this process has begun since the beginning of the run, those before a resume included."""
    return int(trainer.fit_loop.epoch_loop.batch_progress.current.ready)


def between_steps(trainer: L.Trainer) -> bool:
    """Whether the batch that just ended completed an optimizer step."""
    ready = batches_ready(trainer)
    return ready % trainer.accumulate_grad_batches == 0 or ready >= trainer.num_training_batches


def evaluation_follows(trainer: L.Trainer) -> bool:
    """Whether dev is evaluated right after the batch that just ended."""
    return batches_ready(trainer) % int(trainer.val_check_batch or 1) == 0
