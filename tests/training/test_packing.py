"""Rows of packed text and their masks."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tinyrm.model.packaged import packaged_path
from tinyrm.training.packing import TextTokens, masked_rows


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(str(packaged_path("minilm")))
    return found


@pytest.fixture(scope="module")
def text(tokenizer: PreTrainedTokenizerBase) -> TextTokens:
    return TextTokens.of([f"document {i} says [MASK] " + "word " * (i % 7) for i in range(80)], tokenizer)


def test_every_token_is_in_one_row_and_documents_stay_whole_but_for_cuts(text: TextTokens) -> None:
    rows = text.rows(32, seed=0, epoch=0)
    t = text.tokenizer
    assert (rows[:, 0] == t.cls_token_id).all() and (rows[:, -1] == t.sep_token_id).all()
    inside = rows[:, 1:-1].reshape(-1)
    total = len(text.ids) + len(text.offsets) - 1  # a separator after each
    assert total - 30 < len(inside) <= total
    documents = {tuple(text.ids[a:b]) for a, b in zip(text.offsets[:-1], text.offsets[1:], strict=True)}
    found = np.split(inside, np.flatnonzero(inside == t.sep_token_id))
    assert all(tuple(part[part != t.sep_token_id]) in documents for part in found[1:-1])
    assert not (inside == t.mask_token_id).any()  # text cannot put in special tokens


def test_the_order_is_drawn_anew_in_each_epoch(text: TextTokens) -> None:
    first, again, other = (text.rows(32, seed=0, epoch=e) for e in (0, 0, 1))
    assert (first == again).all() and not (first == other).all()


def test_a_share_is_asked_for_and_most_of_it_is_masked(text: TextTokens) -> None:
    rows = np.concatenate([text.rows(64, seed=0, epoch=e) for e in range(40)])
    t = text.tokenizer
    batch = masked_rows(rows, 0.3, t, np.random.default_rng(0))
    shown, places = batch["passes"][0]["input_ids"].numpy(), batch["passes"][0]["places"].numpy()
    ordinary = ~np.isin(rows, t.all_special_ids)
    assert len(places) / ordinary.sum() == pytest.approx(0.3, abs=0.01)
    assert ordinary.reshape(-1)[places].all()
    assert (batch["targets"].numpy() == rows.reshape(-1)[places]).all()
    at = shown.reshape(-1)[places]
    assert (at == t.mask_token_id).mean() == pytest.approx(0.8, abs=0.01)
    assert (at == batch["targets"].numpy()).mean() == pytest.approx(0.1, abs=0.01)
    elsewhere = np.ones(rows.size, bool)
    elsewhere[places] = False
    assert (shown.reshape(-1)[elsewhere] == rows.reshape(-1)[elsewhere]).all()


def test_held_out_text_is_masked_wherever_it_is_asked_for(text: TextTokens) -> None:
    rows = text.rows(64, seed=0, epoch=0)
    batch = masked_rows(rows, 0.15, text.tokenizer, np.random.default_rng(0), always=True)
    rows_shown = batch["passes"][0]
    assert (rows_shown["input_ids"].flatten()[rows_shown["places"]] == text.tokenizer.mask_token_id).all()
