"""A tokenizer of our own."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tinyrm.prompting import compile_template
from tinyrm.prompting.wordpiece import train_tokenizer

TEXTS = [f"The quick brown fox jumps over {n} lazy dogs.\nIt does so again, and again." for n in range(40)]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS, 300, lowercase=True, context=128)


def test_words_that_are_frequent_are_one_token(tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(tokenizer) <= 300
    assert tokenizer.tokenize("The quick fox") == ["the", "quick", "fox"]


def test_digits_and_line_ends_are_tokens_of_their_own(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer.tokenize("over 1234\nagain") == ["over", "1", "##2", "##3", "##4", "⏎", "again"] or (
        tokenizer.tokenize("over 1234\nagain") == ["over", "1", "2", "3", "4", "⏎", "again"]
    )


def test_letters_are_single_tokens_and_the_mask_is_known(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = [tokenizer.convert_tokens_to_ids(tokenizer.tokenize(word)) for word in ("A", "B")]
    assert all(len(i) == 1 and i[0] != tokenizer.unk_token_id for i in ids) and ids[0] != ids[1]
    template = compile_template("{prompt}{sep}{a}{sep}{b} {unused} {mask}", tokenizer)
    assert template.mask_piece is not None and template.tokens == 6  # [CLS] [SEP] [SEP] [unused0] [MASK] [SEP]


def test_it_is_the_same_after_saving(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    tokenizer.save_pretrained(str(tmp_path))
    again = AutoTokenizer.from_pretrained(str(tmp_path))
    assert again(TEXTS[3])["input_ids"] == tokenizer(TEXTS[3])["input_ids"]
    assert again.mask_token == "[MASK]" and "token_type_ids" not in again(TEXTS[3])
