"""Rules that join several fields, or a field and a fact: one place, checked before any model is built.

:func:`check` gathers every problem and raises once. What it must know of the outside world (how many layers the
backbone has, which words are one token) is handed to it as :class:`Facts`, so that this layer imports nothing.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tinyrm.config.schema import SPOILERS, AdapterConfig, PassagesConfig, PromptConfig, TinyRMConfig, WarmupConfig
from tinyrm.errors import ConfigError, did_you_mean

READERS = ("synthetic", "jsonl", "parquet", "csv", "folder", "hub")
MODEL_SOURCES = ("hub", "packaged", "random", "local")
ADAPTERS = ("dora", "lora", "full", "none")
WARMUPS = ("none", "mlm", "sft")
OBJECTIVES = ("cloze", "bradley_terry")
ORDERS = ("random", "both")
SCHEDULES = ("linear", "cosine", "constant")
PRECISIONS = ("auto", "32", "bf16", "16")
BENCHMARKS = ("pairs", "rewardbench", "rewardbench2")
BACKENDS = ("auto", "float32", "bf16", "int8", "onnx")
DORAS = ("fast", "peft")
LAST_LAYERS = ("read", "whole")
PREFIXES = ("auto", "on", "off")
PREFIX_DTYPES = ("32", "bf16")
OPTIMIZERS = ("adamw", "muon")
OPTIMIZER_KERNELS = ("fused", "plain")
UNSEEN = ("keep", "drop")
SAVED = ("auto", "merged", "adapter", "none")
LOGGERS = ("csv", "tensorboard", "wandb")
CLOZE_SLOTS = ("prompt", "a", "b", "mask")
SINGLE_SLOTS = ("prompt", "response")
MARK_SLOTS = ("sep", "unused")  # tokens of the vocabulary, not text of the pair
MIN_TEXT_TOKENS = 24  # room a template must leave for prompt and responses


@dataclass(frozen=True)
class Facts:
    """What the rules must know of the chosen backbone.

    Attributes:
        model: its name for messages.
        layers: number of encoder layers.
        context: longest sequence in tokens.
        template_tokens: tokens of the template alone, special tokens included; None if it does not parse.
        tokens_of: a word -> its tokens, as strings.
        known_targets: linear modules of a layer, by last name.
        unknown_token: what the tokenizer makes of a word it does not know; None if it knows every word.
    """

    model: str
    layers: int
    context: int
    template_tokens: int | None
    tokens_of: Callable[[str], Sequence[str]]
    known_targets: tuple[str, ...]
    unknown_token: str | None = None


def check(config: TinyRMConfig, facts: Facts | None = None, others: Sequence[str] = ()) -> None:
    """Raise if `config` cannot be run.

    Args:
        config: what was composed.
        facts: of its backbone; without them only the rules that need none are checked.
        others: problems found elsewhere (data, benchmark), to be told together with these.

    Raises:
        ConfigError: with every problem found.
    """
    problems = [*_choices(config), *_numbers(config), *template_problems(config.prompt), *_sources(config)]
    problems += _warmup(config.warmup)
    if facts is not None:
        problems += [*_freezing(config, facts), *room_problems(config.prompt, facts)]
        problems += verbalizer_problems(config.prompt, facts) if config.objective.kind == "cloze" else []
        problems += _targets(config.adapter, facts)
    problems += others
    if problems:
        raise ConfigError(problems)


def _choices(c: TinyRMConfig) -> Iterator[str]:
    for key, value, known in (
        ("data.reader", c.data.reader, (*READERS, "mixture")),
        ("model.source", c.model.source, MODEL_SOURCES),
        ("warmup.kind", c.warmup.kind, WARMUPS),
        ("warmup.optimizer", c.warmup.optimizer, OPTIMIZERS),
        ("adapter.kind", c.adapter.kind, ADAPTERS),
        ("objective.kind", c.objective.kind, OBJECTIVES),
        ("objective.orders", c.objective.orders, ORDERS),
        ("optimizer.kind", c.optimizer.kind, OPTIMIZERS),
        ("optimizer.schedule", c.optimizer.schedule, SCHEDULES),
        ("trainer.precision", c.trainer.precision, PRECISIONS),
        ("trainer.progress", c.trainer.progress, ("auto", "on", "off")),
        ("trainer.save_model", c.trainer.save_model, SAVED),
        ("data.unseen_subsets", c.data.unseen_subsets, UNSEEN),
        ("speed.dora", c.speed.dora, DORAS),
        ("speed.last_layer", c.speed.last_layer, LAST_LAYERS),
        ("speed.prefix", c.speed.prefix, PREFIXES),
        ("speed.prefix_dtype", c.speed.prefix_dtype, PREFIX_DTYPES),
        ("speed.optimizer", c.speed.optimizer, OPTIMIZER_KERNELS),
        ("evaluation.benchmark", c.evaluation.benchmark, BENCHMARKS),
        ("evaluation.backend", c.evaluation.backend, BACKENDS),
        *(("tracking.loggers", logger, LOGGERS) for logger in c.tracking.loggers),
    ):
        if value not in known:
            yield f"{key}={value} is not known.{did_you_mean(value, known)}"


def _numbers(c: TinyRMConfig) -> Iterator[str]:
    for key, value, low, high in (
        ("adapter.rank", c.adapter.rank, 1, None),
        ("adapter.dropout", c.adapter.dropout, 0, 0.999),
        ("data.dev_fraction", c.data.dev_fraction, 0, 0.9),
        ("data.test_fraction", c.data.test_fraction, 0, 0.9),
        ("model.dropout", c.model.dropout or 0, 0, 0.999),
        ("model.attention_dropout", c.model.attention_dropout or 0, 0, 0.999),
        ("data.synthetic.max_difficulty", c.data.synthetic.max_difficulty, 1, 3),
        ("freeze", c.freeze, 0, None),
        ("seed", c.seed, 0, 2**31 - 1),
        ("objective.label_smoothing", c.objective.label_smoothing, 0, 0.499),
        ("optimizer.weight_decay", c.optimizer.weight_decay, 0, None),
        ("optimizer.warmup_fraction", c.optimizer.warmup_fraction, 0, 1),
        ("optimizer.clip_norm", c.optimizer.clip_norm, 0, None),
        ("optimizer.beta1", c.optimizer.beta1, 0, 0.99999),
        ("optimizer.beta2", c.optimizer.beta2, 0, 0.99999),
        ("prompt.share.prompt", c.prompt.share.prompt, 0.01, 0.98),
        ("prompt.share.prompt_head", c.prompt.share.prompt_head, 0, 1),
        ("prompt.share.response_head", c.prompt.share.response_head, 0, 1),
        ("trainer.epochs", c.trainer.epochs, 1, None),
        ("trainer.accumulate", c.trainer.accumulate, 1, None),
        ("trainer.evaluations_per_epoch", c.trainer.evaluations_per_epoch, 1, None),
        ("trainer.patience", c.trainer.patience, 0, None),
        ("trainer.checkpoint_steps", c.trainer.checkpoint_steps, 0, None),
        ("trainer.devices", c.trainer.devices, 1, None),
        ("trainer.nodes", c.trainer.nodes, 1, None),
        ("trainer.threads", c.trainer.threads, 0, None),
        ("trainer.batch_pairs", c.trainer.batch_pairs, 1, None),
        ("trainer.batch_tokens", c.trainer.batch_tokens, c.prompt.max_tokens, None),
        ("evaluation.batch_tokens", c.evaluation.batch_tokens, c.prompt.max_tokens, None),
        ("tracking.patience_s", c.tracking.patience_s, 1, None),
        ("warmup.tokens", c.warmup.tokens, 1, None),
        ("warmup.length", c.warmup.length, 32, None),
        ("warmup.rate", c.warmup.rate, 0.01, 0.9),
        ("warmup.plain_share", c.warmup.plain_share, 0, 1),
        ("warmup.question_share", c.warmup.question_share, 0, 1),
        ("warmup.dev_fraction", c.warmup.dev_fraction, 0.0001, 0.5),
        ("warmup.seed", c.warmup.seed, 0, 2**31 - 1),
    ):
        if not low <= value <= (math.inf if high is None else high) or value == math.inf:  # NaN fails every comparison
            bound = f"at least {low}" if high is None else f"from {low} to {high}"
            hint = " (prompt.max_tokens: one sequence must fit a batch)" if key.endswith("batch_tokens") else ""
            yield f"{key}={value} must be {bound}{hint}."
    for key, rate in (("optimizer.lr", c.optimizer.lr), ("optimizer.eps", c.optimizer.eps), ("warmup.lr", c.warmup.lr)):
        if not 0 < rate < math.inf:
            yield f"{key}={rate} must be greater than 0."
    if max(c.data.dev_fraction, c.data.test_fraction) <= 0.9 < c.data.dev_fraction + c.data.test_fraction:
        yield "data.dev_fraction + data.test_fraction leave less than a tenth of the prompts to train on: lower one."
    if not 0 < c.speed.prefix_gb < math.inf:
        yield f"speed.prefix_gb={c.speed.prefix_gb} must be greater than 0; speed.prefix=off stores nothing."
    if c.adapter.alpha is not None and not 0 < c.adapter.alpha < math.inf:
        yield f"adapter.alpha={c.adapter.alpha} must be greater than 0 (null means 2 * rank)."
    for name in ("max_train_pairs", "max_dev_pairs", "max_test_pairs"):
        limit = getattr(c.data, name)
        if limit is not None and limit < 1:
            yield f"data.{name}={limit} must be at least 1 (null takes all)."


def passages_problems(passages: PassagesConfig, key: str) -> Iterator[str]:
    """What is wrong with comparisons made out of text, which the user gives under `key`."""
    for name in ("prompt_words", "option_words"):
        words = getattr(passages, name)
        if len(words) != 2 or not 1 <= words[0] <= words[1]:
            yield f"{key}.{name}={list(words)} must be two numbers, fewest and most, for example [4, 110]."
    if not passages.spoilers:
        yield f"{key}.spoilers is empty: give some of {', '.join(SPOILERS)}."
    for kind in passages.spoilers:
        if kind not in SPOILERS:
            yield f"{key}.spoilers: {kind} is not known.{did_you_mean(kind, SPOILERS)}"


def _warmup(warmup: WarmupConfig) -> Iterator[str]:
    yield from passages_problems(warmup.passages, "warmup.passages")
    if not 0 < warmup.cache_gb < math.inf:
        yield f"warmup.cache_gb={warmup.cache_gb} must be greater than 0; what a run uses stays until it ends."
    if warmup.batch_tokens < warmup.length:
        yield f"warmup.batch_tokens={warmup.batch_tokens} must be at least warmup.length={warmup.length}."
    if warmup.questions and warmup.kind == "mlm":
        yield "warmup.questions is asked only with warmup=sft: masked text alone (warmup=mlm) has none."


def template_problems(prompt: PromptConfig) -> list[str]:
    """What is wrong with the slots of a prompt's two templates: each slot must stand exactly once."""
    return [
        *_slots("prompt.cloze", prompt.cloze, CLOZE_SLOTS),
        *_slots("prompt.single", prompt.single, SINGLE_SLOTS),
    ]


