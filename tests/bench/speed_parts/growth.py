"""How the cost of training and scoring grows: with pairs, with their length, with layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from tinyrm import reuse
from tinyrm.config import compose
from tinyrm.evaluation.scoring import score
from tinyrm.model import RewardNet, merged_net
from tinyrm.prompting import TensorBatch
from tinyrm.training import PairDataModule

from .setup import Figures, Size, start
from .steps import seconds_of, step

TOKENS = 4096  # of a batch, whatever its rows' length
LENGTHS, LAYERS, LENGTH = (64, 128, 256, 512), (2, 4, 8, 16), 256


def growth(size: Size, data: str | None) -> Figures:
    """Milliseconds of scoring and of training (DoRA, nothing frozen), the fastest of several, along each axis.

    Returns:
        `axes`: axis -> list of `{"value", "scoring", "training"}`; `exponents`: axis -> the power of it that the two
        grow with, between its first and its last value; `tokens` of a batch, where length or layers vary.
    """
    repeats = max(1, size.repeats // 3)
    lengths = _model(size, ())
    found: dict[str, list[dict[str, float]]] = {
        "pairs": [_pairs(size, data, pairs) for pairs in (size.plain // 4, size.plain // 2, size.plain)],
        "length": [_batch(lengths, length, TOKENS // length, length, repeats) for length in LENGTHS],
        "layers": [
            _batch(
                _model(size, (f"model.shape.num_hidden_layers={layers}",)), layers, TOKENS // LENGTH, LENGTH, repeats
            )
            for layers in LAYERS
        ],
    }
    exponents = {
        axis: {kind: _exponent(rows, kind) for kind in ("scoring", "training")} for axis, rows in found.items()
    }
    return {"axes": found, "exponents": exponents, "tokens": TOKENS}


def _model(size: Size, overrides: tuple[str, ...]) -> RewardNet:
    """Random weights of the contenders' shape: what they hold takes no time."""
    wide = "model.shape={model_type: bert, hidden_size: 384, num_hidden_layers: 6, num_attention_heads: 12, "
    wide += "intermediate_size: 1536, max_position_embeddings: 512}"
    shape = [wide] if size.overrides == ("model=minilm",) else []
    config = compose(["model=tiny", *shape, *overrides, "freeze=0", "adapter.rank=16"])
    return reuse.base(config.model).net(config)


def _pairs(size: Size, data: str | None, pairs: int) -> dict[str, float]:
    """Whole passes over so many pairs: batches made, and all that comes with them."""
    wanted = (f"data.max_test_pairs={pairs}", f"data.max_train_pairs={pairs}", "freeze=0", "adapter.rank=16")
    begun = start(size, data, *wanted)
    net = begun.base.net(begun.config)
    merged, tokens = merged_net(net), begun.config.evaluation.batch_tokens
    scoring = _fastest(lambda: score(merged, begun.test, batch_tokens=tokens), 1)
    batches = PairDataModule(begun.train, begun.dev, begun.config.trainer, 0).train_dataloader()

    def train() -> None:
        for batch in batches:
            step(net.train(), batch)

    return {"value": pairs, "scoring": scoring, "training": _fastest(train, 1)}


def _batch(net: RewardNet, value: int, rows: int, length: int, repeats: int) -> dict[str, float]:
    """One batch of full rows."""
    given = {
        "input_ids": torch.randint(1000, 2000, (rows, length), generator=torch.Generator().manual_seed(0)),
        "attention_mask": torch.ones(rows, length, dtype=torch.long),
        "token_type_ids": torch.zeros(rows, length, dtype=torch.long),
        "mask_position": torch.full((rows,), length - 2),
    }
    batch: TensorBatch = {"passes": [given], "unsort": torch.arange(rows), "sign": torch.ones(rows)}
    merged = merged_net(net)
    with torch.inference_mode():
        scoring = _fastest(lambda: merged(batch), repeats)
    return {"value": value, "scoring": scoring, "training": _fastest(lambda: step(net.train(), batch), repeats)}


def _fastest(action: Callable[[], Any], repeats: int) -> float:
    """Milliseconds; the first call warms up."""
    best = math.inf
    for turn in range(repeats + 1):
        seconds = seconds_of(action)
        best = min(best, 1000 * seconds) if turn else best
    return best


def _exponent(rows: list[dict[str, float]], kind: str) -> float:
    first, last = rows[0], rows[-1]
    return math.log(last[kind] / first[kind]) / math.log(last["value"] / first["value"])
