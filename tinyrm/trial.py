"""A TinyRM experiment as a trial of a sweep: what the engine in `tinyrm/sweep/` is told of it, and what it is given."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from tinyrm import provenance, reuse
from tinyrm.config import TinyRMConfig, claim_of, claim_problems, config_meaning, explain, to_config
from tinyrm.errors import ConfigError
from tinyrm.evaluation.metrics import wilson
from tinyrm.experiment import ExperimentResult, check_only
from tinyrm.masking import masked, written_secrets
from tinyrm.model import SharedPrefix
from tinyrm.sweep import App, Progress, Result, current_progress
from tinyrm.sweep.study import Study
from tinyrm.tracking import say_where
from tinyrm.training import history_of
from tinyrm.training.callbacks import QUIET_LOGGERS, HearsOrders

log = logging.getLogger(__name__)

# Metrics that each evaluation of dev gives: their name there, and the sign of a pair's log-likelihood to go with it.
_REPORTED = {"dev_accuracy": ("accuracy", 1.0), "dev_loss": ("loss", -1.0)}
# What decides a result beside the config. The layers to the right (sweep, report, cli) do not.
_DECIDING = (
    *("config", "data", "prompting", "model", "training", "evaluation"),
    *("experiment.py", "pretraining.py", "reuse.py", "warmup.py"),
)
# Of these, what compares results that are there: a better report is no reason to train anew.
_COMPARING = {
    *("tinyrm.config.claim", "tinyrm.model.costs"),
    *(f"tinyrm.evaluation.{n}" for n in ("arms", "contrasts", "crossed", "effects", "paired", "power", "references")),
    *(f"tinyrm.evaluation.{n}" for n in ("bag", "calibration", "probes", "verdicts")),
}


class TinyRMApp(App):
    """What the sweep engine may ask of this application."""

    metrics = {"dev_accuracy": "maximize"}  # noqa: RUF012 (as its base: not to be changed)
    preload = ("tinyrm.experiment",)
    # What decides the output of the frozen layers, which is stored: a deeper `freeze` goes on from a shallower one.
    affinity = ("model", "warmup", "data", "prompt", "objective", "trainer.precision", "freeze")
    packable = ("adapter.rank", "adapter.alpha", "optimizer.lr", "optimizer.weight_decay", "seed")

    def __init__(self) -> None:
        self._last: tuple[DictConfig, TinyRMConfig] | None = None

    def check(self, config: DictConfig) -> None:
        """Raise a ConfigError, DataError or ModelError where the experiment could not run."""
        typed = self._typed(config)
        given, wanted = config.sweep.devices_per_trial, typed.trainer.devices
        if wanted != given and typed.trainer.accelerator != "cpu" and torch.cuda.device_count():
            raise ConfigError(
                f"trainer.devices={wanted}, but each trial sees {given}: give sweep.devices_per_trial={wanted}, which "
                "sets both."
            )
        if typed.trainer.nodes != config.sweep.nodes_per_trial:
            raise ConfigError(
                f"trainer.nodes={typed.trainer.nodes}, but a trial has {config.sweep.nodes_per_trial} machines: give "
                f"sweep.nodes_per_trial={typed.trainer.nodes}, which sets both."
            )
        if config.sweep.pack > 1 and typed.trainer.processes > 1:
            raise ConfigError(
                f"sweep.pack={config.sweep.pack}: trials that run together train in one process each, and "
                f"trainer.devices={typed.trainer.devices} makes several. Leave one of them at 1."
            )
        check_only(typed)
        say_where(typed.tracking)  # workers say it where nobody looks

    def begin(self, config: DictConfig, points: Sequence[Mapping[str, Any]]) -> Sequence[str]:
        """Check the study's claim against its arms, and say how small an effect it can see."""
        claim = claim_of(config)
        if not claim.contrasts:
            return ()
        if not points:
            raise ConfigError("a claim is decided by arms that are known beforehand: sweep.sampler=grid.")
        from tinyrm.report.claims import expected_lines, sections_of, table_for

        typed = self._typed(config)
        pairs = reuse.pairs(typed.data, typed.evaluation)
        units = sections_of(table_for(typed.evaluation.benchmark, pairs.reported))
        problems = claim_problems(claim, points, units)
        if problems:
            raise ConfigError([*problems, "claim.contrasts=[] runs these trials without judging a claim."])
        return expected_lines(claim, points, units)

    def explain(self, error: Exception) -> Exception:
        """Hydra's complaint with the near choices."""
        return explain(error)

    def meaning(self, config: DictConfig) -> Mapping[str, Any]:
        """Every key that decides a result; not where it is logged, or how many threads compute it."""
        return config_meaning(self._typed(config))

    def state(self) -> Callable[[], None]:
        """torch's random numbers and threads, and how loud Lightning is."""
        cpu, threads = torch.get_rng_state(), torch.get_num_threads()
        devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
        levels = {name: logging.getLogger(name).level for name in QUIET_LOGGERS}

        def put_back() -> None:
            torch.set_rng_state(cpu)
            torch.set_num_threads(threads)
            if devices:
                torch.cuda.set_rng_state_all(devices)
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)

        return put_back

    def _typed(self, config: DictConfig) -> TinyRMConfig:
        """The same for the same object: a point is checked, and then asked what it means."""
        if self._last is None or self._last[0] is not config:
            self._last = (config, to_config(config))
        return self._last[1]

    def identity(self) -> Mapping[str, str]:
        """A hash of the code of each module that decides a result; comments and docstrings do not count."""
        return _code()

    def secrets(self, config: Mapping[str, Any]) -> list[str]:
        """Where a password or a key stands, by its looks."""
        return written_secrets(config)

    def hidden(self, text: str) -> str:
        """The same with its secrets masked."""
        return str(masked(text))

    def conclusions(self, study: Study) -> Sequence[str]:
        """The verdicts on the study's claim."""
        from tinyrm.report.claims import judged

        found = judged(study)
        return [] if found is None else found.lines()

    def finished(self, study: Study) -> None:
        """Write the report beside the table of trials: once a sweep, in this process."""
        from tinyrm.report.reading import report_of  # their libraries take a second to import
        from tinyrm.report.writing import default_place, write_report

        report = report_of([study])
        log.info("Report: %s", write_report(report, "html", default_place(report, "html")))


