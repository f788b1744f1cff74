"""The typed schema of pretraining: every key of `conf/pretrain.yaml`, its type and its default, in one place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from omegaconf import MISSING

from tinyrm.config.rules import LOGGERS, MODEL_SOURCES, OPTIMIZERS, PRECISIONS, SCHEDULES, passages_problems
from tinyrm.config.schema import LoopConfig, ModelConfig, OptimizerConfig, PassagesConfig, TrackingConfig
from tinyrm.errors import ConfigError, did_you_mean


@dataclass
class CorpusConfig:
    """Text to learn from, and questions with choices."""

    path: str = MISSING  # a file or a folder: .txt, .md, .rst, .jsonl with {"text": ...}; plain or gzip
    questions: str | None = None  # a .jsonl file with {"question", "choices", "answer": index, "split"}
    dev_fraction: float = 0.01  # of the documents, chosen by a hash of their text, held out for the loss
    max_documents: int | None = None


@dataclass
class TokenizerConfig:
    """A new tokenizer, trained on the corpus."""

    vocab_size: int | None = None  # entries; null keeps the tokenizer of the model
    lowercase: bool = True  # and strip accents


@dataclass
class MaskingConfig:
    """Masked language modelling over packed rows (Devlin et al. 2019; rate by Wettig et al. 2023)."""

    tokens: int = 0  # that the model is shown; 0 leaves this stage out
    length: int = 256  # of a packed row, in tokens
    rate: float = 0.3  # share of the tokens to predict: 80% masked, 10% replaced, 10% left


@dataclass
class AnswersConfig:
    """Answer tokens in the cloze form, mixed with plain masking (Clavié et al. 2025, arXiv:2502.03793)."""

    tokens: int = 0  # that the model is shown; 0 leaves this stage out
    length: int = 512  # of a packed row, and most of a cloze
    plain_share: float = 0.5  # of the batches that are masked text
    question_share: float = 0.3  # of the cloze batches that ask questions; the others compare passages of the text
    prompts: list[str] = field(default_factory=lambda: ["terse", "instruct", "judge", "reasoning", "safety"])
    passages: PassagesConfig = field(default_factory=PassagesConfig)


@dataclass
class PretrainingConfig:
    """One pretraining: plain masking (`mlm`), then the mix with answer tokens (`sft`), under one schedule."""

    seed: int = 0
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    mlm: MaskingConfig = field(default_factory=MaskingConfig)
    sft: AnswersConfig = field(default_factory=AnswersConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: LoopConfig = field(default_factory=LoopConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    evaluations: int = 10  # most evaluations of the held-out text and questions, over the whole run
    heldout_rate: float = 0.15  # share of the held-out tokens that are masked and predicted
    compile: bool = True  # torch.compile of the layers, where a C++ compiler or Triton is there
    save_dtype: str = "32"  # of the weights in model/: 32 | bf16


def check_pretraining(config: PretrainingConfig) -> None:
    """Raise if `config` cannot be run, as far as that can be told without reading anything.

    Raises:
        ConfigError: with every problem found.
    """
    if problems := [*_choices(config), *_numbers(config)]:
        raise ConfigError(problems)


def _choices(c: PretrainingConfig) -> Iterator[str]:
    for key, value, known in (
        ("model.source", c.model.source, MODEL_SOURCES),
        ("optimizer.kind", c.optimizer.kind, OPTIMIZERS),
        ("optimizer.schedule", c.optimizer.schedule, SCHEDULES),
        ("trainer.precision", c.trainer.precision, PRECISIONS),
        ("trainer.progress", c.trainer.progress, ("auto", "on", "off")),
        ("save_dtype", c.save_dtype, ("32", "bf16")),
        *(("tracking.loggers", logger, LOGGERS) for logger in c.tracking.loggers),
    ):
        if value not in known:
            yield f"{key}={value} is not known.{did_you_mean(value, known)}"
    if c.tokenizer.vocab_size is not None and c.model.source != "random":
        yield (
            f"tokenizer.vocab_size={c.tokenizer.vocab_size} needs a model from nothing (model.source=random "
            f"with model.shape), not model={c.model.id}, whose embeddings belong to its own tokenizer."
        )
    if not c.mlm.tokens and not c.sft.tokens:
        yield "mlm.tokens and sft.tokens are both 0: nothing would be trained."
    if c.sft.tokens and not c.sft.prompts:
        yield "sft.prompts is empty: give names of conf/prompt, for example sft.prompts=[terse]."
    yield from passages_problems(c.sft.passages, "sft.passages")


def _numbers(c: PretrainingConfig) -> Iterator[str]:
    most = c.trainer.batch_tokens
    for key, value, low, high in (
        ("mlm.tokens", c.mlm.tokens, 0, math.inf),
        ("sft.tokens", c.sft.tokens, 0, math.inf),
        ("mlm.length", c.mlm.length, 16, most),
        ("sft.length", c.sft.length, 64, most),
        ("mlm.rate", c.mlm.rate, 0.01, 0.9),
        ("tracking.patience_s", c.tracking.patience_s, 1, math.inf),
        ("heldout_rate", c.heldout_rate, 0.01, 0.9),
        ("sft.plain_share", c.sft.plain_share, 0, 1),
        ("sft.question_share", c.sft.question_share, 0, 1),
        ("corpus.dev_fraction", c.corpus.dev_fraction, 0.0001, 0.5),
        ("tokenizer.vocab_size", c.tokenizer.vocab_size or 256, 256, math.inf),
        ("evaluations", c.evaluations, 1, math.inf),
        ("trainer.accumulate", c.trainer.accumulate, 1, math.inf),
        ("trainer.devices", c.trainer.devices, 1, math.inf),
        ("trainer.checkpoint_steps", c.trainer.checkpoint_steps, 0, math.inf),
        ("seed", c.seed, 0, 2**31 - 1),
    ):
        if not low <= value <= high:  # NaN fails every comparison
            bound = f"at least {low}" if high == math.inf else f"from {low} to {high}"
            yield f"{key}={value} must be {bound}{' (trainer.batch_tokens)' if high == most else ''}."
    if not 0 < c.optimizer.lr < math.inf:
        yield f"optimizer.lr={c.optimizer.lr} must be greater than 0."
