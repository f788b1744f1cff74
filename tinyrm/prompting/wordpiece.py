"""Training a WordPiece tokenizer for a small masked language model."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

_NAMES = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_UNUSED = ("[unused0]", "[unused1]")
_NEWLINE = "⏎"  # U+23CE
_ALPHABET = 400  # characters that have a token of their own
_MIN_FREQUENCY = 5


def train_tokenizer(texts: Iterable[str], vocab_size: int, *, lowercase: bool, context: int) -> PreTrainedTokenizerFast:
    """A fast tokenizer of `vocab_size` entries, learnt from `texts`.

    Words are split as BERT does (Devlin et al. 2019), each digit is a token of its own, and the end of a line is one,
    so that lists and code keep their shape. Letters of the Latin alphabet are always single tokens, and with them the
    usual verbalizers. Which of two pieces that are equally frequent comes in is left to chance, so two
    trainings on one corpus may differ in a few entries: keep the tokenizer.

    Args:
        texts: what it shall be good at.
        vocab_size: entries, the special ones included.
        lowercase: take capitals as small letters, and letters without their accents: fewer tokens.
        context: longest sequence of the model, in tokens.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token=_NAMES["unk_token"]))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Replace("\n", f" {_NEWLINE} "),
            normalizers.BertNormalizer(lowercase=lowercase, strip_accents=lowercase),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(individual_digits=True)]
    )
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=_MIN_FREQUENCY,
        limit_alphabet=_ALPHABET,
        initial_alphabet=[chr(c) for c in range(33, 127)],
        special_tokens=[*_NAMES.values(), *_UNUSED],
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=context,
        model_input_names=["input_ids", "attention_mask"],
        **_NAMES,
    )
