"""Running an encoder layer by layer: from any depth, and in the last layer for one position a row.

Whoever reads one position of the last layer needs keys and values of all tokens there, but one query, one attention
output and one MLP a row. The layers' own modules compute everything, adapters included; only how they are called is
ours, and only with attention by `sdpa` (or `eager`). Equal to the whole model but for rounding, and for dropout, which
draws other numbers where there are fewer of them to draw.

Shapes: `hidden` is (rows, seqlen, d), padded on the right; a mask is (rows, seqlen), 1 for a real token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyrm.model.dora import linear_rows

_ATTENTIONS = ("sdpa", "eager")


@dataclass(frozen=True)
class Around:
    """What a layer needs beside the hidden states.

    Attributes:
        masks: kind of attention -> (rows, 1, 1 or seqlen, seqlen) bool, True where a token may look; None: everywhere.
        rotations: kind of attention -> cosine and sine (1, seqlen, d of a head); empty without rotary embeddings.
    """

    masks: dict[str, Tensor | None]
    rotations: dict[str, tuple[Tensor, Tensor]]


class Encoder(ABC):
    """An encoder of a `transformers` model.

    Args:
        module: the encoder itself, below the heads.
        layers: its layers, first to last.
    """

    def __init__(self, module: nn.Module, layers: list[nn.Module]) -> None:
        self.module: Any = module
        self.layers: list[Any] = layers

    @staticmethod
    def can_run(module: nn.Module) -> bool:
        """Whether the encoder computes attention in a way that we know."""
        config: Any = module.config
        return config._attn_implementation in _ATTENTIONS and not getattr(config, "is_decoder", False)

    @abstractmethod
    def embed(self, rows: dict[str, Tensor]) -> Tensor:
        """What the first layer is given, for token ids (and types)."""

    @abstractmethod
    def around(self, hidden: Tensor, mask: Tensor) -> Around:
        """What every layer needs beside its input, once a batch."""

    @abstractmethod
    def layer(self, index: int, hidden: Tensor, around: Around) -> Tensor:
        """The output of one layer."""

    @abstractmethod
    def layer_at(self, index: int, hidden: Tensor, around: Around, position: Tensor) -> Tensor:
        """The output of one layer at `position` (rows,) alone: (rows, d)."""

    def finish(self, hidden: Tensor) -> Tensor:
        """What comes after the last layer, for (rows, d)."""
        return hidden

    def run(self, rows: dict[str, Tensor], start: int, stop: int) -> Tensor:
        """Layers `start` to `stop` - 1; `rows` holds token ids, or from `start` > 0 what lies before that layer."""
        hidden = rows["hidden"] if "hidden" in rows else self.embed(rows)
        return self._through(hidden, self.around(hidden, rows["attention_mask"]), start, stop)

    def run_at(self, rows: dict[str, Tensor], start: int, position: Tensor) -> Tensor:
        """The encoder's output at one position a row, (rows, d), from layer `start` on; `rows` as in :meth:`run`."""
        hidden = rows["hidden"] if "hidden" in rows else self.embed(rows)
        last = len(self.layers) - 1
        if start > last:  # every layer has been run
            return self.finish(at(hidden, position))
        around = self.around(hidden, rows["attention_mask"])
        hidden = self._through(hidden, around, start, last)
        return self.finish(self.layer_at(last, hidden, around, position))

    def _through(self, hidden: Tensor, around: Around, start: int, stop: int) -> Tensor:
        for index in range(start, stop):
            hidden = self.layer(index, hidden, around)
        return hidden


class BertEncoder(Encoder):
    """BERT and RoBERTa: post-norm layers, one kind of attention."""

    def embed(self, rows: dict[str, Tensor]) -> Tensor:
        embedded: Tensor = self.module.embeddings(rows["input_ids"], token_type_ids=rows.get("token_type_ids"))
        return embedded

    def around(self, hidden: Tensor, mask: Tensor) -> Around:
        return Around({"full": _padding(mask)}, {})

    def layer(self, index: int, hidden: Tensor, around: Around) -> Tensor:
        # The whole square: the attention of `transformers` does not spread a mask over the queries.
        mask = around.masks["full"]
        wide = None if mask is None else mask.expand(-1, -1, hidden.shape[1], -1)
        output: Tensor = self.layers[index](hidden, attention_mask=_for(self.module.config, wide, hidden))
        return output

    def layer_at(self, index: int, hidden: Tensor, around: Around, position: Tensor) -> Tensor:
        layer, own = self.layers[index], at(hidden, position)
        attention = layer.attention.self
        query = _heads(attention.query(own)[:, None], attention.attention_head_size)
        key, value = (
            _heads(project(hidden), attention.attention_head_size) for project in (attention.key, attention.value)
        )
        drop = attention.dropout.p if attention.training else 0.0
        mixed = _attend(query, key, value, around.masks["full"], drop)
        output: Tensor = layer.feed_forward_chunk(layer.attention.output(mixed, own))
        return output


