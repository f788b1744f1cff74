"""Scoring: a `transformers` pipeline, and ours by each backend, with what the quicker ones change."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tinyrm.evaluation.backends import choose_backend
from tinyrm.evaluation.scoring import score
from tinyrm.experiment import run
from tinyrm.model import RewardNet, load_model, merged_net
from tinyrm.training import FrozenStore

from .setup import Figures, Size, Start, start

SCORED_MODEL = "the model that is scored"  # trained first, for all
EXACT = "score: ours"
STORED = "score: ours, store filled"
BACKENDS = {"score: ours, bf16": "bf16", "score: ours, int8": "int8", "score: ours, onnx": "onnx"}
TOLERANCE = {"score: ours, onnx": 1e-3, STORED: 1e-3}  # of a log-odds; what is float32 must not change it


def model_folder(cache: str) -> Path:
    """Where the model lies that is scored: beside the caches of the contenders."""
    return Path(cache).parent / "model"


def train_scored(size: Size, data: str | None, cache: str) -> Figures:
    """A Bradley-Terry model, so that verdicts mean something: full finetuning above the frozen layers, one epoch."""
    settings = ("objective=bradley_terry", "adapter=full", "optimizer.lr=1e-4", "trainer.save_model=merged")
    begun = start(size, data, *settings, f"data.max_train_pairs={size.scored}", f"data.cache_dir={cache}")
    record = run(begun.config, model_folder(cache)).record
    return {"pairs_per_second": record["throughput"]["pairs_per_second"]}


def ours_scoring(size: Size, data: str | None, cache: str, *, backend: str = "float32", store: bool = False) -> Figures:
    """`score`: sorted by length, adapters merged, one position of the last layer."""
    begun, net = _model(size, data, cache)
    chosen = choose_backend(backend, begun.config.trainer)
    began = time.perf_counter()
    ready = chosen.ready(net, begun.test, cache)
    prepared = time.perf_counter() - began
    frozen = FrozenStore(begun.config.speed, cache, shared=True) if store else None
    tokens = begun.config.evaluation.batch_tokens
    began = time.perf_counter()
    scores = score(ready, begun.test, batch_tokens=tokens, precision=chosen.precision, frozen=frozen)
    seconds = time.perf_counter() - began
    return {
        "pairs_per_second": len(begun.test) / seconds,
        "ready_seconds": prepared,
        "accuracy": float(np.mean(scores.log_odds > 0)),
        "log_odds": scores.log_odds.tolist(),
    }


def pipeline_scoring(size: Size, data: str | None, cache: str) -> Figures:
    """A `text-classification` pipeline, called as the `rewardbench` tools call it: chosen texts, then rejected ones."""
    from transformers import pipeline

    begun, net = _model(size, data, cache)
    tokenizer = begun.base.backbone.tokenizer
    pipe = pipeline("text-classification", model=net.base_model, tokenizer=tokenizer, device="cpu")
    pairs = begun.pairs.reported
    texts = [
        [{"text": pair.prompt_text, "text_pair": response} for pair, response in zip(pairs, side, strict=True)]
        for side in ([p.chosen for p in pairs], [p.rejected for p in pairs])
    ]
    settings = {"batch_size": 8, "truncation": True, "padding": True, "max_length": 512, "function_to_apply": "none"}
    began = time.perf_counter()
    for side in texts:
        pipe(side, **settings)
    return {"pairs_per_second": len(pairs) / (time.perf_counter() - began)}


def losses(contenders: Mapping[str, Figures]) -> dict[str, Figures]:
    """What each way of scoring changes against float32: takes `log_odds` out of the figures.

    `accuracy`: the change, in shares of all pairs; `flipped`: pairs with another verdict; `largest_difference`: of a
    log-odds, beside the `spread` (standard deviation) of those of float32.
    """
    found = {name: np.array(own.pop("log_odds")) for name, own in contenders.items() if "log_odds" in own}
    exact = found.pop(EXACT, None)
    if exact is None:
        return {}
    return {
        name: {
            "pairs": len(exact),
            "accuracy": float(np.mean(own > 0) - np.mean(exact > 0)),
            "flipped": float(np.mean((own > 0) != (exact > 0))),
            "largest_difference": float(np.abs(own - exact).max()),
            "spread": float(exact.std()),
        }
        for name, own in found.items()
    }


def _model(size: Size, data: str | None, cache: str) -> tuple[Start, RewardNet]:
    saved = load_model(model_folder(cache))
    if saved.description.objective != "bradley_terry":
        raise ValueError("a pipeline scores single responses: give a model of objective=bradley_terry")
    pairs = f"data.max_test_pairs={size.scored}"
    begun = start(size, data, "objective=bradley_terry", pairs, f"data.cache_dir={cache}")
    net = merged_net(saved.net)
    net.freeze = saved.description.freeze  # what the store may keep
    return begun, net
