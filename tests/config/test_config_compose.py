"""Every choice composes; a wrong line is answered with the right one."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from omegaconf import OmegaConf

from tinyrm.config import TinyRMConfig, check, check_pretraining, compose, compose_pretraining, config_dir
from tinyrm.errors import ConfigError

CONF = Path(__file__).resolve().parents[2] / "conf"
BESIDE = {"sweep", "sweeps", "recipe"}  # how experiments are swept, and pretrainings: not what an experiment is
FILES = sorted(p.relative_to(CONF) for p in CONF.glob("*/*.yaml") if p.parent.name not in BESIDE)
CHOICES = [f"{path.parent}={path.stem}" for path in FILES]

# What a choice leaves to the person who chooses it.
NEEDS = {
    "data=jsonl": ["data.path=pairs.jsonl"],
    "data=csv": ["data.path=pairs.csv"],
    "data=parquet": ["data.path=pairs.parquet"],
    "data=folder": ["data.path=pairs"],
    "data=hub": ["data.path=owner/name"],
    "data=mixture": ["data.mixture=[{reader:synthetic},{reader:jsonl,path:pairs.jsonl,weight:2}]"],
    "model=local": ["model.path=saved"],
}


def _written(path: Path) -> dict[str, Any]:
    """What a choice's file sets, from the root of the config."""
    written: Any = OmegaConf.to_container(OmegaConf.load(CONF / path)) or {}
    everywhere = (CONF / path).read_text().startswith("# @package _global_")
    return written if everywhere else {str(path.parent): written}


def problem(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        check(compose(overrides))
    return str(caught.value)


def test_config_dir_is_the_one_of_the_checkout() -> None:
    assert config_dir() == CONF
    assert len(CHOICES) > 40


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_and_passes_the_rules(choice: str) -> None:
    config = compose([choice, *NEEDS.get(choice, [])])
    check(config)
    group, name = choice.split("=")
    for part, keys in _written(Path(group, f"{name}.yaml")).items():
        for key, value in keys.items():
            if value != "???":
                assert getattr(getattr(config, part), key) == value


def test_nano_brings_its_learning_rate_and_the_command_line_wins() -> None:
    assert compose().optimizer.lr == compose(["model=nano"]).optimizer.lr == 2e-3
    assert compose(["model=minilm"]).optimizer.lr == 1e-3
    assert compose(["model=nano", "optimizer.lr=1e-4"]).optimizer.lr == 1e-4
    assert compose(["optimizer=muon"]).optimizer.lr == 4e-3
    assert compose_pretraining(["corpus.path=texts"]).optimizer.lr == 3e-4


@pytest.mark.parametrize("recipe", sorted(p.stem for p in (CONF / "recipe").glob("*.yaml")))
def test_every_recipe_composes_and_passes_the_rules(recipe: str) -> None:
    check_pretraining(compose_pretraining([f"+recipe={recipe}", "corpus.path=texts"]))


@pytest.mark.parametrize("choice", sorted(NEEDS))
def test_choices_that_need_a_value_say_which(choice: str) -> None:
    key = NEEDS[choice][0].split("=")[0]
    assert key in problem(choice)


def test_defaults() -> None:
    config = compose()
    assert isinstance(config, TinyRMConfig)
    assert (config.data.reader, config.model.id, config.model.source) == ("synthetic", "nano", "packaged")  # offline
    assert f"prompt={config.prompt.id}" in CHOICES
    assert (config.adapter.kind, config.objective.kind, config.evaluation.benchmark) == ("dora", "cloze", "pairs")
    assert (config.freeze, config.seed, config.tracking.loggers) == (2, 0, ["csv", "wandb"])


def test_cache_dir_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYRM_CACHE", "/somewhere")
    assert compose().data.cache_dir == "/somewhere"
    monkeypatch.delenv("TINYRM_CACHE")
    assert compose().data.cache_dir == "~/.cache/tinyrm"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("adapter.rnak=8", "'adapter' has no key 'rnak' (in 'adapter.rnak'). Did you mean 'rank'?"),
        ("++adapter.rnak=8", "'adapter' has no key 'rnak' (in 'adapter.rnak'). Did you mean 'rank'?"),
        ("data.synthetic.train_pair=1", "'data.synthetic' has no key 'train_pair'"),
        ("freze=3", "the config has no key 'freze' (in 'freze'). Did you mean 'freeze'?"),
        ("adpter=dora", "the config has no key 'adpter' (in 'adpter'). Did you mean 'adapter'?"),
        ("adapter=doar", "there is no adapter=doar. Did you mean 'dora'? All: dora, full, lora, none."),
        ("objective=bt", "there is no objective=bt. Choose one of: bradley_terry, cloze."),
        ("adapter.kind=dorra", "adapter.kind=dorra is not known. Did you mean 'dora' or 'lora'?"),
        ("adapter.rank=big", "adapter.rank: Value 'big' of type 'str' could not be converted to Integer"),
        ("adapter.rank=[1,2]", "adapter.rank: Value '[1, 2]' of type 'list' could not be converted to Integer"),
        ("freeze=abc", "freeze: Value 'abc' of type 'str' could not be converted to Integer"),
        ("+unknown=1", "the config has no key 'unknown' (in 'unknown'). Choose one of: adapter, data,"),
        ("+adapter.ranks=1", "'adapter' has no key 'ranks' (in 'adapter.ranks'). Did you mean 'rank'?"),
        ("data.mixture=[{reader:jsonl,wieght:2}]", "Key 'wieght' not in 'SourceConfig'"),
        ("data.reader=null", "field 'data.reader' is not Optional"),
        ("prompt.id=${foo}", "prompt.id: Interpolation key 'foo' not found"),
        ("adapter.rank", "Error parsing override 'adapter.rank' missing EQUAL"),
    ],
)
def test_a_wrong_line_is_answered_with_the_near_ones(override: str, message: str) -> None:
    assert message in problem(override)