def _slots(key: str, template: str, needed: tuple[str, ...]) -> Iterator[str]:
    try:
        fields = [(name, spec, how) for _, name, spec, how in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        yield f"{key} is not a template: {error} (write {{{{ or }}}} for a literal brace)."
        return
    names = [name for name, _, _ in fields]
    for name, spec, how in fields:
        if spec or how:
            yield f"{key}: write the slot as {{{name}}}, without a conversion or format."
    for name in sorted(set(names) - set(needed) - set(MARK_SLOTS)):
        yield f"{key} has an unknown slot {{{name}}}.{did_you_mean(name, needed + MARK_SLOTS)}"
    for name in needed:
        if names.count(name) != 1:
            yield f"{key} must hold the slot {{{name}}} exactly once; it is there {names.count(name)} times."


def _sources(c: TinyRMConfig) -> Iterator[str]:
    sources = (
        [("data", c.data)] if not c.data.mixture else [(f"data.mixture[{i}]", s) for i, s in enumerate(c.data.mixture)]
    )
    if c.data.reader == "mixture" and not c.data.mixture:
        yield "data.mixture has no value: give it as data.mixture=[{reader: ..., path: ..., weight: ...}, ...]."
    for key, source in sources:
        if source.reader != "synthetic" and source.reader in READERS and not source.path:
            yield f"{key}.path is needed for reader={source.reader}: a file, a folder or a hub id."
        if source.weight <= 0:
            yield f"{key}.weight={source.weight} must be greater than 0."
    if c.model.source in ("hub", "local") and not c.model.path:
        yield f"model.path is needed for model.source={c.model.source}: a hub id or a local folder."
    if c.tracking.model and c.trainer.save_model == "none":
        yield "tracking.model=true has nothing to keep with trainer.save_model=none: use adapter or merged."
    if c.trainer.precision == "16" and c.trainer.accelerator == "cpu":
        yield "trainer.precision=16 needs a GPU; on a CPU use 32 or bf16."


def _freezing(c: TinyRMConfig, facts: Facts) -> Iterator[str]:
    if c.freeze > facts.layers:
        options = sorted({0, facts.layers // 2, facts.layers - 1})
        commands = " or ".join(f"`python run.py {facts.model} freeze={n}`" for n in options[-2:])
        yield (
            f"freeze={c.freeze} is more than the {facts.layers} encoder layers of {facts.model}: "
            f"use at most {facts.layers}, for example {commands}."
        )
    elif c.freeze == facts.layers and not c.adapter.train_head:
        yield (
            f"freeze={c.freeze} freezes every layer and adapter.train_head=false the head: nothing would be trained. "
            f"Use freeze={facts.layers - 1} or adapter.train_head=true."
        )
    if c.adapter.kind == "none" and not c.adapter.train_head:
        yield "adapter=none with adapter.train_head=false trains nothing: use adapter=dora or adapter.train_head=true."


def room_problems(prompt: PromptConfig, facts: Facts, key: str = "prompt.max_tokens") -> Iterator[str]:
    """Where a prompt's longest sequence, which the user gives as `key`, does not fit the model or leaves no room."""
    longest = prompt.max_tokens
    if longest > facts.context:
        yield (
            f"{key}={longest} is more than the context of {facts.model} ({facts.context}): "
            f"use {key}={facts.context} or less."
        )
    if facts.template_tokens is not None and facts.template_tokens + MIN_TEXT_TOKENS > longest:
        shorter = "" if prompt.id == "terse" else ", or prompt=terse"
        yield (
            f"the template of prompt={prompt.id} takes {facts.template_tokens} of {key}="
            f"{longest} tokens; {MIN_TEXT_TOKENS} more are needed for the pair: "
            f"use {key}={facts.template_tokens + MIN_TEXT_TOKENS} or more{shorter}."
        )


def verbalizer_problems(prompt: PromptConfig, facts: Facts) -> Iterator[str]:
    """What is wrong with the words that fill the mask: each must be one token, and the two different ones."""
    words = {"a": prompt.verbalizers.a, "b": prompt.verbalizers.b}
    tokens = {}
    for option, word in words.items():
        tokens[option] = tuple(facts.tokens_of(word))
        if facts.unknown_token in tokens[option]:
            yield f"prompt.verbalizers.{option}={word!r} is not in the vocabulary of {facts.model}: use a word that is."
        elif len(tokens[option]) != 1:
            shown = " ".join(tokens[option]) or "nothing"
            yield (
                f"prompt.verbalizers.{option}={word!r} must be one token of {facts.model}; its tokenizer makes "
                f"{len(tokens[option])} of it ({shown}): use a word like 'A' or 'first'."
            )
    if len(tokens["a"]) == 1 and tokens["a"] == tokens["b"]:
        yield f"prompt.verbalizers a={words['a']!r} and b={words['b']!r} are the same token to {facts.model}: use two."


def _targets(adapter: AdapterConfig, facts: Facts) -> Iterator[str]:
    if adapter.kind in ("dora", "lora"):
        for target in adapter.targets:
            if target not in facts.known_targets:
                near = did_you_mean(target, facts.known_targets)
                yield f"adapter.targets: {facts.model} has no linear module {target!r}.{near}"
