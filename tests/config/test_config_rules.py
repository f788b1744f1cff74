"""Each rule has a config that breaks it, and what it advises passes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields
from functools import lru_cache
from typing import cast

import pytest
from omegaconf import OmegaConf

from tinyrm.config import Facts, TinyRMConfig, check, compose
from tinyrm.errors import ConfigError
from tinyrm.model import Backbone

Maker = Callable[..., Facts]


GROUPS = {field.name for field in fields(TinyRMConfig)} - {"freeze", "seed"}


@lru_cache
def base(choices: tuple[str, ...]) -> TinyRMConfig:
    return compose(choices)


def config_of(*overrides: str) -> TinyRMConfig:
    """As `compose`, which takes a quarter of a second: choices by it, single values merged onto that."""
    choices = tuple(line for line in overrides if line.split("=")[0] in GROUPS)
    values = OmegaConf.from_dotlist([line for line in overrides if line not in choices])
    return cast(TinyRMConfig, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(base(choices)), values)))


def problems(*overrides: str, facts: Facts | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        check(config_of(*overrides), facts)
    return caught.value.problems


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.reader=jsnl", "data.reader=jsnl is not known. Did you mean 'jsonl'?"),
        ("model.source=packagd", "model.source=packagd is not known. Did you mean 'packaged'?"),
        ("objective.kind=clozed", "objective.kind=clozed is not known. Did you mean 'cloze'?"),
        ("optimizer.schedule=cosin", "optimizer.schedule=cosin is not known. Did you mean 'cosine'?"),
        ("trainer.precision=fp8", "trainer.precision=fp8 is not known."),
        ("trainer.progress=yes please", "trainer.progress=yes please is not known."),
        ("trainer.save_model=adaptor", "trainer.save_model=adaptor is not known. Did you mean 'adapter'?"),
        ("evaluation.backend=int4", "evaluation.backend=int4 is not known. Did you mean 'int8'"),
        ("evaluation.benchmark=rewardbench3", "evaluation.benchmark=rewardbench3 is not known. Did you mean"),
        ("tracking.loggers=[csv,wandbb]", "tracking.loggers=wandbb is not known. Did you mean 'wandb'?"),
        ("adapter.rank=0", "adapter.rank=0 must be at least 1."),
        ("adapter.dropout=1", "adapter.dropout=1.0 must be from 0 to 0.999."),
        ("adapter.alpha=0", "adapter.alpha=0.0 must be greater than 0 (null means 2 * rank)."),
        ("adapter.alpha=nan", "adapter.alpha=nan must be greater than 0 (null means 2 * rank)."),
        ("data.dev_fraction=1", "data.dev_fraction=1.0 must be from 0 to 0.9."),
        ("data.test_fraction=-0.1", "data.test_fraction=-0.1 must be from 0 to 0.9."),
        ("data.max_train_pairs=0", "data.max_train_pairs=0 must be at least 1 (null takes all)."),
        ("data.max_dev_pairs=-1", "data.max_dev_pairs=-1 must be at least 1 (null takes all)."),
        ("data.max_test_pairs=0", "data.max_test_pairs=0 must be at least 1 (null takes all)."),
        ("freeze=-1", "freeze=-1 must be at least 0."),
        ("seed=-1", "seed=-1 must be from 0 to 2147483647."),
        ("seed=2147483648", "seed=2147483648 must be from 0 to 2147483647."),
        ("objective.label_smoothing=0.5", "objective.label_smoothing=0.5 must be from 0 to 0.499."),
        ("optimizer.lr=0", "optimizer.lr=0.0 must be greater than 0."),
        ("optimizer.lr=nan", "optimizer.lr=nan must be greater than 0."),
        ("optimizer.lr=inf", "optimizer.lr=inf must be greater than 0."),
        ("optimizer.eps=0", "optimizer.eps=0.0 must be greater than 0."),
        ("optimizer.weight_decay=-1", "optimizer.weight_decay=-1.0 must be at least 0."),
        ("optimizer.weight_decay=nan", "optimizer.weight_decay=nan must be at least 0."),
        ("warmup.cache_gb=0", "warmup.cache_gb=0.0 must be greater than 0; what a run uses stays until it ends."),
        ("optimizer.warmup_fraction=1.1", "optimizer.warmup_fraction=1.1 must be from 0 to 1."),
        ("optimizer.clip_norm=-1", "optimizer.clip_norm=-1.0 must be at least 0."),
        ("optimizer.beta1=1", "optimizer.beta1=1.0 must be from 0 to 0.99999."),
        ("optimizer.beta2=nan", "optimizer.beta2=nan must be from 0 to 0.99999."),
        ("prompt.share.prompt=1", "prompt.share.prompt=1.0 must be from 0.01 to 0.98."),
        ("prompt.share.prompt_head=2", "prompt.share.prompt_head=2.0 must be from 0 to 1."),
        ("prompt.share.response_head=-1", "prompt.share.response_head=-1.0 must be from 0 to 1."),
        ("trainer.epochs=0", "trainer.epochs=0 must be at least 1."),
        ("trainer.accumulate=0", "trainer.accumulate=0 must be at least 1."),
        ("trainer.evaluations_per_epoch=0", "trainer.evaluations_per_epoch=0 must be at least 1."),
        ("trainer.patience=-1", "trainer.patience=-1 must be at least 0."),
        ("trainer.checkpoint_steps=-1", "trainer.checkpoint_steps=-1 must be at least 0."),
        ("trainer.devices=0", "trainer.devices=0 must be at least 1."),
        ("trainer.threads=-1", "trainer.threads=-1 must be at least 0."),
        (
            "trainer.batch_tokens=511",
            "trainer.batch_tokens=511 must be at least 512 (prompt.max_tokens: one sequence must fit a batch).",
        ),
        ("evaluation.batch_tokens=1", "evaluation.batch_tokens=1 must be at least 512 (prompt.max_tokens:"),
        ("data.reader=csv", "data.path is needed for reader=csv: a file, a folder or a hub id."),
        ("data.reader=mixture", "data.mixture has no value: give it as data.mixture=[{reader: ..., path: ...,"),
        ("data.mixture=[{reader: hub}]", "data.mixture[0].path is needed for reader=hub:"),
        ("data.mixture=[{weight: 1}, {weight: 0}]", "data.mixture[1].weight=0.0 must be greater than 0."),
        ("model=local", "model.path is needed for model.source=local: a hub id or a local folder."),
        ("model.source=hub model.path=null", "model.path is needed for model.source=hub:"),
        ("trainer.precision=16 trainer.accelerator=cpu", "trainer.precision=16 needs a GPU; on a CPU use 32 or bf16."),
        (
            "prompt.cloze='{prompt} {a} {b}'",
            "prompt.cloze must hold the slot {mask} exactly once; it is there 0 times.",
        ),
        (
            "prompt.cloze='{prompt} {a} {a} {b} {mask}'",
            "prompt.cloze must hold the slot {a} exactly once; it is there 2",
        ),
        (
            "prompt.cloze='{promt} {prompt} {a} {b} {mask}'",
            "prompt.cloze has an unknown slot {promt}. Did you mean 'prompt'?",
        ),
        ("prompt.cloze='{prompt} {a} {b} {mask'", "prompt.cloze is not a template: expected '}' before end of string"),
        ("prompt.single='{prompt}'", "prompt.single must hold the slot {response} exactly once; it is there 0 times."),
        ("prompt.single='{prompt}{response}{mask}'", "prompt.single has an unknown slot {mask}."),
    ],
)
def test_a_broken_rule_is_named(override: str, message: str) -> None:
    overrides = re.split(r" (?=\w+\.\w+=)", override)
    found = problems(*overrides)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_every_problem_is_told_at_once(make_facts: Maker) -> None:
    facts = make_facts(context=256, template_tokens=500)
    overrides = ["adapter.rank=0", "freeze=9", "model.source=local", "model.path=null", "optimizer.schedule=cosin"]
    with pytest.raises(ConfigError) as caught:
        check(config_of(*overrides), facts, ["the data are missing"])
    assert [problem.split("=")[0] for problem in caught.value.problems] == [
        "optimizer.schedule",
        "adapter.rank",
        "model.path is needed for model.source",
        "freeze",
        "prompt.max_tokens",
        "the template of prompt",
        "the data are missing",
    ]
    assert str(caught.value).startswith("7 problems in this config:\n  1. optimizer.schedule=cosin is not known.")


def test_a_sound_config_passes_with_facts(make_facts: Maker) -> None:
    check(config_of(), make_facts())
    check(config_of("freeze=6"), make_facts())
    check(config_of("adapter=none", "freeze=6"), make_facts())


@pytest.mark.parametrize(("layers", "advised"), [(1, [0]), (2, [0, 1]), (3, [1, 2]), (6, [3, 5]), (22, [11, 21])])
@pytest.mark.parametrize("adapter", ["dora", "full"])
def test_too_much_freezing_is_answered_with_commands_that_work(
    layers: int, advised: list[int], adapter: str, make_facts: Maker
) -> None:
    facts = make_facts(layers=layers)
    extra = [f"adapter={adapter}", "adapter.train_head=false"]
    (problem,) = problems(f"freeze={layers + 1}", *extra, facts=facts)
    assert problem.startswith(
        f"freeze={layers + 1} is more than the {layers} encoder layers of model=tiny: use at most"
    )
    commands = re.findall(r"`python run\.py ([^`]*)`", problem)
    assert commands == [f"model=tiny freeze={n}" for n in advised]
    for command in commands:
        check(config_of(*command.split(), *extra), facts)


def test_nothing_to_train(make_facts: Maker) -> None:
    (problem,) = problems("freeze=6", "adapter.train_head=false", facts=make_facts())
    assert problem == (
        "freeze=6 freezes every layer and adapter.train_head=false the head: nothing would be trained. "
        "Use freeze=5 or adapter.train_head=true."
    )
    (problem,) = problems("adapter=none", "adapter.train_head=false", facts=make_facts())
    assert problem.startswith("adapter=none with adapter.train_head=false trains nothing:")


def test_more_tokens_than_the_context(make_facts: Maker) -> None:
    facts = make_facts(context=256)
    (problem,) = problems("prompt.max_tokens=257", facts=facts)
    assert problem == (
        "prompt.max_tokens=257 is more than the context of model=tiny (256): use prompt.max_tokens=256 or less."
    )
    check(config_of("prompt.max_tokens=256"), facts)


def test_a_template_too_long(make_facts: Maker) -> None:
    facts = make_facts(template_tokens=41)
    (problem,) = problems("prompt=instruct", "prompt.max_tokens=64", facts=facts)
    assert problem == (
        "the template of prompt=instruct takes 41 of prompt.max_tokens=64 tokens; 24 more are needed for the pair: "
        "use prompt.max_tokens=65 or more, or prompt=terse."
    )
    check(config_of("prompt=instruct", "prompt.max_tokens=65"), facts)
    (problem,) = problems("prompt=terse", "prompt.max_tokens=64", facts=facts)
    assert problem.endswith("use prompt.max_tokens=65 or more.")  # there is no shorter one


def test_verbalizers(make_facts: Maker) -> None:
    facts = make_facts()
    (problem,) = problems("prompt.verbalizers.a=the first", facts=facts)
    assert problem == (
        "prompt.verbalizers.a='the first' must be one token of model=tiny; its tokenizer makes 2 of it (the first): "
        "use a word like 'A' or 'first'."
    )
    (problem,) = problems("prompt.verbalizers.b=''", facts=facts)
    assert "must be one token of model=tiny; its tokenizer makes 0 of it (nothing)" in problem
    (problem,) = problems("prompt.verbalizers.b=A", facts=facts)
    assert problem == "prompt.verbalizers a='A' and b='A' are the same token to model=tiny: use two."
    check(config_of("prompt.verbalizers.b=A", "objective=bradley_terry"), facts)


def test_verbalizers_of_a_real_tokenizer(minilm: Backbone) -> None:
    config = config_of("prompt.verbalizers.a=supercalifragilistic", "prompt.verbalizers.b=B")
    with pytest.raises(ConfigError, match=r"its tokenizer makes 6 of it \(super ##cal ##if ##rag ##ilis ##tic\)"):
        check(config, minilm.facts(config.prompt, "cloze"))
    config = config_of("prompt.verbalizers.a=a", "prompt.verbalizers.b=A")  # MiniLM does not tell case apart
    with pytest.raises(ConfigError, match="a='a' and b='A' are the same token to model=minilm"):
        check(config, minilm.facts(config.prompt, "cloze"))


def test_targets(make_facts: Maker) -> None:
    (problem,) = problems("adapter.targets=[query,keys]", facts=make_facts())
    assert problem == "adapter.targets: model=tiny has no linear module 'keys'. Did you mean 'key'?"
    check(config_of("adapter.targets=[query,key]"), make_facts())
    check(config_of("adapter=full", "adapter.targets=[none_such]"), make_facts())  # has no adapter to put there


def test_facts_of_a_template_that_does_not_parse(minilm: Backbone) -> None:
    config = config_of("prompt.cloze='{prompt} {a} {b} {mask'")
    facts = minilm.facts(config.prompt, "cloze")
    assert facts.template_tokens is None
    with pytest.raises(ConfigError, match=r"prompt\.cloze is not a template"):
        check(config, facts)
