"""Pairs -> tensors, for each objective: what the model sees.

A :class:`Layout` is a template made ready for one tokenizer; bound to tokenised pairs it gives :class:`EncodedPairs`,
whose `lengths` say how many tokens each row of a pair takes (for batching) and whose `collate` makes the tensors:

- `passes`: list of forward passes, each with rows of like length (at most 5% padding):
    - `input_ids`, `attention_mask`: (rows, seqlen) int64; 1 in the mask is a real token.
    - `token_type_ids`: (rows, seqlen) int64, only where the model has segment embeddings.
    - `mask_position`: (rows,) int64, where the mask token stands (cloze only).
- `unsort`: (all rows,) int64, puts the rows of the concatenated passes back into the order of the pairs.
- `sign`: (pairs,) float32, +1 where the chosen response is option A, -1 where it is option B (cloze only).

Rows of single responses stand as all chosen ones, then all rejected ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tinyrm.config import PromptConfig
from tinyrm.data.batching import chunk_rows
from tinyrm.prompting.template import Template, compile_template
from tinyrm.prompting.tokens import PARTS, PairTokens
from tinyrm.prompting.truncation import allot, keep

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RowBatch = dict[str, Tensor]
TensorBatch = dict[str, Any]  # see the module
PROMPT, CHOSEN, REJECTED = range(len(PARTS))


def to_device(batch: TensorBatch, device: torch.device) -> TensorBatch:
    """The same batch on a device; to a GPU from pinned memory, so that the copy need not be waited for."""
    pinned = device.type == "cuda"

    def moved(value: Any) -> Any:
        if not isinstance(value, Tensor):  # a name
            return value
        return (value.pin_memory() if pinned else value).to(device, non_blocking=pinned)

    whole: TensorBatch = {key: moved(value) for key, value in batch.items() if key != "passes"}
    whole["passes"] = [{key: moved(value) for key, value in rows.items()} for rows in batch["passes"]]
    return whole


@dataclass(frozen=True)
class Layout:
    """A compiled template with what is needed to lay out rows.

    Attributes:
        objective: 'cloze' or 'bradley_terry': which of the prompt's templates this is.
        template: its compiled form.
        config: shares of the budget, longest sequence.
        pad_id: token id of padding.
        segment_types: how many segment embeddings the backbone has.
    """

    objective: str
    template: Template
    config: PromptConfig
    pad_id: int
    segment_types: int

    @classmethod
    def of(cls, objective: str, config: PromptConfig, tokenizer: PreTrainedTokenizerBase, segment_types: int) -> Layout:
        """Compile the template of `config` that `objective` uses."""
        text = config.cloze if objective == "cloze" else config.single
        template = compile_template(text, tokenizer)
        return cls(objective, template, config, int(tokenizer.pad_token_id), segment_types)

    @property
    def spaced(self) -> frozenset[str]:
        """Parts of a pair that get a leading blank before tokenising (see :class:`Template`)."""
        slots = self.template.spaced
        responses = frozenset(PARTS[1:]) if slots & {"a", "b", "response"} else frozenset()
        return (slots & {"prompt"}) | responses

    def bind(self, tokens: PairTokens) -> EncodedPairs:
        """The rows of these pairs."""
        return (ClozePairs if self.objective == "cloze" else SinglePairs)(self, tokens)


class EncodedPairs(ABC):
    """Tokenised pairs under a layout; see the module for the tensors of a batch.

    Attributes:
        rows_per_pair: rows a pair adds to a batch.
        kept: (n, 3) tokens of prompt, chosen and rejected that fit; for objectives that see one response a row, the
            prompt's is the smaller of the two rows'.
        lengths: (n, rows_per_pair) tokens of each row, template included.
    """

    rows_per_pair: ClassVar[int]
    kept: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __init__(self, layout: Layout, tokens: PairTokens) -> None:
        self.layout = layout
        self.tokens = tokens
        self.budget = layout.config.max_tokens - layout.template.tokens

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def truncated(self) -> NDArray[np.bool_]:
        """(n,) whether any part of a pair was cut."""
        cut: NDArray[np.bool_] = np.any(self.kept < self.tokens.lengths, axis=1)
        return cut

    @abstractmethod
    def collate(self, pairs: Sequence[int], chosen_first: Sequence[bool]) -> TensorBatch:
        """The tensors of these pairs; `chosen_first` says for each whether the chosen response is option A."""

    def _part(self, pair: int, part: int, count: int) -> NDArray[np.int32]:
        share = self.layout.config.share
        return keep(self.tokens.part(pair, part), count, share.prompt_head if part == PROMPT else share.response_head)

    def _passes(self, rows: list[dict[str, NDArray[np.int32]]]) -> TensorBatch:
        lengths = np.array([sum(map(len, row.values())) for row in rows]) + self.layout.template.tokens
        chunks = chunk_rows(lengths)
        unsort = np.argsort(np.concatenate(chunks), kind="stable")
        return {"passes": [self._pad([rows[r] for r in chunk]) for chunk in chunks], "unsort": torch.from_numpy(unsort)}

    def _pad(self, rows: list[dict[str, NDArray[np.int32]]]) -> RowBatch:
        """Lay out rows (slot -> ids), padded on the right to the longest."""
        template, literals = self.layout.template, self.layout.template.tokens
        longest = max(sum(map(len, row.values())) for row in rows) + literals
        ids = np.full((len(rows), longest), self.layout.pad_id, dtype=np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        positions = np.zeros(len(rows), dtype=np.int64)
        for r, row in enumerate(rows):
            at = 0
            for index, piece in enumerate(template.pieces):
                if index == template.mask_piece:
                    positions[r] = at
                filling = row[piece] if isinstance(piece, str) else piece
                end = at + len(filling)
                ids[r, at:end] = filling
                if isinstance(piece, str) and piece == "b" and self.layout.config.segments:
                    types[r, at:end] = 1
                at = end
            mask[r, :at] = 1
        batch = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        if self.layout.segment_types > 1:
            batch["token_type_ids"] = torch.from_numpy(types)
        if template.mask_piece is not None:
            batch["mask_position"] = torch.from_numpy(positions)
        return batch


class ClozePairs(EncodedPairs):
    """One row a pair: template, prompt, both options and the mask."""

    rows_per_pair = 1

    def __init__(self, layout: Layout, tokens: PairTokens) -> None:
        super().__init__(layout, tokens)
        prompt = layout.config.share.prompt
        self.kept = allot(tokens.lengths, np.array([prompt, (1 - prompt) / 2, (1 - prompt) / 2]), self.budget)
        self.lengths = self.kept.sum(axis=1, keepdims=True) + layout.template.tokens

    def collate(self, pairs: Sequence[int], chosen_first: Sequence[bool]) -> TensorBatch:
        rows = []
        for pair, first in zip(pairs, chosen_first, strict=True):
            prompt, better, worse = (self._part(pair, p, int(self.kept[pair, p])) for p in range(len(PARTS)))
            rows.append({"prompt": prompt, "a": better if first else worse, "b": worse if first else better})
        batch = self._passes(rows)
        batch["sign"] = torch.tensor([1.0 if first else -1.0 for first in chosen_first])
        return batch


class SinglePairs(EncodedPairs):
    """Two rows a pair: all chosen responses of the batch, then all rejected ones, each after its prompt.

    The order of presentation has no meaning here: `chosen_first` is ignored.
    """

    rows_per_pair = 2

    def __init__(self, layout: Layout, tokens: PairTokens) -> None:
        super().__init__(layout, tokens)
        shares = np.array([layout.config.share.prompt, 1 - layout.config.share.prompt])
        sides = [allot(tokens.lengths[:, [PROMPT, part]], shares, self.budget) for part in (CHOSEN, REJECTED)]
        self._sides = dict(zip((CHOSEN, REJECTED), sides, strict=True))
        self.kept = np.stack([np.minimum(sides[0][:, 0], sides[1][:, 0]), sides[0][:, 1], sides[1][:, 1]], axis=1)
        self.lengths = np.stack([side.sum(axis=1) for side in sides], axis=1) + layout.template.tokens

    def collate(self, pairs: Sequence[int], chosen_first: Sequence[bool]) -> TensorBatch:
        rows = []
        for part in (CHOSEN, REJECTED):
            for pair in pairs:
                prompt, response = (int(count) for count in self._sides[part][pair])
                rows.append({"prompt": self._part(pair, PROMPT, prompt), "response": self._part(pair, part, response)})
        return self._passes(rows)
