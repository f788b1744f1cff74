"""Calling the model in this process: many pairs, one pair at a time, sixteen responses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyrm.data.synthetic import generate
from tinyrm.serving.model import RewardModel


def measure(model: RewardModel, pairs: int, calls: int) -> dict[str, Any]:
    """Throughput of `compare_batch`, latency of `compare` and of `rank` of 16."""
    data = generate("test", pairs, seed=1, max_difficulty=2)
    started = time.perf_counter()
    found = model.compare_pairs(data)
    seconds = time.perf_counter() - started
    sixteen = [pair.chosen for pair in data[:16]]
    return {
        "compare_batch": {"pairs": pairs, "pairs_per_second": pairs / seconds},
        "accuracy": float(np.mean([one.log_odds > 0 for one in found])),
        "compare_ms": _percentiles(lambda n: model.compare_pairs([data[n % pairs]]), calls),
        "rank_16_all_ms": _percentiles(
            lambda n: model.rank(data[n].prompt, sixteen, method="all"), max(calls // 20, 3)
        ),
        "rank_16_tournament_ms": _percentiles(
            lambda n: model.rank(data[n].prompt, sixteen, method="tournament"), max(calls // 20, 3)
        ),
    }


def _percentiles(call: Callable[[int], Any], times: int) -> dict[str, float]:
    taken = []
    for n in range(times):
        started = time.perf_counter()
        call(n)
        taken.append(1000 * (time.perf_counter() - started))
    return {"n": times, "p50": float(np.percentile(taken, 50)), "p99": float(np.percentile(taken, 99))}
