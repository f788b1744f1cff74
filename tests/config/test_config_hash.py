"""Two configs share a hash exactly when they compute the same."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from tinyrm.config import SourceConfig, TinyRMConfig, compose, config_hash

SHOWS_ONLY = {
    "tracking.loggers",
    "tracking.project",
    "tracking.entity",
    "tracking.name",
    "tracking.group",
    "tracking.tags",
    "tracking.model",
    "tracking.patience_s",
    "trainer.progress",
    "trainer.threads",
    "trainer.checkpoint_steps",
    "trainer.save_model",
    "data.cache_dir",
    "evaluation.batch_tokens",
    "speed.compile",
    "speed.dora",
    "speed.last_layer",
    "speed.optimizer",
    "speed.prefix",
    "speed.prefix_gb",
    "warmup.cache_gb",
}


def leaves(node: Any, path: str = "") -> Iterator[str]:
    for field in fields(node):
        value = getattr(node, field.name)
        here = f"{path}.{field.name}".lstrip(".")
        if is_dataclass(value):
            yield from leaves(value, here)
        else:
            yield here


LEAVES = sorted(leaves(TinyRMConfig()))


def other(key: str, value: Any) -> Any:
    if key == "data.mixture":
        return [SourceConfig()]
    if isinstance(value, dict):
        return {"x": "y"}
    for kind, changed in ((bool, lambda v: not v), (list, lambda v: [*v, "x"]), (str, lambda v: v + "x")):
        if isinstance(value, kind):
            return changed(value)
    return 7 if value is None else value + 1


@pytest.fixture(scope="module")
def config() -> TinyRMConfig:
    return compose(["warmup=sft"])  # with warmup=none its settings decide nothing


@pytest.mark.parametrize("key", LEAVES)
def test_every_key_counts_unless_it_only_shows(key: str, config: TinyRMConfig) -> None:
    changed = copy.deepcopy(config)
    *parents, leaf = key.split(".")
    node: Any = changed
    for parent in parents:
        node = getattr(node, parent)
    setattr(node, leaf, other(key, getattr(node, leaf)))
    assert (config_hash(changed) == config_hash(config)) == (key in SHOWS_ONLY)


def test_hash_is_twelve_digits_and_the_same_again() -> None:
    first, again = config_hash(compose()), config_hash(compose(["optimizer.lr=2e-3", "adapter=dora"]))
    assert first == again
    assert len(first) == 12
    assert set(first) <= set("0123456789abcdef")
    assert config_hash(compose(["optimizer.lr=1e-3"])) != first
    assert config_hash(compose(["tracking=none", "trainer.progress=off", "trainer.threads=3"])) == first
    assert config_hash(compose(["speed=plain"])) == first


def test_the_settings_of_a_warm_up_that_is_not_made_do_not_count() -> None:
    none = config_hash(compose())
    assert config_hash(compose(["warmup=none", "warmup.tokens=5", "warmup.seed=3"])) == none
    assert len({none, config_hash(compose(["warmup=mlm"])), config_hash(compose(["warmup=mlm", "warmup.seed=1"]))}) == 3


def test_only_known_keys_are_left_out() -> None:
    assert set(LEAVES) >= SHOWS_ONLY
