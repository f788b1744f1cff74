"""The backbones that come with the installation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tinyrm.config import ModelConfig, check, compose
from tinyrm.errors import ModelError
from tinyrm.model import FAMILIES, Backbone, MaskedNet, find_backbone, load_weights, packaged
from tinyrm.training.packing import TextTokens, masked_rows

TEXTS = [  # written for this test
    "The river rises in the mountains and flows to the sea. Many people live along its banks and drink its water.",
    "Question: Ann has 3 apples and buys 4 more. How many apples does she have now?\nAnswer: She has 3 + 4 = 7 apples.",
    "To list the files of a directory, use the command with the path of the directory as its first argument.",
    "In the nineteenth century the government of the country changed, and with it the lives of its people.",
]


@pytest.fixture(scope="module")
def nano() -> Backbone:
    return find_backbone(ModelConfig(id="nano", source="packaged"))


def test_nano_is_deep_enough_for_a_sweep_of_frozen_layers(nano: Backbone) -> None:
    assert (nano.layers, nano.context, nano.family) == (14, 1024, FAMILIES["modernbert"])
    for freeze in (6, 12):
        config = compose(["model=nano", f"freeze={freeze}"])
        check(config, nano.facts(config.prompt, "cloze"))


def test_its_files_are_small_and_its_card_names_every_source(nano: Backbone) -> None:
    folder = packaged.packaged_path("nano")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 12 * 2**20
    card = (folder / "README.md").read_text(encoding="utf-8")
    for source in ("openstax", "PowerShell-Docs", "tldr", "TheAlgorithms", "hh-rlhf", "grade-school-math", "rust-lang"):
        assert source in card
    assert "CC BY 4.0" in card and "tinyrm pretrain +recipe=nano" in card and "cannot do" in card


def test_it_fills_masks(nano: Backbone) -> None:
    """Far better than its shape with random weights, whose loss is that of any guess among the vocabulary."""
    rows = TextTokens.of(TEXTS * 3, nano.tokenizer).rows(48, seed=0, epoch=0)
    batch = masked_rows(rows, 0.15, nano.tokenizer, np.random.default_rng(0), always=True)
    losses = {}
    for name in ("nano", "nano_random"):
        found = find_backbone(compose([f"model={name}"]).model)
        with torch.no_grad():
            logits = MaskedNet(load_weights(found, "cloze", seed=0), found.family)(batch)
        losses[name] = float(F.cross_entropy(logits, batch["targets"]))
    assert losses["nano_random"] == pytest.approx(math.log(len(nano.tokenizer)), abs=0.5)
    assert losses["nano"] < losses["nano_random"] - 3


def test_an_unknown_one_names_the_near_ones() -> None:
    with pytest.raises(ModelError, match=r"no packaged model 'nanoo'\. Did you mean 'nano'"):
        packaged.packaged_path("nanoo")