class ReportProgress(HearsOrders):
    """Tells a sweep how far training is, and each evaluation of dev to its pruner. Trains in one process only.

    Args:
        progress: the trial's line to its sweep.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    @property
    def asked_to_stop(self) -> bool:
        return self.progress.asked_to_stop

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        done = int(trainer.fit_loop.epoch_loop.batch_progress.current.ready)
        self._advance(done / max(1, int(trainer.num_training_batches)))

    def on_validation_batch_end(self, *args: Any) -> None:
        self._advance()

    def _advance(self, fraction: float | None = None) -> None:
        if not self.asked_to_stop:  # else it stops by itself, with a checkpoint
            self.progress.advance(fraction)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        known = _REPORTED.get(self.progress.metric)
        if known is None:
            return  # known only at the end: nothing to prune by
        name, sign = known
        evaluations, samples = history_of(trainer).evaluations, log_likelihoods(pl_module)
        self.progress.report(evaluations[-1][name], len(evaluations), [sign * s for s in samples])

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a trial that trains in several processes cannot report to its sweep")


def prepared(config: TinyRMConfig) -> TinyRMConfig:
    """The config as a trial runs it: by default it keeps its adapter and not the whole merged model."""
    if config.trainer.save_model == "auto":
        return replace(config, trainer=replace(config.trainer, save_model="adapter"))
    return config


def callbacks_of(config: TinyRMConfig) -> list[Callback]:
    """What a trial's training reports through; nothing where it trains in several processes."""
    progress = current_progress()
    return [ReportProgress(progress)] if progress is not None and config.trainer.processes == 1 else []


def shared_prefix() -> SharedPrefix | None:
    """What this trial shares in memory with those that run beside it; None where there are none."""
    progress = current_progress()
    if progress is None or progress.shared is None:
        return None
    if "prefix" not in progress.shared:
        progress.shared["prefix"] = SharedPrefix(2 * progress.together, pass_on=_pass_on)
    shared: SharedPrefix = progress.shared["prefix"]
    return shared


def _pass_on() -> None:
    progress = current_progress()
    assert progress is not None  # of the trial that scores, not of the one that made this
    progress.advance()


def log_likelihoods(module: Any) -> list[float]:
    """(dev pairs,) log-probability of the better response, in the order of the dev split, whatever the batches."""
    margins = module.dev_log_odds().mean(dim=0).double()
    return [float(v) for v in torch.nn.functional.logsigmoid(margins)]


def result_of(experiment: ExperimentResult, config: TinyRMConfig) -> Result:
    """What a sweep is told of a finished experiment.

    Metrics come from dev and from what training cost; test numbers are beside them, where no sweep can choose by them.
    """
    record = experiment.record
    dev = record["dev"]
    pairs = sum(section["dev"] for section in record["data"]["kept"].values())
    interval = wilson(dev["accuracy"] * pairs, pairs)
    values = {
        "dev_accuracy": experiment.dev_accuracy,
        "dev_loss": dev["loss"],
        "trained_parameters": float(record["parameters"]["trained"]),
        "train_seconds": record["seconds"]["train"],
        "pairs_per_second": record["throughput"]["pairs_per_second"],
    }
    if "gpu" in record["peak_memory_mib"]:  # that of the process is the worker's, over all its trials
        values["gpu_memory_mib"] = float(record["peak_memory_mib"]["gpu"])
    overall = experiment.evaluation.overall.accuracy
    info: dict[str, Any] = {"dev_pairs": pairs, "config_hash": record["config_hash"]}
    info |= {
        "test_accuracy": overall.value,
        "test_low": overall.low,
        "test_high": overall.high,
        "test_pairs": overall.n,
    }
    for section, measures in experiment.evaluation.sections.items():
        info[f"test_{section}"] = measures.accuracy.value
    info["seed"] = config.seed
    if shared_prefix() is None:  # what others are in the middle of must not be taken for what stays
        _settle_once()
    return Result(values, {"dev_accuracy": (interval.low, interval.high)}, info)


@cache
def _settle_once() -> None:
    reuse.settle()


@cache
def _code() -> dict[str, str]:
    found = provenance.code_hashes(Path(__file__).parent, _DECIDING)
    return {module: code for module, code in found.items() if module not in _COMPARING}


# Of these, what compares results that are there: a better report is no reason to train anew.
_COMPARING = {
    *("tinyrm.config.claim", "tinyrm.model.costs"),
    *(f"tinyrm.evaluation.{n}" for n in ("arms", "contrasts", "crossed", "effects", "paired", "power", "references")),
    *(f"tinyrm.evaluation.{n}" for n in ("bag", "calibration", "probes", "verdicts")),
}
