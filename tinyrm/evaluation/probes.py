"""What lies behind an accuracy: order, length, words, confidence, long prompts. Read from the predictions of a run.

Every pair counts alike here, whatever the benchmark's weights, and a tie is one half, as everywhere. A cut by the
length of the prompt also cuts by section, where sections differ in it: it shows where the model is weak, not why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyrm.errors import DataError
from tinyrm.evaluation.calibration import Calibration, Temperature, calibration, fit_temperature
from tinyrm.evaluation.metrics import Z95, metric_json, weighted, wilson
from tinyrm.evaluation.predictions import DEV_PREDICTIONS, PREDICTIONS, Predictions, read_predictions
from tinyrm.types import Metric

PROBES = "probes.json"  # in a run folder
_QUARTERS = 4


@dataclass(frozen=True, slots=True)
class Orders:
    """What the place of a response does.

    Attributes:
        flips: share of pairs whose two orders have different verdicts.
        first_favoured: of these pairs, those in which the response that is shown first wins both times; 1 or 0 is a
            model that likes a place, a half one that is unsure.
        chosen_first: accuracy with the chosen response shown first, that order alone.
        chosen_second: the same with it shown second.
        lean: mean log-odds for the first place, whatever stands there; above 0 the model likes it.
    """

    flips: Metric
    first_favoured: Metric
    chosen_first: Metric
    chosen_second: Metric
    lean: Metric


@dataclass(frozen=True, slots=True)
class Lengths:
    """What the lengths of the responses do, in words.

    Attributes:
        longer: accuracy where the chosen response has more words.
        shorter: accuracy where it has fewer.
        equal: accuracy where both have as many.
        controlled: length-controlled accuracy, the mean of `longer` and `shorter`, each counting alike: what the model
            would get if length told nothing. A rule that looks at length alone gets a half. The purpose is that of
            Dubois et al. 2024 (arXiv:2404.04475), who read a logistic regression at equal lengths; with known answers
            the two halves can be weighed directly, which also holds where a model is always right in one of them and
            the regression has no finite fit.
        prefers_longer: share of the pairs of unequal lengths in which the model prefers the longer response.
        longer_is_right: share of the same pairs in which it is the chosen one: what `prefers_longer` should be.
    """

    longer: Metric
    shorter: Metric
    equal: Metric
    controlled: Metric
    prefers_longer: Metric
    longer_is_right: Metric


@dataclass(frozen=True, slots=True)
class BagOfWords:
    """The model beside a bag of words that was fitted on the same train pairs (:mod:`tinyrm.evaluation.bag`).

    Attributes:
        accuracy: of the bag.
        agreement: share of pairs with the same verdict of both.
        agreement_by_chance: what two with these accuracies would agree in, were their errors independent.
        where_right: accuracy of the model where the bag is right.
        where_wrong: the same where the bag is wrong: what the model knows beyond words, if it is above a half.
    """

    accuracy: Metric
    agreement: Metric
    agreement_by_chance: float
    where_right: Metric
    where_wrong: Metric


@dataclass(frozen=True, slots=True)
class Cut:
    """Some of the pairs, by the words of their prompt."""

    low: int
    high: int
    accuracy: Metric


@dataclass(frozen=True)
class Probes:
    """What is behind the accuracy of one set of predictions; what is not known is None, with its reason in `missing`.

    Attributes:
        n: pairs.
        accuracy: all pairs counted alike.
        orders: None where each response is read alone.
        prompts: accuracy by quarters of the prompts' lengths; equal lengths share one, so that there may be fewer.
        truncated, whole: accuracy on the pairs that were cut to fit the context, and on the others.
        calibration: of the log-odds as they are.
        temperature: fitted on dev, which has chosen the weights but is not reported on.
        calibration_scaled: of the log-odds divided by it.
        missing: reasons by the attribute's name.
    """

    n: int
    accuracy: Metric
    orders: Orders | None
    lengths: Lengths
    prompts: tuple[Cut, ...]
    truncated: Metric
    whole: Metric
    calibration: Calibration
    temperature: Temperature | None
    calibration_scaled: Calibration | None
    bag: BagOfWords | None
    missing: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The content of `probes.json`: metrics as `{"value", "n", "low", "high"}`, null where undefined."""
        content: dict[str, Any] = _plain(self)
        return content