def test_several_unknown_keys_are_told_at_once() -> None:
    told = problem("+unknown=1", "+adapter.ranks=1", "+data.synthetic.more=2")
    assert told.startswith("3 problems in this config:\n  1. ")
    for word in ("'unknown'", "'adapter.ranks'", "'data.synthetic.more'"):
        assert word in told


def test_free_keys_are_given_without_a_plus() -> None:
    """The data layer tells people to write data.columns.FIELD=COLUMN."""
    config = compose(["data=csv", "data.path=x.csv", "data.columns.prompt=question", "data.columns.chosen=good"])
    assert config.data.columns == {"prompt": "question", "chosen": "good"}
    assert compose(["data.columns={prompt:question}"]).data.columns == {"prompt": "question"}
    assert compose(["+data.columns.prompt=question"]).data.columns == {"prompt": "question"}
    assert compose(["model=tiny", "model.shape.hidden_act=relu"]).model.shape["hidden_act"] == "relu"


def _schema_of(cls: Any, key: str) -> Any:
    return get_type_hints(cls)[key] if key in {f.name for f in fields(cls)} else None


def _unknown(node: Any, cls: Any, where: str) -> list[str]:
    if not (is_dataclass(cls) and isinstance(node, dict)):
        return []
    found = []
    for key, value in node.items():
        kind = _schema_of(cls, key)
        found += [f"{where}.{key}"] if kind is None else _unknown(value, kind, f"{where}.{key}")
    return found


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_key_of_a_choice_is_in_the_schema(path: Path) -> None:
    assert _unknown(_written(path), TinyRMConfig, str(path)) == []


def test_the_main_file_chooses_and_sets_nothing() -> None:
    """Defaults are stated once, in the schema: experiment.yaml only names the choice of each group."""
    written = OmegaConf.to_container(OmegaConf.load(CONF / "experiment.yaml"))
    assert isinstance(written, dict)
    assert list(written) == ["defaults"]
    named = {next(iter(entry)) for entry in written["defaults"] if isinstance(entry, dict)}
    groups = {name for name in named if not name.startswith("override hydra/")}
    assert groups == {path.parent.name for path in FILES}
    assert groups | {"freeze", "seed"} == {f.name for f in fields(TinyRMConfig)}
