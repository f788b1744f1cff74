"""Whether a model's log-odds mean what they say, and the one number that mends them.

The verdict on a pair has the confidence sigmoid(|z|), between a half and 1, with z the mean log-odds of both orders
that the chosen response is better. A model is calibrated where of the verdicts with confidence c a share of c is right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit

from tinyrm.evaluation.metrics import Z95, wilson
from tinyrm.types import Metric

_MOST_BINS = 10
_LEAST_IN_BIN = 25  # fewer bins where there are fewer pairs
_DRAWS = 500
_WIDEST = 1e3  # temperatures looked at, as a factor of the mean |z|, to either side


@dataclass(frozen=True, slots=True)
class Bin:
    """A point of the reliability curve.

    Attributes:
        confidence: mean over its verdicts.
        accuracy: share of them that are right; a tie counts one half.
    """

    confidence: float
    accuracy: Metric


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far confidence and accuracy are apart.

    Attributes:
        ece: expected calibration error, the mean of |accuracy - confidence| over bins of equal mass (Naeini et al.
            2015, AAAI; of equal mass: Nixon et al. 2019, arXiv:1904.01685). It is above 0 even for a calibrated model.
        ece_by_chance: what a model with these very confidences gets that is calibrated: mean, and the range of 95% of
            simulated outcomes (Broecker & Smith 2007, Weather and Forecasting 22:651). An `ece` above `high` is no
            accident.
        brier: mean squared distance of the chosen response's probability from 1; a coin has 0.25.
        nll: mean negative log-likelihood of the chosen response in nats; a coin has 0.693.
        bins: the reliability curve, by rising confidence; equal confidences share a bin.
    """

    ece: float
    ece_by_chance: Metric
    brier: Metric
    nll: Metric
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Temperature:
    """What log-odds are to be divided by (Guo et al. 2017, arXiv:1706.04599). It changes no verdict.

    Attributes:
        value: above 1 the model was too sure of itself; with the 95% interval of the likelihood's curvature in its
            logarithm, and the n of the pairs that it was fitted on.
        limit: why there is no best one, so that `value` is the last one looked at; None where there is.
    """

    value: Metric
    limit: str | None = None


def calibration(log_odds: NDArray[np.float64], seed: int = 0) -> Calibration:
    """How well these log-odds are calibrated.

    Args:
        log_odds: (n,) that the chosen response is better; n at least 1.
        seed: of the simulated outcomes.

    Raises:
        ValueError: there are none, or one is not finite.
    """
    z = _checked(log_odds)
    confidence, right = expit(np.abs(z)), 0.5 + 0.5 * np.sign(z)
    number = _bin_numbers(confidence)
    inside = [np.flatnonzero(number == b) for b in np.unique(number)]
    random = np.random.default_rng(seed)
    bins, drawn = [], np.zeros(_DRAWS)
    for rows in inside:
        bins.append(Bin(float(confidence[rows].mean()), wilson(float(right[rows].sum()), len(rows))))
        outcomes = (random.random((_DRAWS, len(rows))) < confidence[rows]).mean(axis=1)
        drawn += len(rows) / len(z) * np.abs(outcomes - confidence[rows].mean())
    ece = math.fsum(b.accuracy.n / len(z) * abs(b.accuracy.value - b.confidence) for b in bins)
    low, high = (float(q) for q in np.quantile(drawn, [0.025, 0.975]))
    by_chance = Metric(float(drawn.mean()), len(z), low, high)
    return Calibration(ece, by_chance, _mean(expit(-z) ** 2), _mean(np.logaddexp(0, -z)), tuple(bins))


def fit_temperature(log_odds: NDArray[np.float64]) -> Temperature:
    """The temperature under which these pairs are most likely.

    Args:
        log_odds: (n,) that the chosen response is better, of pairs that nothing is reported on.

    Raises:
        ValueError: there are none, or one is not finite.
    """
    z = _checked(log_odds)
    scale = float(np.abs(z).mean())
    if scale == 0:
        return Temperature(Metric(1.0, len(z), math.nan, math.nan), "every pair is a tie")
    unit = z / scale
    # The likelihood is concave in 1/T, so these two are exactly the cases without a finite best one.
    if unit.mean() <= 0:
        return Temperature(Metric(scale * _WIDEST, len(z), math.nan, math.nan), "no better than a coin")
    if unit.min() >= 0:
        return Temperature(Metric(scale / _WIDEST, len(z), math.nan, math.nan), "no verdict is wrong")

    def loss(logarithm: float) -> float:
        return float(np.logaddexp(0, -unit * math.exp(-logarithm)).mean())

    widest = math.log(_WIDEST)
    found = minimize_scalar(loss, bounds=(-widest, widest), method="bounded", options={"xatol": 1e-7})
    inverse = math.exp(-float(found.x))
    information = float(np.sum((unit * inverse) ** 2 * expit(unit * inverse) * expit(-unit * inverse)))
    value, half = scale / inverse, Z95 / math.sqrt(max(information, 1e-12))
    spread = math.exp(half) if half < 10 else math.nan  # nan: the pairs say next to nothing about it
    return Temperature(Metric(value, len(z), value / spread, value * spread))


def _bin_numbers(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) number of the bin of each; what is equal shares one, whatever the order of the pairs."""
    bins = min(_MOST_BINS, max(1, len(confidence) // _LEAST_IN_BIN))
    edges = np.unique(np.quantile(confidence, np.linspace(0, 1, bins + 1)[1:-1], method="lower"))
    return np.searchsorted(edges, confidence, side="left")


def _mean(values: NDArray[np.float64]) -> Metric:
    """The mean of numbers that are not below 0, with a normal interval."""
    value = float(values.mean())
    if len(values) < 2:
        return Metric(value, len(values), math.nan, math.nan)
    half = Z95 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Metric(value, len(values), max(0.0, value - half), value + half)


def _checked(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    z = np.asarray(log_odds, dtype=np.float64)
    if not len(z) or not np.isfinite(z).all():
        raise ValueError(f"finite log-odds of at least one pair are needed, got {len(z)}.")
    return z