def probes(test: Predictions, dev: Predictions | None = None) -> Probes:
    """All probes of some predictions.

    Args:
        test: what is reported on; at least one pair.
        dev: of the same weights, to fit the temperature on.

    Raises:
        ValueError: there are no pairs, or a score is not finite.
    """
    missing: dict[str, str] = {}
    right = _right(test.log_odds)
    temperature = scaled = None
    if dev is None:
        why = "the run kept no log-odds of its dev pairs (it is of an earlier version, or this is no run's own folder)"
        missing["temperature"] = missing["calibration_scaled"] = why
    else:
        temperature = fit_temperature(dev.log_odds)
        scaled = calibration(test.log_odds / temperature.value.value)
    orders = _orders(test)
    if orders is None:
        missing["orders"] = "each response is read alone: there is no order"
    prompts: tuple[Cut, ...] = ()
    if test.prompt_words is None:
        missing["prompts"] = "these predictions do not say how long the prompts are (they are of an earlier version)"
    else:
        prompts = _by_length(test.prompt_words, right)
    bag = None
    if test.bag_log_odds is None:
        missing["bag"] = (
            "no bag of words was fitted beside these predictions (`python run.py` does, from its train pairs)"
        )
    else:
        bag = _bag(right, test.log_odds, test.bag_log_odds)
    return Probes(
        n=len(test),
        accuracy=_share(right),
        orders=orders,
        lengths=_lengths(test, right),
        prompts=prompts,
        truncated=_share(right[test.truncated]),
        whole=_share(right[~test.truncated]),
        calibration=calibration(test.log_odds),
        temperature=temperature,
        calibration_scaled=scaled,
        bag=bag,
        missing=missing,
    )


def read_probes(folder: Path) -> Probes:
    """The probes of a run folder, a sweep's trial, or the folder of an evaluation within one.

    Raises:
        DataError: it has no predictions that can be read.
    """
    test = read_predictions(folder / PREDICTIONS)
    if not len(test):
        raise DataError(f"{folder / PREDICTIONS} holds no pairs.")
    of_run = next((place for place in (folder, folder.parent) if (place / DEV_PREDICTIONS).is_file()), None)
    return probes(test, None if of_run is None else read_predictions(of_run / DEV_PREDICTIONS))


def _orders(test: Predictions) -> Orders | None:
    first, second = test.log_odds_chosen_first, test.log_odds_chosen_second
    if np.array_equal(first, second):
        return None
    flipped = np.sign(first) != np.sign(second)
    lean = (first - second) / 2
    half = Z95 * float(lean.std(ddof=1)) / math.sqrt(len(lean)) if len(lean) > 1 else math.nan
    mean = float(lean.mean())
    return Orders(
        flips=_share(flipped),
        first_favoured=_share(lean[flipped] > 0),
        chosen_first=_share(_right(first)),
        chosen_second=_share(_right(second)),
        lean=Metric(mean, len(lean), mean - half, mean + half),
    )


def _lengths(test: Predictions, right: NDArray[np.float64]) -> Lengths:
    sign = np.sign(test.chosen_words - test.rejected_words)
    longer, shorter = _share(right[sign > 0]), _share(right[sign < 0])
    unequal = sign != 0
    prefers = np.where(sign > 0, right, 1 - right)
    return Lengths(
        longer=longer,
        shorter=shorter,
        equal=_share(right[~unequal]),
        controlled=weighted([longer, shorter], [1, 1]),
        prefers_longer=_share(prefers[unequal]),
        longer_is_right=_share(sign[unequal] > 0),
    )


def _bag(right: NDArray[np.float64], log_odds: NDArray[np.float64], bag: NDArray[np.float64]) -> BagOfWords:
    its = _right(bag)
    ours, theirs = float(right.mean()), float(its.mean())
    return BagOfWords(
        accuracy=_share(its),
        agreement=_share(np.sign(log_odds) == np.sign(bag)),
        agreement_by_chance=ours * theirs + (1 - ours) * (1 - theirs),
        where_right=_share(right[its == 1]),
        where_wrong=_share(right[its == 0]),
    )


def _by_length(words: NDArray[np.int64], right: NDArray[np.float64]) -> tuple[Cut, ...]:
    edges = np.unique(np.quantile(words, np.linspace(0, 1, _QUARTERS + 1)[1:-1], method="lower"))
    number = np.searchsorted(edges, words, side="left")
    inside = [number == b for b in np.unique(number)]
    return tuple(Cut(int(words[rows].min()), int(words[rows].max()), _share(right[rows])) for rows in inside)


def _right(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) 1 where the verdict is right, 0 where it is wrong, one half for a tie."""
    return np.asarray(0.5 + 0.5 * np.sign(log_odds))


def _share(values: NDArray[Any]) -> Metric:
    return wilson(float(np.sum(values)), len(values))


def _plain(value: Any) -> Any:
    """The same in what JSON has."""
    if isinstance(value, Metric):
        return metric_json(value)
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return dict(value) if isinstance(value, Mapping) else value