class ModernBertEncoder(Encoder):
    """ModernBERT: pre-norm layers, rotary embeddings, full attention in some layers and a sliding window in others."""

    def embed(self, rows: dict[str, Tensor]) -> Tensor:
        embedded: Tensor = self.module.embeddings(rows["input_ids"])
        return embedded

    def around(self, hidden: Tensor, mask: Tensor) -> Around:
        config, length = self.module.config, hidden.shape[1]
        padding = _padding(mask)
        places = torch.arange(length, device=hidden.device)
        masks: dict[str, Tensor | None] = {"full_attention": padding, "sliding_attention": padding}
        if torch.compiler.is_compiling() or length > config.sliding_window + 1:
            near = (places[:, None] - places[None, :]).abs() <= config.sliding_window
            masks["sliding_attention"] = near[None, None] if padding is None else near & padding
        kinds = dict.fromkeys(config.layer_types)
        rotations = {kind: self.module.rotary_emb(hidden, places[None], kind) for kind in kinds}
        return Around(masks, rotations)

    def layer(self, index: int, hidden: Tensor, around: Around) -> Tensor:
        layer = self.layers[index]
        mask = around.masks[layer.attention_type]
        wide = None if mask is None else mask.expand(hidden.shape[0], -1, hidden.shape[1], -1)
        output: Tensor = layer(
            hidden,
            attention_mask=_for(self.module.config, wide, hidden),
            position_embeddings=around.rotations[layer.attention_type],
        )
        return output

    def layer_at(self, index: int, hidden: Tensor, around: Around, position: Tensor) -> Tensor:
        layer, attention = self.layers[index], self.layers[index].attn
        normed, width, size = layer.attn_norm(hidden), hidden.shape[-1], attention.head_dim
        query = _heads(linear_rows(attention.Wqkv, at(normed, position), slice(0, width))[:, None], size)
        both = linear_rows(attention.Wqkv, normed, slice(width, 3 * width))
        key, value = (_heads(part, size) for part in both.chunk(2, dim=-1))
        cosine, sine = around.rotations[layer.attention_type]
        key = _rotated(key, cosine[:, None], sine[:, None])
        query = _rotated(query, cosine[0, position][:, None, None], sine[0, position][:, None, None])
        mask = around.masks[layer.attention_type]
        if mask is not None and mask.shape[2] > 1:  # its line at each row's position
            mask = mask.expand(hidden.shape[0], -1, -1, -1)[torch.arange(position.shape[0]), :, position][:, :, None]
        mixed = _attend(query, key, value, mask, attention.attention_dropout if attention.training else 0.0)
        own = at(hidden, position) + attention.out_drop(attention.Wo(mixed))
        output: Tensor = own + layer.mlp(layer.mlp_norm(own))
        return output

    def finish(self, hidden: Tensor) -> Tensor:
        normed: Tensor = self.module.final_norm(hidden)
        return normed


def at(hidden: Tensor, position: Tensor) -> Tensor:
    """(rows, seqlen, d), (rows,) -> (rows, d)."""
    return hidden[torch.arange(position.shape[0], device=hidden.device), position]


def _padding(mask: Tensor) -> Tensor | None:
    """(rows, 1, 1, seqlen) bool; None where nothing is padded, which lets attention take its fastest way."""
    real = mask.bool()
    if not torch.compiler.is_compiling() and bool(real.all()):  # an exported graph must hold for any batch
        return None
    return real[:, None, None, :]


def _for(config: Any, mask: Tensor | None, hidden: Tensor) -> Tensor | None:
    """A mask as the configured attention takes it: `eager` adds it to the scores."""
    if mask is None or config._attn_implementation != "eager":
        return mask
    return torch.zeros_like(mask, dtype=hidden.dtype).masked_fill(~mask, torch.finfo(hidden.dtype).min)


def _heads(projected: Tensor, size: int) -> Tensor:
    """(rows, tokens, d) -> (rows, heads, tokens, size)."""
    return projected.view(*projected.shape[:-1], -1, size).transpose(1, 2)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """Attention of one query a row: (rows, heads, 1, size) -> (rows, d)."""
    return F.scaled_dot_product_attention(query, key, value, mask, dropout).flatten(1)


def _rotated(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary position embedding (Su et al. 2021), its two halves side by side, in float32 as in `transformers`."""
    first, second = states.float().chunk(2, dim=-1)
    turned = states.float() * cosine + torch.cat((-second, first), dim=-1) * sine
    return turned.to(states.dtype)
