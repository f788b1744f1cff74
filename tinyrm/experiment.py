"""One experiment: config -> checked -> trained -> evaluated -> recorded.

:func:`run` is a function from a config to a result that a process may call many times; what a person types and what a
sweep's worker runs both end here. The folder it is given holds everything needed to run it again:

    run.json              what ran and how it went: config, revision, versions, hardware, seeds, seconds, throughput
    metrics.json          every number with n and its 95% interval
    predictions.parquet   one row a test pair
    dev_predictions.parquet  the same of the dev pairs, from the evaluation that chose the weights
    probes.json           what is behind the accuracy: order, length, words, calibration
    rewardbench/          the same results as the `rewardbench` tools write them
    checkpoints/          last.ckpt, best.safetensors, history.json
    curves/               training curves
    model/                merged model, adapter, model card
"""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.callbacks import Callback

from tinyrm import provenance, reuse, warmup
from tinyrm.config import EvaluationConfig, TinyRMConfig, check, config_hash
from tinyrm.data import PairData
from tinyrm.errors import (
    ConfigError,
    DataError,
    ModelError,
    OutOfMemoryError,
    TinyRMError,
)
from tinyrm.evaluation.backends import Backend, check_backend, choose_backend
from tinyrm.evaluation.bag import bag_log_odds
from tinyrm.evaluation.predictions import DEV_PREDICTIONS, write_predictions
from tinyrm.evaluation.probes import PROBES, read_probes
from tinyrm.evaluation.results import EvaluationResult, evaluate
from tinyrm.evaluation.saved import write_results
from tinyrm.evaluation.scoring import score
from tinyrm.files import write_json
from tinyrm.model import Backbone, Description, RewardNet, SharedPrefix, count_parameters, merged_net, save_model
from tinyrm.prompting import EncodedPairs, Layout
from tinyrm.report.card import model_card
from tinyrm.runs import RUN, Clock, check_folder, new_record, no_memory, recorded, threads_of
from tinyrm.tracking import Session, tracked
from tinyrm.training import FitResult, FrozenStore, PairDataModule, TinyRM, fit
from tinyrm.types import PairScores

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A config that can run: checked, its data read, its backbone found (weights not yet loaded)."""

    config: TinyRMConfig
    base: reuse.Base
    pairs: reuse.Pairs

    @property
    def data(self) -> PairData:
        return self.pairs.data

    @property
    def backbone(self) -> Backbone:
        return self.base.backbone


@dataclass(frozen=True)
class ExperimentResult:
    """What an experiment came to.

    Attributes:
        folder: its run folder.
        evaluation: the numbers on the test pairs, for reporting.
        dev_accuracy: of the weights that were kept; the number that may guide a choice.
        record: the content of run.json.
    """

    folder: Path
    evaluation: EvaluationResult
    dev_accuracy: float
    record: dict[str, Any]


def prepare(config: TinyRMConfig) -> Prepared:
    """Check everything that can be checked before a model is built, and read the data.

    What an earlier call of this process has read is not read again: the next point of a grid takes under a millisecond.

    Raises:
        ConfigError: with every problem found, those of backbone, data and benchmark among them.
        DataError, ModelError: the one problem found, if it is the only one.
    """
    check(config)  # what needs nothing but the config, before anything is read
    found: list[TinyRMError] = []
    base = _attempt(lambda: reuse.base(config.model), found)
    _attempt(lambda: check_backend(config.evaluation.backend), found)
    evaluation, before = config.evaluation, len(found)
    _attempt(lambda: reuse.benchmark(evaluation), found)
    if len(found) > before:
        evaluation = EvaluationConfig()  # so that problems of the data are told too
    pairs = _attempt(lambda: reuse.pairs(config.data, evaluation), found)
    facts = base.backbone.facts(config.prompt, config.objective.kind) if base else None
    try:
        beside = warmup.problems(config, base.backbone) if base else []
        check(config, facts, [*map(str, found), *beside])
    except ConfigError as error:
        if len(found) == len(error.problems) == 1:
            raise found[0] from None
        raise
    assert base is not None and pairs is not None
    return Prepared(config, base, pairs)


def check_only(config: TinyRMConfig) -> None:
    """Raise what :func:`prepare` would: for the points of a grid, before any of them runs."""
    prepare(config)


def run(
    config: TinyRMConfig,
    folder: str | Path,
    *,
    callbacks: Sequence[Callback] = (),
    siblings: bool = False,
    shared: SharedPrefix | None = None,
) -> ExperimentResult:
    """Train and evaluate one TinyRM, and leave its record in `folder`.

    Where the folder holds a checkpoint of the same config, training goes on from it, and ends as if it had never
    stopped. Data, tokens, backbone and base weights that an earlier call of this process has read are not read again.

    Args:
        config: one experiment.
        folder: its run folder, made if missing.
        callbacks: further Lightning callbacks (pruning, reporting).
        siblings: whether other runs share data and backbone, as in a sweep: what they share is then worth storing.
        shared: what it shares in memory with runs beside it, in threads that run in turn.

    Raises:
        TinyRMError: config, data, model, memory or storage, with what would be right; Interrupted and
            NonFiniteLossError for the two ends of training that keep a checkpoint. Once training is prepared,
            `run.json` records the end whichever it is.
    """
    folder = Path(folder)
    clock = Clock()
    _check_place(config)
    with clock.phase("prepare"):
        prepared = prepare(config)
    record = _new_record(prepared, folder) | {"siblings": siblings}
    with (
        tracked(config.tracking, folder, record, "train") as session,
        recorded(folder, record, clock, config.trainer.threads, lambda error: _out_of_memory(error, config)),
        ExitStack() as held,
    ):
        return _run(prepared, folder, record, clock, session, callbacks, siblings, held, shared)


def take_part(config: TinyRMConfig, folder: Path) -> None:
    """Train in one of the processes of a run on several machines, beside the one in which :func:`run` was called.

    What is found and written is the other's: this one reads checkpoints from the run folder, and writes nothing.

    Args:
        config, folder: as they were given there.

    Raises:
        TinyRMError: as :func:`run`.
    """
    prepared = prepare(config)
    frozen = FrozenStore(config.speed, config.data.cache_dir, False, "off")
    with threads_of(config.trainer.threads), ExitStack() as held:
        prepared = _warmed(prepared, {}, held)
        train, dev, _ = _encoded(prepared)
        net, batches = _built(prepared, train, dev)
        _train(net, batches, config, folder, Session([], None), (), frozen)


def _run(
    prepared: Prepared,
    folder: Path,
    record: dict[str, Any],
    clock: Clock,
    session: Session,
    callbacks: Sequence[Callback],
    siblings: bool,
    held: ExitStack,
    shared: SharedPrefix | None,
) -> ExperimentResult:
    config = prepared.config
    frozen = FrozenStore(config.speed, config.data.cache_dir, siblings, config.trainer.progress)
    write_json(folder / RUN, record)
    if config.warmup.kind != "none":
        with clock.phase("warmup"):
            prepared = _warmed(prepared, record, held)
    with clock.phase("tokenize"):
        train, dev, test = _encoded(prepared)
    with clock.phase("build"):
        net, batches = _built(prepared, train, dev)
    trained, parameters = count_parameters(net)
    record["parameters"] = {"trained": trained, "all": parameters}
    record["truncated"] = {"train": float(train.truncated.mean()), "test": float(test.truncated.mean())}
    record["padding"] = round(batches.padding, 4)
    log.info(
        "Training %s of %s parameters on %s pairs: %s steps, %.1f%% padding, %.1f%% of pairs cut to fit.",
        *(f"{x:,}" for x in (trained, parameters, len(train), batches.optimizer_steps)),
        100 * batches.padding,
        100 * record["truncated"]["train"],
    )
    with clock.phase("train"):
        fitted = _train(net, batches, config, folder, session, callbacks, frozen, shared)
    record["peak_memory_mib"] = provenance.peak_memory_mib()  # before scoring, which has batches of its own
    with clock.phase("evaluate"):
        merged = merged_net(net)
        backend = choose_backend(config.evaluation.backend, config.trainer, fitted.precision)
        record["scoring"] = asdict(backend)
        scores = _score(merged, backend, test, config, frozen, shared)
        result = evaluate(config.evaluation.benchmark, prepared.pairs.reported, scores, config.evaluation.partial)
    _record_training(record, fitted)
    with clock.phase("probe"):
        _save_results(prepared, folder, record, scores, result, _dev_scores(fitted, dev))
    with clock.phase("save"):
        _save_model(prepared, folder, record, net, merged, result)
    record |= {"state": "complete", "seconds": clock.seconds}
    record["throughput"]["scored_pairs_per_second"] = round(len(test) / clock.seconds["evaluate"], 2)
    write_json(folder / RUN, record)
    best = fitted.history.best
    return ExperimentResult(folder, result, best["accuracy"] if best else math.nan, record)


def _warmed(prepared: Prepared, record: dict[str, Any], held: ExitStack) -> Prepared:
    """The same with the warmed backbone, where one is asked for; it is kept until `held` is closed."""
    warmed = warmup.warm_up(prepared.config, prepared.pairs, prepared.backbone, held)
    if warmed is None:
        return prepared
    record["warmup"] = warmed.record
    return replace(prepared, base=reuse.base(warmed.model))


def _encoded(prepared: Prepared) -> tuple[EncodedPairs, ...]:
    """Training, dev and test pairs as token ids."""
    config, backbone = prepared.config, prepared.backbone
    layout = Layout.of(config.objective.kind, config.prompt, backbone.tokenizer, backbone.segment_types)
    return prepared.pairs.encode(layout, backbone, config.data.cache_dir)


def _built(prepared: Prepared, train: EncodedPairs, dev: EncodedPairs) -> tuple[RewardNet, PairDataModule]:
    """The model, and the batches it is trained on."""
    config = prepared.config
    both = config.objective.orders == "both"
    batches = PairDataModule(train, dev, config.trainer, config.seed, both_orders=both)
    return prepared.base.net(config), batches


def _train(
    net: RewardNet,
    batches: PairDataModule,
    config: TinyRMConfig,
    folder: Path,
    session: Session,
    callbacks: Sequence[Callback],
    frozen: FrozenStore,
    shared: SharedPrefix | None = None,
) -> FitResult:
    module = TinyRM(
        net,
        config.objective,
        config.optimizer,
        steps=batches.optimizer_steps,
        seed=config.seed,
        fused=config.speed.optimizer == "fused",
    )
    provenance.reset_peak_memory()
    return fit(
        module,
        batches,
        config.trainer,
        folder=folder / "checkpoints",
        patience=config.trainer.patience,
        loggers=session.loggers,
        callbacks=callbacks,
        frozen=frozen,
        shared=shared,
    )


def _score(
    merged: RewardNet,
    backend: Backend,
    test: EncodedPairs,
    config: TinyRMConfig,
    frozen: FrozenStore,
    shared: SharedPrefix | None,
) -> PairScores:
    return score(
        backend.ready(merged, test, config.data.cache_dir),
        test,
        batch_tokens=config.evaluation.batch_tokens,
        precision=backend.precision,
        progress=config.trainer.progress == "on" or (config.trainer.progress == "auto" and sys.stderr.isatty()),
        frozen=frozen,
        shared=shared,
    )


def _save_results(
    prepared: Prepared,
    folder: Path,
    record: dict[str, Any],
    scores: PairScores,
    result: EvaluationResult,
    dev: PairScores | None,
) -> None:
    config, data, reported = prepared.config, prepared.data, prepared.pairs.reported
    name = config.tracking.name or f"tinyrm/{config.model.id}-{record['config_hash']}"
    bag = bag_log_odds(
        data.train, data.dev, reported, fingerprints=record["fingerprints"], cache_dir=config.data.cache_dir
    )
    write_results(folder, result, reported, scores, name=name, bag=bag, dev=record["dev"], scoring=record["scoring"])
    if dev is not None:
        write_predictions(folder / DEV_PREDICTIONS, data.dev, dev)
    write_json(folder / PROBES, read_probes(folder).to_json())


def _save_model(
    prepared: Prepared,
    folder: Path,
    record: dict[str, Any],
    net: RewardNet,
    merged: RewardNet,
    result: EvaluationResult,
) -> None:
    config = prepared.config
    if config.trainer.save_model == "none":
        return
    description = Description(
        objective=config.objective.kind,
        prompt=config.prompt,
        model=config.model,
        adapter=config.adapter,
        freeze=config.freeze,
        seed=config.seed,
        config_hash=record["config_hash"],
    )
    save_model(
        folder / "model",
        net,
        prepared.backbone,
        description,
        model_card(config, result, record),
        parts="merged" if config.trainer.save_model == "auto" else config.trainer.save_model,
        with_base=config.warmup.kind != "none",  # what the cache holds may be removed from it
        merged=merged.base_model,
    )


def _dev_scores(fitted: FitResult, dev: EncodedPairs) -> PairScores | None:
    """Those of the weights that were kept; None where there are none, or none to rely on."""
    both = fitted.dev_log_odds
    if both is None or both.shape[1] != len(dev):
        return None
    if not np.isfinite(both).all():
        log.warning("The model gave log-odds of dev pairs that are not finite in %s: none are kept.", fitted.precision)
        return None
    return PairScores(both[0], both[-1], dev.truncated, dev.lengths.sum(axis=1))


def _new_record(prepared: Prepared, folder: Path) -> dict[str, Any]:
    """The record as far as it is known before anything runs.

    Raises:
        ConfigError: the folder holds a run of another config or of other data.
    """
    digest, fingerprints = config_hash(prepared.config), prepared.pairs.fingerprints
    check_folder(folder, digest, fingerprints)
    return new_record(prepared.config, digest) | {
        "seeds": {"seed": prepared.config.seed, "split_seed": prepared.config.data.split_seed},
        "data": prepared.data.report.as_dict(),
        "fingerprints": fingerprints,
    }


def _record_training(record: dict[str, Any], fitted: FitResult) -> None:
    history, seconds = fitted.history, max(fitted.history.seconds, 1e-9)
    record["training"] = {
        "end": history.end,
        "detail": history.detail,
        "resumed": fitted.resumed,
        "precision": fitted.precision,
        "best_step": history.best_step,
    }
    record["dev"] = history.best
    record["throughput"] = {
        "pairs_per_second": round(history.pairs / seconds, 2),
        "tokens_per_second": round(history.tokens / seconds, 1),
    }


def _check_place(config: TinyRMConfig) -> None:
    """Refuse several machines where Slurm has not started a process for each of their devices."""
    nodes, wanted = config.trainer.nodes, config.trainer.processes
    if nodes > 1 and os.environ.get("SLURM_NTASKS") != str(wanted):
        raise ConfigError(
            f"trainer.nodes={nodes} needs a Slurm job of {wanted} processes, which a sweep starts: "
            f"python run.py -m hydra/launcher=slurm sweep.nodes_per_trial={nodes} ..."
        )


def _attempt(action: Any, found: list[TinyRMError]) -> Any:
    try:
        return action()
    except (ConfigError, DataError, ModelError) as error:
        found.append(error)
        return None


def _out_of_memory(error: BaseException, config: TinyRMConfig) -> OutOfMemoryError | None:
    """`error` in our words, where it says that the memory of a device was used up; else None."""
    reason = no_memory(error)
    if reason is None:
        return None
    trainer = config.trainer
    return OutOfMemoryError(
        f"out of memory with model={config.model.id}{f' ({reason})' if reason else ''}. What makes it smaller: "
        f"trainer.batch_tokens (now {trainer.batch_tokens}) or trainer.batch_pairs (now {trainer.batch_pairs}), with "
        f"trainer.accumulate raised as much; evaluation.batch_tokens (now {config.evaluation.batch_tokens}) where it "
        "ended while scoring; prompt.max_tokens; a smaller model."
    )
