"""The warm-up of an experiment's backbone: made once, kept, and found by every run that asks for the same.

What is made is a pretraining (see :mod:`tinyrm.pretraining`) in `<data.cache_dir>/warmups/<key>/`. The key is a hash of
everything that decides it: its settings, the backbone's weights, the text, the prompts that must not be in that text,
the template where answers are learnt, and the code. Which process makes it, and how long it is kept:
:mod:`tinyrm.warmup_store`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from tinyrm import pretraining, provenance, reuse
from tinyrm.config import (
    AnswersConfig,
    CorpusConfig,
    LoopConfig,
    MaskingConfig,
    ModelConfig,
    OptimizerConfig,
    PretrainingConfig,
    PromptConfig,
    TinyRMConfig,
    TrackingConfig,
    WarmupConfig,
    config_hash,
    room_problems,
    verbalizer_problems,
)
from tinyrm.contents import content, corpus_content, questions_content
from tinyrm.data import fingerprint, normalized_prompt
from tinyrm.data.comparisons import instruction_pairs, passage_pairs
from tinyrm.data.conversations import EvaluationPrompts, conversation, conversations, hold_out
from tinyrm.data.corpus import Parts, read_documents, read_questions
from tinyrm.errors import DataError, NonFiniteLossError, OutOfMemoryError
from tinyrm.model import Backbone
from tinyrm.sweep import current_progress
from tinyrm.training.callbacks import HearsOrders
from tinyrm.types import PreferencePair
from tinyrm.warmup_store import WARMUPS, heed_sweep, taken, trim

log = logging.getLogger(__name__)

OWN_TEXT = "(training pairs)"  # what stands for a corpus.path
# What decides a warm-up beside its key's other parts.
_DECIDING = ("data", "prompting", "model", "training", "pretraining.py", "warmup.py")
_WEIGHTS = (".safetensors", ".json", ".txt", ".model")
_CHARACTERS_A_TOKEN = 8  # at most, of nearly any text: so many hold a row


@dataclass(frozen=True)
class Warmup:
    """What an experiment goes on from.

    Attributes:
        model: the warmed backbone, in place of the one that the config names.
        record: what `run.json` and the model card say of it.
    """

    model: ModelConfig
    record: dict[str, Any]


@dataclass(frozen=True)
class _Wanted:
    """A warm-up that may be there or not."""

    config: TinyRMConfig
    pairs: reuse.Pairs
    backbone: Backbone

    @property
    def settings(self) -> WarmupConfig:
        return self.config.warmup

    @property
    def prompts(self) -> tuple[PromptConfig, ...]:
        return (_prompt(self.config),) if self.settings.kind == "sft" else ()

    @property
    def evaluating(self) -> Iterator[PreferencePair]:
        """The pairs whose prompts must not be learnt from."""
        data = self.pairs.data
        for part in (data.dev, data.test, self.pairs.reported):
            yield from part

    @property
    def folder(self) -> Path:
        return Path(self.config.data.cache_dir).expanduser() / WARMUPS / self.key

    @property
    def key(self) -> str:
        """16 hex digits of everything that decides it."""
        settings, location = self.settings, self.backbone.location
        told = {
            "config": config_hash(self.as_pretraining()),
            "prompts": [asdict(prompt) for prompt in self.prompts],
            "weights": [location, self.backbone.revision, getattr(self.backbone.config, "_commit_hash", None)]
            if location is None or not Path(location).is_dir()
            else content(location, _WEIGHTS),
            "text": self.pairs.fingerprints["train"] if settings.path is None else corpus_content(settings.path),
            "questions": None if settings.questions is None else content(settings.questions),
            "kept out": [self.pairs.fingerprints[part] for part in ("dev", "test")] + [_own_test(self.pairs)],
            "code": _code(),
            "versions": {name: provenance.versions()[name] for name in ("torch", "transformers", "tokenizers")},
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def as_pretraining(self) -> PretrainingConfig:
        """The warm-up as a pretraining."""
        settings, trainer = self.settings, self.config.trainer
        mlm = MaskingConfig(settings.tokens if settings.kind == "mlm" else 0, settings.length, settings.rate)
        sft = AnswersConfig()
        if settings.kind == "sft":
            sft = AnswersConfig(
                tokens=settings.tokens,
                length=settings.length,
                plain_share=settings.plain_share,
                question_share=settings.question_share,
                prompts=[self.config.prompt.id],
                passages=settings.passages,
            )
        return PretrainingConfig(
            seed=settings.seed,
            corpus=CorpusConfig(settings.path or OWN_TEXT, settings.questions, settings.dev_fraction),
            model=self.config.model,
            mlm=mlm,
            sft=sft,
            optimizer=OptimizerConfig(kind=settings.optimizer, lr=settings.lr),
            trainer=LoopConfig(
                batch_tokens=settings.batch_tokens,
                checkpoint_steps=trainer.checkpoint_steps,
                accelerator=trainer.accelerator,
                devices=trainer.devices,
                precision=trainer.precision,
                threads=trainer.threads,
                progress=trainer.progress,
            ),
            tracking=TrackingConfig(loggers=["csv"]),
            evaluations=1,
            compile=self.config.speed.compile,
        )

    def material(self) -> pretraining.Material:
        """The text without the prompts that evaluate, some of it held out.

        Raises:
            DataError: there is none, or nothing in it can be compared.
        """
        settings, prompts = self.settings, EvaluationPrompts(self.evaluating)
        least = settings.length * _CHARACTERS_A_TOKEN
        questions, instructions = Parts(), Parts()
        if settings.path is None:
            pairs = self.pairs.data.train
            kept = [pair for pair in pairs if not prompts.inside(conversation(pair))]
            left_out = {"pairs": len(pairs) - len(kept)}
            instructions = hold_out(
                kept, lambda p: normalized_prompt(p.prompt), lambda p: len(p.chosen), settings.dev_fraction, least
            )
            text = Parts(conversations(instructions.train), conversations(instructions.dev))
        else:
            documents = read_documents(settings.path, key="warmup.path")
            free = [document for document in documents if not prompts.inside(document.text)]
            left_out = {"documents": len(documents) - len(free)}
            text = hold_out(free, lambda d: d.text, lambda d: len(d.text), settings.dev_fraction, least)
        if settings.questions is not None:
            read = read_questions(settings.questions, key="warmup.questions")
            questions = Parts(*(tuple(q for q in p if not prompts.inside(q.text)) for p in (read.train, read.dev)))
            left_out["questions"] = sum(map(len, (read.train, read.dev))) - sum(
                map(len, (questions.train, questions.dev))
            )
        self._check(text, instructions, left_out)
        instructions = instructions if settings.kind == "sft" else Parts()
        return pretraining.Material(text, questions, instructions, self.prompts, left_out)

    def _check(self, text: Parts, instructions: Parts, left_out: dict[str, int]) -> None:
        settings = self.settings
        where = f"warmup.path={settings.path}" if settings.path else "the training pairs"
        dropped = ", ".join(f"{count} {name}" for name, count in left_out.items())
        if not text.train:
            raise DataError(
                f"warmup={settings.kind}: {where} leave nothing to learn from beside what is held out to measure it on "
                f"(left out for a prompt of dev or test: {dropped}): give more text (warmup.path)."
            )
        if settings.kind == "sft" and not (
            instruction_pairs(instructions.train, 1, 0, settings.passages)
            if settings.path is None
            else passage_pairs(text.train, 1, 0, settings.passages)
        ):
            raise DataError(
                f"warmup=sft: no comparison can be made of {where}: it takes two different prompts with different "
                "responses, or with warmup.path two documents of four sentences, and spoilers (warmup.passages) that "
                "apply to them."
            )


def problems(config: TinyRMConfig, backbone: Backbone) -> list[str]:
    """Why this warm-up cannot be made with this backbone, or its text not be read."""
    settings = config.warmup
    if settings.kind == "none":
        return []
    found: list[str] = []
    if settings.kind == "sft":
        prompt = _prompt(config)
        facts = backbone.facts(prompt, "cloze")
        found += room_problems(prompt, facts, "warmup.length")
        if config.objective.kind != "cloze":  # else they are told already
            found += verbalizer_problems(prompt, facts)
    elif settings.length > backbone.context:
        found.append(
            f"warmup.length={settings.length} is more than the context of model={backbone.name} ({backbone.context}): "
            f"use warmup.length={backbone.context} or less."
        )
    for path, check in ((settings.path, corpus_content), (settings.questions, questions_content)):
        try:
            if path is not None:
                check(path)
        except DataError as error:
            found.append(str(error))
    return found


def key(config: TinyRMConfig, pairs: reuse.Pairs, backbone: Backbone) -> str:
    """What names the warm-up of this config: equal where it would come to the same."""
    return _Wanted(config, pairs, backbone).key


def warm_up(config: TinyRMConfig, pairs: reuse.Pairs, backbone: Backbone, held: contextlib.ExitStack) -> Warmup | None:
    """The warmed backbone that this config asks for; made here where it is not there. None with `warmup=none`.

    Args:
        config: one experiment, which :func:`problems` has seen.
        pairs: its data.
        backbone: what is warmed.
        held: until it is closed the warm-up is in use, and is not removed to make room for another.

    Raises:
        DataError: the text leaves nothing to learn from.
        Interrupted: a signal came; what was trained by then is kept. So does a sweep's end of the trial.
        NonFiniteLossError, OutOfMemoryError, StorageError: as those of a pretraining.
    """
    if config.warmup.kind == "none":
        return None
    began, wanted = time.monotonic(), _Wanted(config, pairs, backbone)
    folder = wanted.folder
    record, made = held.enter_context(taken(folder, partial(_make, wanted, folder)))
    trim(folder.parent, int(config.warmup.cache_gb * 1e9))
    log.info("The warm-up (warmup=%s) %s %s.", config.warmup.kind, "is kept in" if made else "was there:", folder)
    model = ModelConfig(
        id=config.model.id,
        source="local",
        path=str(folder / "model"),
        dropout=config.model.dropout,
        attention_dropout=config.model.attention_dropout,
    )
    return Warmup(model, _told(record, folder.name, made, time.monotonic() - began))


@cache
def _code() -> dict[str, str]:
    return provenance.code_hashes(Path(__file__).parent, _DECIDING)


def _prompt(config: TinyRMConfig) -> PromptConfig:
    return replace(config.prompt, max_tokens=config.warmup.length)


def _make(wanted: _Wanted, folder: Path) -> None:
    log.info(
        "Warming up model=%s: warmup=%s on %s tokens.",
        *(wanted.config.model.id, wanted.settings.kind, f"{wanted.settings.tokens:,}"),
    )
    try:
        pretraining.run(wanted.as_pretraining(), folder, material=wanted.material(), callbacks=[_Heed()])
    except (NonFiniteLossError, OutOfMemoryError) as error:
        keys = "warmup.lr" if isinstance(error, NonFiniteLossError) else "warmup.batch_tokens"
        raise type(error)(f"in the warm-up, whose own key is {keys}: {error}") from error
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # three times the model, and nothing goes on from them


def _told(record: dict[str, Any], key: str, made: bool, seconds: float) -> dict[str, Any]:
    held = ("loss", "tokens", "instructions", "passages", "questions")
    return {
        "key": key,
        "made": made,  # by this run; else found, or waited for
        "seconds": round(seconds, 3),  # that this run spent on it
        "training_seconds": record["seconds"]["train"],  # of whichever made it
        "tokens": record["throughput"]["tokens"],
        "text": record["text"],
        "left_out": record["left_out"],
        "before": {name: record["start"][name] for name in held if name in record["start"]},
        "after": {name: record["heldout"][name] for name in held if name in record["heldout"]},
    }


class _Heed(HearsOrders):
    """Ends the warm-up with the trial of a sweep that it is for."""

    @property
    def asked_to_stop(self) -> bool:
        progress = current_progress()
        return progress is not None and progress.asked_to_stop

    def on_train_batch_end(self, *args: Any) -> None:
        if not self.asked_to_stop:  # else it stops by itself, with a checkpoint
            heed_sweep()


def _own_test(pairs: reuse.Pairs) -> str | None:
    """What names the data's own test split, where something else is reported on."""
    return None if pairs.reported is pairs.data.test else fingerprint(pairs.data.test)
