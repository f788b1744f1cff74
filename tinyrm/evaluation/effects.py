"""Which choices mattered: main effects of factors and their interactions, from one number a trial.

The model is the additive one, y = mean + one term a factor + noise, fitted by least squares, so that a grid with holes
and a sampled space are read alike: each level's mean is the least-squares ("marginal") mean, in which all levels of the
other factors count alike (Searle, Speed & Milliken 1980, The American Statistician 34:216). `seed` is a factor as any
other: what seeds share is taken out, and how much they differ is seen beside the rest. What the terms leave over is
noise: the intervals speak of other seeds *on the same pairs*, not of other pairs; for those see
:mod:`tinyrm.evaluation.arms`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tinyrm.evaluation.metrics import undefined
from tinyrm.types import Metric

SEED = "seed"  # the factor whose levels are repetitions
_MOST_LEVELS = 8  # a number with more values than this is cut into bins
_BINS = 4
_MOST_CELLS = 64  # of an interaction
_ABSENT = "(not set)"


@dataclass(frozen=True)
class Level:
    """A level of a factor (or a cell of two): how many trials have it, and its least-squares mean."""

    names: tuple[str, ...]
    mean: Metric


@dataclass(frozen=True)
class Effect:
    """What a factor, or two together beyond their sum, does to the number.

    Attributes:
        factors: one name for a main effect, two for an interaction.
        levels: in order; for an interaction the plain means of the cells.
        span: largest minus smallest mean; NaN for an interaction.
        p_value: of the F test against the model without it; NaN where nothing is left over to test against.
        share: of the variance between trials that it accounts for, given the other factors.
        binned: whether the levels are quantile bins of a number.
    """

    factors: tuple[str, ...]
    levels: tuple[Level, ...]
    span: float
    p_value: float
    share: float
    binned: bool = False


@dataclass(frozen=True)
class Effects:
    """All effects on one number.

    Attributes:
        measure: name of the number.
        n: trials.
        residual_df: trials left over for the noise; at 0 there are no intervals.
        noise: standard deviation of what the factors leave over; NaN without degrees of freedom.
        main: by how much they account for, largest first.
        interactions: of factors all of whose combinations were run; smallest p first.
    """

    measure: str
    n: int
    residual_df: int
    noise: float
    main: tuple[Effect, ...] = ()
    interactions: tuple[Effect, ...] = ()


@dataclass(frozen=True)
class _Factor:
    name: str
    levels: tuple[str, ...]
    at: NDArray[np.int64]  # (trials,) number of the level
    binned: bool

    @property
    def columns(self) -> NDArray[np.float64]:
        """(trials, levels - 1) one indicator a level but the first."""
        return np.asarray(self.at[:, None] == np.arange(1, len(self.levels)), dtype=np.float64)


class _Fit:
    """Least squares on some columns."""

    def __init__(self, y: NDArray[np.float64], parts: Sequence[NDArray[np.float64]]) -> None:
        self.x = np.column_stack([np.ones(len(y)), *parts])
        self.inverse = np.linalg.pinv(self.x)
        self.beta = self.inverse @ y
        self.rss = float(np.sum((y - self.x @ self.beta) ** 2))
        self.rank = int(np.linalg.matrix_rank(self.x))
        self.df = len(y) - self.rank

    def mean(self, contrast: NDArray[np.float64], n: int) -> Metric:
        """A linear combination of the coefficients with its t interval; undefined where the data do not fix it."""
        if not np.allclose(contrast @ self.inverse @ self.x, contrast, atol=1e-6):
            return undefined(n)
        value = float(contrast @ self.beta)
        if self.df <= 0:
            return Metric(value, n, math.nan, math.nan)
        spread = float(np.linalg.norm(contrast @ self.inverse)) * math.sqrt(self.rss / self.df)
        half = float(stats.t.ppf(0.975, self.df)) * spread
        return Metric(value, n, value - half, value + half)


def effects(measure: str, rows: Sequence[Mapping[str, Any]], values: Sequence[float]) -> Effects:
    """Main effects and interactions of the factors on one number a trial.

    Args:
        measure: what the number is called.
        rows: the settings of each trial, by factor; a factor that does not vary is left out.
        values: (trials,) the number of each, finite.

    Raises:
        ValueError: lengths differ, or a value is not finite.
    """
    y = np.asarray(values, dtype=np.float64)
    if len(rows) != len(y) or not np.isfinite(y).all():
        raise ValueError(f"one finite value a trial: got {len(y)} for {len(rows)}.")
    factors = _factors(rows)
    if not factors:
        return Effects(measure, len(y), max(0, len(y) - 1), float(np.std(y, ddof=1)) if len(y) > 1 else math.nan)
    fit = _Fit(y, [f.columns for f in factors])
    total = float(np.sum((y - y.mean()) ** 2))
    main = [_main(factor, factors, y, fit, total) for factor in factors]
    crossed = [
        effect
        for a, b in itertools.combinations([f for f in factors if f.name != SEED], 2)
        if (effect := _interaction(a, b, factors, y, fit, total)) is not None
    ]
    return Effects(
        measure,
        len(y),
        max(0, fit.df),
        math.sqrt(fit.rss / fit.df) if fit.df > 0 else math.nan,
        tuple(sorted(main, key=lambda e: -e.share)),
        tuple(sorted(crossed, key=lambda e: (math.isnan(e.p_value), e.p_value, -e.share))),
    )


def frontier(cost: Sequence[float], gain: Sequence[float]) -> list[bool]:
    """Whether each point is on the front: no other costs at most as much and gains at least as much, one truly."""
    points = list(zip(cost, gain, strict=True))
    best, kept = -math.inf, set()
    for at, value in sorted(set(points), key=lambda p: (p[0], -p[1])):
        if value > best:
            best = value
            kept.add((at, value))
    return [point in kept for point in points]


def _factors(rows: Sequence[Mapping[str, Any]]) -> list[_Factor]:
    names = dict.fromkeys(name for row in rows for name in row)
    found = [_factor(name, [row.get(name) for row in rows]) for name in names]
    return [factor for factor in found if len(factor.levels) > 1]


def _factor(name: str, values: Sequence[Any]) -> _Factor:
    numbers = [_number(v) for v in values]
    if all(x is not None for x in numbers):
        known = np.asarray(numbers, dtype=np.float64)
        if len(np.unique(known)) > _MOST_LEVELS and name != SEED:
            return _binned(name, known)
    texts = [_ABSENT if v is None else f"{v:.6g}" if isinstance(v, float) else str(v) for v in values]
    order = {text: (number is None, number or 0.0, text) for text, number in zip(texts, numbers, strict=True)}
    levels = sorted(order, key=lambda text: order[text])
    return _Factor(name, tuple(levels), np.array([levels.index(t) for t in texts], dtype=np.int64), False)


def _binned(name: str, known: NDArray[np.float64]) -> _Factor:
    """Quantile bins of a number, named by the smallest and the largest value in each."""
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
    raw = np.searchsorted(edges, known, side="left")
    used = [int(b) for b in np.unique(raw)]
    labels = [f"{known[raw == b].min():.3g} to {known[raw == b].max():.3g}" for b in used]
    return _Factor(name, tuple(labels), np.array([used.index(int(b)) for b in raw], dtype=np.int64), True)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _main(factor: _Factor, factors: Sequence[_Factor], y: NDArray[np.float64], fit: _Fit, total: float) -> Effect:
    levels = []
    for number, name in enumerate(factor.levels):
        contrast = [np.ones(1)]
        for other in factors:
            own = np.zeros(len(other.levels) - 1)
            if other is not factor:
                own[:] = 1 / len(other.levels)  # every level of the others counts alike
            elif number:
                own[number - 1] = 1
            contrast.append(own)
        levels.append(Level((name,), fit.mean(np.concatenate(contrast), int(np.sum(factor.at == number)))))
    without = _Fit(y, [f.columns for f in factors if f is not factor])
    means = [level.mean.value for level in levels if not math.isnan(level.mean.value)]
    return Effect(
        (factor.name,),
        tuple(levels),
        max(means) - min(means) if means else math.nan,
        *_tested(without, fit, total),
        binned=factor.binned,
    )


def _interaction(
    a: _Factor, b: _Factor, factors: Sequence[_Factor], y: NDArray[np.float64], fit: _Fit, total: float
) -> Effect | None:
    cells = len(a.levels) * len(b.levels)
    at = a.at * len(b.levels) + b.at
    if cells > _MOST_CELLS or len(np.unique(at)) < cells:
        return None  # not crossed: some combinations were never run
    products = [left[:, None] * right[:, None] for left in a.columns.T for right in b.columns.T]
    wider = _Fit(y, [f.columns for f in factors] + products)
    levels = []
    for number in range(cells):
        inside = y[at == number]
        names = (a.levels[number // len(b.levels)], b.levels[number % len(b.levels)])
        half = math.nan
        if wider.df > 0:
            half = float(stats.t.ppf(0.975, wider.df)) * math.sqrt(wider.rss / wider.df / len(inside))
        mean = float(inside.mean())
        levels.append(Level(names, Metric(mean, len(inside), mean - half, mean + half)))
    return Effect((a.name, b.name), tuple(levels), math.nan, *_tested(fit, wider, total))


def _tested(smaller: _Fit, larger: _Fit, total: float) -> tuple[float, float]:
    """p of the F test of the larger model against the smaller, and the share of the variance it accounts for more."""
    gained, df = max(0.0, smaller.rss - larger.rss), larger.rank - smaller.rank
    share = gained / total if total > 0 else 0.0
    if df <= 0 or larger.df <= 0:
        return math.nan, share
    noise = larger.rss / larger.df
    if noise <= 1e-18 * max(total, 1e-300):
        return (0.0 if gained > 0 else math.nan), share
    return float(stats.f.sf(gained / df / noise, df, larger.df)), share
