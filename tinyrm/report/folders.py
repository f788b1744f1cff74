"""What a trial has left in its folder, as far as it is there: a running trial has half of it, a failed one less."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinyrm.errors import DataError
from tinyrm.evaluation.metrics import metric_from_json
from tinyrm.evaluation.predictions import PREDICTIONS, Predictions, read_predictions
from tinyrm.evaluation.probes import Probes, read_probes
from tinyrm.evaluation.results import METRICS
from tinyrm.report.study import Look, SectionScore, TestScores

HISTORY = "checkpoints/history.json"  # as the training layer writes it, which takes seconds to import
THREE = "three_sections"  # RewardBench's view in the paper's sections


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none, or half of one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_metrics(folder: Path) -> dict[str, Any]:
    """The metrics.json of a trial; empty where it has none."""
    return read_json(folder / METRICS)


def test_scores(metrics: Mapping[str, Any]) -> TestScores | None:
    """What metrics.json says, in the paper's sections where it is RewardBench."""
    try:
        whole = metrics["views"].get(THREE) or metrics
        overall = whole["overall"]
        return TestScores(
            _section(overall),
            {name: _section(measures) for name, measures in whole["sections"].items()},
            *(metric_from_json(overall[name]) for name in ("order_consistent", "chosen_longer", "chosen_shorter")),
        )
    except (KeyError, TypeError, AttributeError):
        return None


def _section(measures: Mapping[str, Any]) -> SectionScore:
    rules = (metric_from_json(measures[name]).value for name in ("longer_wins", "shorter_wins"))
    return SectionScore(metric_from_json(measures["accuracy"]), *rules)


def read_curve(folder: Path) -> tuple[Look, ...]:
    """Each evaluation of dev so far."""
    looks = []
    for entry in read_json(folder / HISTORY).get("evaluations", ()):
        numbers = [float(entry.get(key, math.nan)) for key in ("step", "epoch", "accuracy", "loss")]
        looks.append(Look(*numbers))
    return tuple(looks)


def predictions_of(folder: Path) -> Predictions | None:
    """A trial's predictions; None where it has none that can be read."""
    try:
        return read_predictions(folder / PREDICTIONS)
    except DataError:
        return None


def probes_of(folder: Path) -> Probes | None:
    """A trial's probes; None where it has no predictions that can be read."""
    try:
        return read_probes(folder)
    except (DataError, ValueError):  # a file of another program may hold what is no log-odds
        return None
