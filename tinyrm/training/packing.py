"""Documents as rows of one length, and which of their tokens are to be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tinyrm.prompting import TensorBatch

_CHUNK = 512  # documents tokenised at once
_LEFT, _REPLACED = 0.8, 0.9  # of the tokens to predict: [MASK] below the first, another token below the second


@dataclass(frozen=True)
class TextTokens:
    """Tokenised documents as one flat array.

    Attributes:
        ids: (total,) int32.
        offsets: (n + 1,) int64; document `i` is `ids[offsets[i] : offsets[i + 1]]`.
        tokenizer: whose ids they are.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    tokenizer: PreTrainedTokenizerBase

    @classmethod
    def of(cls, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> TextTokens:
        """Tokenise, special tokens in the text split into ordinary ones."""
        arrays: list[NDArray[np.int32]] = []
        for start in range(0, len(texts), _CHUNK):
            chunk = [text.encode("utf-8", "replace").decode("utf-8") for text in texts[start : start + _CHUNK]]
            made = tokenizer(chunk, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
            arrays += [np.asarray(ids, dtype=np.int32) for ids in made]
        offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
        np.cumsum([len(a) for a in arrays], out=offsets[1:])
        return cls(np.concatenate(arrays), offsets, tokenizer)

    def rows(self, length: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """(n, length): the documents of one epoch end to end in a shuffled order, each row between [CLS] and [SEP].

        What does not fill the last row is left out of this epoch.
        """
        separator = np.array([self.tokenizer.sep_token_id], np.int32)
        order = np.random.default_rng([seed, epoch, 2]).permutation(len(self.offsets) - 1)
        parts = (part for i in order for part in (self.ids[self.offsets[i] : self.offsets[i + 1]], separator))
        stream = np.concatenate(list(parts))
        inner = length - 2
        whole = stream[: len(stream) // inner * inner].reshape(-1, inner)
        first = np.full((len(whole), 1), self.tokenizer.cls_token_id)
        last = np.full((len(whole), 1), self.tokenizer.sep_token_id)
        return np.concatenate([first, whole, last], axis=1).astype(np.int64)


def masked_rows(
    rows: NDArray[np.int64],
    rate: float,
    tokenizer: PreTrainedTokenizerBase,
    draw: np.random.Generator,
    *,
    always: bool = False,
) -> TensorBatch:
    """A batch (see :class:`MaskedNet`) that asks for a share of the tokens; special ones are never asked for.

    Args:
        rows: (n, length) token ids.
        rate: share to predict.
        tokenizer: its mask and special tokens.
        draw: what decides which.
        always: put the mask in all their places, not in 80% of them.
    """
    special = np.isin(rows, np.array(tokenizer.all_special_ids))
    chosen = (draw.random(rows.shape) < rate) & ~special
    if not chosen.any():
        chosen.flat[np.flatnonzero(~special)[:1]] = True
    fate = np.zeros(rows.shape) if always else draw.random(rows.shape)
    shown = rows.copy()
    shown[chosen & (fate < _LEFT)] = tokenizer.mask_token_id
    swapped = chosen & (fate >= _LEFT) & (fate < _REPLACED)
    shown[swapped] = draw.integers(len(tokenizer), size=int(swapped.sum()))
    places = torch.from_numpy(np.flatnonzero(chosen))
    return {
        "passes": [{"input_ids": torch.from_numpy(shown), "places": places}],
        "targets": torch.from_numpy(rows[chosen]),
    }
