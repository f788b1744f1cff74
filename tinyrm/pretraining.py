"""One pretraining: config -> corpus, tokenizer, model -> training -> held-out numbers -> a folder with its record.

A run folder holds what that of an experiment does (see :mod:`tinyrm.experiment`), and in place of the rest:

    run.json     state, config, code revision, versions, hardware, seeds, timings, and the held-out numbers
    tokenizer/   where one was trained
    model/       weights, tokenizer and model card: model=local model.path=RUN/model
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from torch.nn import functional as F
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from tinyrm import provenance
from tinyrm.config import (
    PassagesConfig,
    PretrainingConfig,
    PromptConfig,
    VerbalizerConfig,
    check_pretraining,
    config_hash,
    prompt_choice,
    room_problems,
    verbalizer_problems,
)
from tinyrm.data import fingerprint
from tinyrm.data.comparisons import instruction_pairs, passage_pairs, question_pairs
from tinyrm.data.corpus import Document, Parts, read_corpus, read_questions
from tinyrm.errors import ConfigError, DataError, OutOfMemoryError
from tinyrm.evaluation.language import NGrams
from tinyrm.evaluation.metrics import wilson
from tinyrm.evaluation.scoring import score
from tinyrm.files import write_json
from tinyrm.model import (
    Backbone,
    MaskedNet,
    can_compile,
    find_backbone,
    load_weights,
    reward_net,
    save_backbone,
    verbalizer_ids,
)
from tinyrm.prompting import EncodedPairs, Layout, tokenize
from tinyrm.prompting.wordpiece import train_tokenizer
from tinyrm.report.card import pretraining_card
from tinyrm.runs import RUN, Clock, check_folder, new_record, no_memory, recorded
from tinyrm.tracking import Session, tracked
from tinyrm.training import FitResult, fit
from tinyrm.training.masked import Answers, MaskedLM, PretrainingData
from tinyrm.training.packing import TextTokens
from tinyrm.types import PreferencePair

log = logging.getLogger(__name__)

_TOKENS_A_PASSAGE = 100  # about so many does one take, to know how many to make
_HELD_PASSAGES = 200
_ORDERS = {"unigram": 1, "5-gram": 5}


@dataclass(frozen=True)
class Material:
    """What is learnt from, each with a part of it that is held out.

    Attributes:
        text: documents.
        questions: with their choices.
        instructions: prompts and their responses; where there are any, they are compared, not passages of `text`.
        prompts: templates of the cloze form, all with the same verbalizers; none where no answers are learnt.
        left_out: how many documents and questions were kept out of it, for the record.
    """

    text: Parts
    questions: Parts = field(default_factory=Parts)
    instructions: Parts = field(default_factory=Parts)
    prompts: tuple[PromptConfig, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """A config that can run: the corpus read, tokenizer and backbone found (weights not yet loaded)."""

    config: PretrainingConfig
    material: Material
    backbone: Backbone


@dataclass(frozen=True)
class PretrainingResult:
    """What a pretraining came to: its run folder, and the content of run.json."""

    folder: Path
    record: dict[str, Any]


def prepare(config: PretrainingConfig, folder: Path | None = None, material: Material | None = None) -> Prepared:
    """Check everything that can be checked, read the corpus, and get the tokenizer (which may have to be trained).

    Args:
        config: one pretraining.
        folder: where a trained tokenizer is kept, for a resumed run to find.
        material: in place of the files and prompts that the config names.

    Raises:
        ConfigError, DataError, ModelError: what is wrong and what would be right.
    """
    check_pretraining(config)
    material = material or _read_material(config)
    prompts = material.prompts
    tokenizer = _tokenizer(config, material.text, folder)
    backbone = find_backbone(config.model, tokenizer)
    problems = [problem for prompt in prompts for problem in prompt_problems(prompt, backbone, "sft.length")]
    if len({(prompt.verbalizers.a, prompt.verbalizers.b) for prompt in prompts}) > 1:
        problems.append(f"sft.prompts={[prompt.id for prompt in prompts]} do not share their prompt.verbalizers.")
    if config.mlm.tokens and config.mlm.length > backbone.context:
        problems.append(
            f"mlm.length={config.mlm.length} is more than the context of model={backbone.name} ({backbone.context}): "
            f"use mlm.length={backbone.context} or less."
        )
    if problems:
        raise ConfigError(sorted(set(problems)))
    return Prepared(config, material, backbone)


def run(
    config: PretrainingConfig,
    folder: str | Path,
    *,
    material: Material | None = None,
    callbacks: Sequence[Callback] = (),
) -> PretrainingResult:
    """Pretrain one model, and leave it with its record in `folder`; goes on from a checkpoint that is there.

    Args:
        config: one pretraining.
        folder: its run folder, made if missing.
        material: in place of the files and prompts that the config names.
        callbacks: further Lightning callbacks.

    Raises:
        TinyRMError: as :func:`tinyrm.experiment.run`.
    """
    folder, clock = Path(folder), Clock()
    check_folder(folder, config_hash(config))  # before a tokenizer is taken from it or put into it
    with clock.phase("prepare"):
        prepared = prepare(config, folder, material)
    record = _new_record(prepared, folder)
    with (
        tracked(config.tracking, folder, record, "pretrain") as session,
        recorded(folder, record, clock, config.trainer.threads, lambda error: _out_of_memory(error, config)),
    ):
        _run(prepared, folder, record, clock, session, callbacks)
    return PretrainingResult(folder, record)


def _run(
    prepared: Prepared,
    folder: Path,
    record: dict[str, Any],
    clock: Clock,
    session: Session,
    callbacks: Sequence[Callback],
) -> None:
    config, backbone = prepared.config, prepared.backbone
    write_json(folder / RUN, record)
    with clock.phase("tokenize"):
        data = _data(prepared)
    with clock.phase("build"):
        model = load_weights(backbone, "cloze", seed=config.seed)
        if config.compile and not can_compile():
            log.warning("compile=true: no C++ compiler or Triton was found; the layers are run as they stand.")
        net = MaskedNet(model, backbone.family, compiled=config.compile and can_compile())
    record["parameters"] = sum(p.numel() for p in model.parameters())
    record["text"] = {"train": len(data.text.ids), "dev": len(data.dev_text.ids)}
    log.info(
        "Pretraining %s parameters on %s tokens of text (%s held out): %s steps.",
        *(f"{n:,}" for n in (record["parameters"], len(data.text.ids), len(data.dev_text.ids), data.optimizer_steps)),
    )
    with clock.phase("train"):
        with _scoring(net, config):
            record["start"] = _heldout_loss(net, data) | _answers(prepared, model)
        fitted = _train(net, data, config, folder, session, callbacks)
    record["peak_memory_mib"] = provenance.peak_memory_mib()
    with clock.phase("evaluate"), _scoring(net, config):
        record["heldout"] = _heldout_loss(net, data) | _trivial(data) | _answers(prepared, model)
    history = fitted.history
    record["training"] = {"end": history.end, "resumed": fitted.resumed, "precision": fitted.precision}
    record["curve"] = history.evaluations
    record["throughput"] = {"tokens": history.tokens, "tokens_per_second": round(history.tokens / history.seconds, 1)}
    with clock.phase("save"):
        record |= {"state": "complete", "seconds": clock.seconds}
        save_backbone(folder / "model", model, backbone, pretraining_card(config, record), config.save_dtype)
    write_json(folder / RUN, record)


def _train(
    net: MaskedNet,
    data: PretrainingData,
    config: PretrainingConfig,
    folder: Path,
    session: Session,
    callbacks: Sequence[Callback],
) -> FitResult:
    module = MaskedLM(net, data.words, config.optimizer, steps=data.optimizer_steps, seed=config.seed)
    net.train()  # Lightning leaves each module in the mode it has, and weights are loaded in that of inference
    provenance.reset_peak_memory()
    return fit(
        module, data, config.trainer, folder=folder / "checkpoints", loggers=session.loggers, callbacks=callbacks
    )


def prompt_problems(prompt: PromptConfig, backbone: Backbone, key: str) -> list[str]:
    """Where answers cannot be learnt in the cloze form under this prompt, whose length the user gives as `key`."""
    facts = backbone.facts(prompt, "cloze")
    return [*room_problems(prompt, facts, key), *verbalizer_problems(prompt, facts)]


def _read_material(config: PretrainingConfig) -> Material:
    corpus, length = config.corpus, config.sft.length
    prompts = tuple(replace(prompt_choice(name), max_tokens=length) for name in config.sft.prompts if config.sft.tokens)
    return Material(
        read_corpus(corpus.path, corpus.dev_fraction, corpus.max_documents),
        read_questions(corpus.questions) if corpus.questions else Parts(),
        prompts=prompts,
    )


def _tokenizer(config: PretrainingConfig, text: Parts, folder: Path | None) -> PreTrainedTokenizerBase | None:
    """The new tokenizer that the config asks for: that of an earlier attempt, or a trained one."""
    if config.tokenizer.vocab_size is None:
        return None
    kept = None if folder is None else folder / "tokenizer"
    if kept is not None and (kept / "tokenizer.json").is_file():
        known: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(kept))
        return known
    trained = train_tokenizer(
        (d.text for d in text.train),
        config.tokenizer.vocab_size,
        lowercase=config.tokenizer.lowercase,
        context=int(config.model.shape.get("max_position_embeddings", 512)),
    )
    if kept is not None:
        trained.save_pretrained(str(kept))
    return trained


def _data(prepared: Prepared) -> PretrainingData:
    config, backbone = prepared.config, prepared.backbone
    material = prepared.material
    words = material.prompts[0].verbalizers if material.prompts else VerbalizerConfig()
    text, dev_text = _tokens(material.text.train, backbone), _tokens(material.text.dev, backbone)
    longest = max(stage.length for stage in (config.mlm, config.sft) if stage.tokens)
    for what, tokens in (("to learn from", text), ("held out", dev_text)):
        if len(tokens.ids) < longest:
            raise DataError(
                f"the text {what} has {len(tokens.ids)} tokens, less than one row of {longest}: give more text, or a "
                "smaller length."
            )
    return PretrainingData(
        text,
        dev_text,
        _train_answers(prepared),
        list(_dev_answers(prepared).values()),
        verbalizer_ids(backbone.tokenizer, words),
        config.mlm,
        config.sft,
        config.trainer,
        seed=config.seed,
        evaluations=config.evaluations,
        heldout_rate=config.heldout_rate,
    )


def _tokens(documents: Sequence[Document], backbone: Backbone) -> TextTokens:
    return TextTokens.of([d.text for d in documents], backbone.tokenizer)


def _train_answers(prepared: Prepared) -> Answers:
    """Under each template its own draw of wrong choices, and its own passages."""
    config, material, prompts = prepared.config, prepared.material, prepared.material.prompts
    if not prompts:
        return Answers((), ())
    passages = int(config.sft.tokens * (1 - config.sft.plain_share) / _TOKENS_A_PASSAGE / len(prompts)) + 1
    asked, compared = [], []
    for number, prompt in enumerate(prompts):
        seed = config.seed * 1009 + number
        if material.questions.train:
            asked.append(_encode(question_pairs(material.questions.train, seed), prompt, prepared.backbone))
        found = _compared(material.instructions.train, material.text.train, passages, seed, config.sft.passages)
        if found:
            compared.append(_encode(found, prompt, prepared.backbone))
    return Answers(tuple(asked), tuple(compared))


def _dev_answers(prepared: Prepared) -> dict[str, EncodedPairs]:
    """What is held out, under the first template: `questions`, and `passages` or `instructions`, if any."""
    material = prepared.material
    instructions, text = material.instructions.dev, material.text.dev
    sets = {
        "questions": question_pairs(material.questions.dev, 0),
        "instructions" if instructions else "passages": _compared(
            instructions, text, _HELD_PASSAGES, 0, prepared.config.sft.passages
        ),
    }
    first = material.prompts[:1]
    return {name: _encode(pairs, p, prepared.backbone) for p in first for name, pairs in sets.items() if pairs}


def _compared(
    instructions: Sequence[PreferencePair], text: Sequence[Document], count: int, seed: int, passages: PassagesConfig
) -> list[PreferencePair]:
    if instructions:
        return instruction_pairs(instructions, count, seed, passages)
    return passage_pairs(text, count, seed, passages)


def _encode(pairs: Sequence[PreferencePair], prompt: PromptConfig, backbone: Backbone) -> EncodedPairs:
    layout = Layout.of("cloze", prompt, backbone.tokenizer, backbone.segment_types)
    return layout.bind(tokenize(pairs, backbone.tokenizer, spaced=layout.spaced))


@contextlib.contextmanager
def _scoring(net: MaskedNet, config: PretrainingConfig) -> Iterator[None]:
    """Have the net on a GPU for the block, where it trains on one."""
    on_gpu = config.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    net.to("cuda" if on_gpu else "cpu")
    try:
        yield
    finally:
        net.cpu()


def _heldout_loss(net: MaskedNet, data: PretrainingData) -> dict[str, Any]:
    """Loss on held-out text, in nats a token, in float32."""
    device, total, count = next(net.parameters()).device, 0.0, 0
    net.eval()
    with torch.inference_mode():
        for batch in data.heldout_text():
            passes = [{name: value.to(device) for name, value in p.items()} for p in batch["passes"]]
            logits = net({"passes": passes}).cpu()
            total += float(F.cross_entropy(logits, batch["targets"], reduction="sum"))
            count += len(logits)
    return {"tokens": count, "rate": data.heldout_rate, "loss": total / count}


def _trivial(data: PretrainingData) -> dict[str, float]:
    """The loss of trivial models at the same places."""
    rows, flags = data.heldout_rows()
    seen = data.text.rows(data.dev_length, seed=0, epoch=0).reshape(-1)
    models = {name: NGrams(seen, order, len(data.text.tokenizer)) for name, order in _ORDERS.items()}
    return {name: model.loss(rows.reshape(-1), flags.reshape(-1)) for name, model in models.items()}


def _answers(prepared: Prepared, model: PreTrainedModel) -> dict[str, Any]:
    """Accuracy on held-out questions and passages, both orders, with 95% intervals."""
    found = {}
    for name, pairs in _dev_answers(prepared).items():
        net = reward_net(model, prepared.backbone, prepared.material.prompts[0].verbalizers)
        odds = score(net, pairs, batch_tokens=16384).log_odds
        right = float((odds > 0).sum() + 0.5 * (odds == 0).sum())
        found[name] = asdict(wilson(right, len(odds)))
    return found


def _new_record(prepared: Prepared, folder: Path) -> dict[str, Any]:
    """The record as far as it is known before anything runs.

    Raises:
        ConfigError: the folder holds a run of another config or of another corpus.
    """
    text, questions, instructions = (
        prepared.material.text,
        prepared.material.questions,
        prepared.material.instructions,
    )
    prints = {
        "train": _fingerprint(d.text for d in text.train),
        "dev": _fingerprint(d.text for d in text.dev),
        "questions": _fingerprint(q.text for q in (*questions.train, *questions.dev)),
    }
    if instructions.train:
        prints["instructions"] = fingerprint((*instructions.train, *instructions.dev))
    digest = config_hash(prepared.config)
    check_folder(folder, digest, prints)
    return new_record(prepared.config, digest) | {
        "kind": "pretraining",
        "documents": {"train": len(text.train), "dev": len(text.dev)},
        "questions": {"train": len(questions.train), "dev": len(questions.dev)},
        "left_out": dict(prepared.material.left_out),
        "sources": _sources(text.train),
        "fingerprints": prints,
    }


def _sources(documents: Sequence[Document]) -> dict[str, int]:
    """Characters by where they come from."""
    found: dict[str, int] = {}
    for document in documents:
        found[document.source] = found.get(document.source, 0) + len(document.text)
    return dict(sorted(found.items()))


def _fingerprint(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text.encode("utf-8", "replace")).digest())
    return digest.hexdigest()[:16]


def _out_of_memory(error: BaseException, config: PretrainingConfig) -> OutOfMemoryError | None:
    reason = no_memory(error)
    if reason is None:
        return None
    return OutOfMemoryError(
        f"out of memory{f' ({reason})' if reason else ''}. What makes it smaller: trainer.batch_tokens (now "
        f"{config.trainer.batch_tokens}), with trainer.accumulate raised as much; a smaller model."
    )
