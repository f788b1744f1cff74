"""Evaluating a saved model on a benchmark or on any pairs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyrm.config import EvaluationConfig
from tinyrm.evaluation.backends import choose_backend
from tinyrm.evaluation.predictions import PREDICTIONS, write_predictions
from tinyrm.evaluation.results import METRICS, EvaluationResult, evaluate
from tinyrm.evaluation.rewardbench_json import ModelCard, write_rewardbench_json
from tinyrm.evaluation.scoring import score
from tinyrm.evaluation.sources import benchmark_pairs
from tinyrm.files import write_json
from tinyrm.model import load_model, merged_net
from tinyrm.prompting import tokenize
from tinyrm.types import PairScores, PreferencePair


def evaluate_saved(
    model: Path,
    benchmark: str,
    path: str | None,
    out: Path,
    *,
    partial: bool = False,
    batch_tokens: int = EvaluationConfig().batch_tokens,
    backend: str = EvaluationConfig().backend,
    cache_dir: str | Path,
) -> EvaluationResult:
    """Score a saved model, and write `metrics.json`, `predictions.parquet` and `rewardbench/` into `out`.

    Args:
        model: a run folder or a folder with a saved model.
        benchmark: 'pairs', 'rewardbench' or 'rewardbench2'.
        path: local copy; see :func:`benchmark_pairs`.
        out: made if missing.
        partial: accept a benchmark that lacks subsets.
        batch_tokens: tokens of one batch.
        backend: what scores, see :mod:`tinyrm.evaluation.backends`; 'auto' is float32.
        cache_dir: where exported graphs are kept.

    Raises:
        ModelError, DataError, ConfigError: what is missing and what would be right.
    """
    chosen = choose_backend(backend)
    saved = load_model(model)
    pairs = benchmark_pairs(benchmark, path)
    tokens = tokenize(pairs, saved.tokenizer, spaced=saved.layout.spaced)
    encoded = saved.layout.bind(tokens)
    net = chosen.ready(merged_net(saved.net), encoded, cache_dir)
    shown = sys.stderr.isatty()
    scores = score(net, encoded, batch_tokens=batch_tokens, precision=chosen.precision, progress=shown)
    result = evaluate(benchmark, pairs, scores, partial)
    name = f"tinyrm/{saved.description.model.id}-{saved.description.config_hash}"
    write_results(out, result, pairs, scores, name=name, scoring=asdict(chosen))
    return result


def write_results(
    folder: Path,
    result: EvaluationResult,
    pairs: Sequence[PreferencePair],
    scores: PairScores,
    *,
    name: str,
    bag: NDArray[np.float64] | None = None,
    **more: Any,
) -> None:
    """Write `metrics.json` (with `more` beside the numbers), `predictions.parquet` and `rewardbench/`.

    Args:
        bag: (n,) log-odds of a bag of words for the same pairs, where there is one.

    Raises:
        StorageError: no space or no permission; nothing half-written stays under a final name.
    """
    write_predictions(folder / PREDICTIONS, pairs, scores, bag)
    write_rewardbench_json(folder / "rewardbench", result, pairs, scores, ModelCard(model=name))
    write_json(folder / METRICS, {**more, **result.to_json()})
