"""What W&B shows of a run beside its name: each accuracy with n and interval, what it cost, how it ended."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tinyrm.evaluation.metrics import wilson
from tinyrm.masking import masked

_RULES = ("order_consistent", "longer_wins", "shorter_wins", "ties", "truncated")
_LONGEST_REASON = 500


def summary(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Flat names, plain values: `test/chat/accuracy` with `/low`, `/high`, `/n`, `dev/accuracy`, `seconds/train`, ...

    Args:
        record: of run.json, as far as it got.
        folder: the run's, whose metrics.json is read once the run is complete.
    """
    found: dict[str, Any] = {"state": record["state"], **_cost(record)}
    if record.get("error"):
        found["reason"] = masked(str(record["error"]))[:_LONGEST_REASON]
    if record["state"] == "complete":
        found |= _test(folder) | _dev(record) | _heldout(record)
    return {key: value for key, value in found.items() if not (isinstance(value, float) and math.isnan(value))}


def _cost(record: Mapping[str, Any]) -> dict[str, Any]:
    parameters = record.get("parameters", {})
    counts = parameters if isinstance(parameters, dict) else {"all": parameters}
    seconds = record.get("seconds", {})
    return {
        **{f"parameters/{name}": count for name, count in counts.items()},
        **record.get("throughput", {}),
        **{f"seconds/{phase}": spent for phase, spent in seconds.items()},
        "seconds/all": round(sum(seconds.values()), 3),
        **{f"peak_memory_mib/{where}": mib for where, mib in record.get("peak_memory_mib", {}).items()},
    }


def _test(folder: Path) -> dict[str, Any]:
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(_measures(metrics))


def _measures(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    parts = {"overall": metrics["overall"], "pooled": metrics["pooled"], **metrics["sections"]}
    for name, measures in parts.items():
        accuracy = measures["accuracy"]
        yield f"test/{name}/accuracy", accuracy["value"]
        for bound in ("low", "high", "n"):
            yield f"test/{name}/{bound}", accuracy[bound]
        for rule in _RULES:
            if rule in measures:
                yield f"test/{name}/{rule}", measures[rule]["value"]


def _dev(record: Mapping[str, Any]) -> dict[str, Any]:
    """Of the weights that were kept."""
    best = record.get("dev")
    if not best:
        return {}
    pairs = sum(section["dev"] for section in record["data"]["kept"].values())
    interval = wilson(best["accuracy"] * pairs, pairs)
    values = {f"dev/{name}": best[name] for name in ("accuracy", "loss", "order_consistent") if name in best}
    return {**values, "dev/low": interval.low, "dev/high": interval.high, "dev/n": pairs}


def _heldout(record: Mapping[str, Any]) -> dict[str, Any]:
    """Of a pretraining."""
    found: dict[str, Any] = {}
    for name, value in record.get("heldout", {}).items():
        if isinstance(value, dict):  # an accuracy
            found |= {f"heldout/{name}/{'accuracy' if key == 'value' else key}": v for key, v in value.items()}
        else:
            found[f"heldout/{name}"] = value
    return found
