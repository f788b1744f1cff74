"""How sure a difference is of which both the pairs and the seeds are a sample: two crossed random factors.

What is measured on pair i with seed s is taken for effect + pair_i + seed_s + noise_is (Clark 1973, J. Verbal Learning
and Verbal Behavior 12:335; Westfall, Kenny & Judd 2014, J. Experimental Psychology: General 143:2020). The mean varies
with the pairs drawn, *and* with the seeds drawn. Of the variance between pairs hundreds of them tell; of that between
seeds three tell little, and most of what they show may be noise that is in the variance between pairs already:

    U = variance of the mean from how its pairs differ (each averaged over the seeds)
    B = the same from how its seeds differ (each averaged over the pairs), with seeds - 1 degrees of freedom
    N = what noise adds to either

U + B - N estimates the variance without bias, but with three seeds an interval made of it, with Satterthwaite's degrees
of freedom, covers anything from 92% to 98%: B is too seldom near its mean. The half width used is

    (t_U U + t_B E) / sqrt(U + E),   E = max(0, B - k N),   k = min(0.7, (1 + 4 / (seeds - 1)) (t_U / t_B)^2)

with the t quantiles that belong to the degrees of freedom of each part (Cochran & Cox 1957, Experimental Designs,
section 4.14, for two variances of which one is known less well). k, how much of the noise is taken for counted already,
was chosen by calculation over how large seeds and noise may be beside the pairs. It must fall where B has few degrees
of freedom and the level is strict. With three seeds, 95% intervals then cover 93.6% to 97.2% while noise is up to 0.6
of U, and 92.5% to 97.4% wherever it is (least with seeds that vary a lot on top of much noise, most with seeds that do
not); with five or more, 94.1% to 97.4%; with two, a seed says too little for any such promise (92.6% to 98.5%). With
three seeds or more, a test at the level of up to ten comparisons (0.5%) shows an effect in the wrong direction, or
where there is none in the claimed one, no more often than that. `tests/evaluation/test_crossed.py` repeats the
calculation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy.optimize import brentq

from tinyrm.types import Metric


@dataclass(frozen=True)
class Crossed:
    """A weighted mean over units and seeds, and what it varies with.

    Attributes:
        value: the mean.
        n: units (pairs, or questions).
        seeds: how many; with 1 nothing is known of other seeds, and the interval leaves them out.
        units: variance of `value` from the units drawn (U above).
        units_df: its degrees of freedom (Satterthwaite's, over strata).
        between: variance of `value` from the seeds drawn (B); 0 with one seed.
        noise: what both contain of seed x unit noise (N); 0 with one seed.
        reach: sum of the absolute weights: as much as `value` changes when every unit does by 1.
    """

    value: float
    n: int
    seeds: int
    units: float
    units_df: float
    between: float
    noise: float
    reach: float = 1.0

    def half_width(self, alpha: float = 0.05) -> float:
        """Of the interval that leaves out `alpha`, half on either side.

        Never less than what a change could be that no unit shows: a share d of units that differ stays unseen among n
        with probability (1 - d)^n.
        """
        spread = half_width(self.units, self.units_df, self.between, self.noise, self.seeds, alpha)
        return max(float(spread), self.reach * -math.expm1(math.log(alpha) / self.n))

    def interval(self, alpha: float = 0.05) -> Metric:
        """`value` with the bounds of :meth:`half_width`."""
        half = self.half_width(alpha)
        return Metric(self.value, self.n, self.value - half, self.value + half)

    def p_value(self, at: float = 0.0) -> float:
        """Two-sided p of the true value being `at`: the alpha whose interval just reaches it."""
        distance = abs(self.value - at)
        if distance == 0:
            return 1.0

        def beyond(log_alpha: float) -> float:
            return self.half_width(math.exp(log_alpha)) - distance

        if beyond(_SMALLEST) <= 0:
            return 0.0
        return math.exp(brentq(beyond, _SMALLEST, 0.0, xtol=1e-10)) if beyond(0.0) < 0 else 1.0


_SMALLEST = math.log(1e-300)


def half_width(
    units: float, units_df: float, between: ArrayLike, noise: float, seeds: int, alpha: float
) -> NDArray[np.float64]:
    """The formula of this module, for one `between` or an array of them."""
    runs_df = max(seeds - 1, 1)
    t_units, t_runs = (-float(special.stdtrit(df, alpha / 2)) for df in (units_df, runs_df))
    counted = min(0.7, (1 + 4 / runs_df) * (t_units / t_runs) ** 2) if t_runs else 0.7
    extra = np.maximum(0.0, np.asarray(between, dtype=np.float64) - counted * noise)
    total = units + extra
    return np.divide(t_units * units + t_runs * extra, np.sqrt(total), out=np.zeros_like(total), where=total > 0)


def crossed(values: NDArray[np.float64], strata: NDArray[np.str_], weights: Mapping[str, float]) -> Crossed:
    """The weighted mean of (seeds, units) values.

    Args:
        values: one row a seed, one column a unit.
        strata: (units,) the subset of each; units are a sample of their subset, whose weight is given.
        weights: of the mean of each stratum, taken as they are (they may be negative: a difference of subsets).
    """
    seeds = len(values)
    names, at = np.unique(strata, return_inverse=True)
    sizes = np.bincount(at).astype(np.float64)
    share = np.array([weights[str(name)] for name in names])
    means = np.stack([np.bincount(at, weights=row, minlength=len(names)) for row in values]) / sizes  # (seeds, strata)
    by_seed, by_unit = means @ share, values.mean(axis=0)
    spread = _pooled(np.bincount(at, weights=(by_unit - means.mean(axis=0)[at]) ** 2).astype(np.float64), sizes)
    part = share**2 * spread / sizes
    units, free = float(part.sum()), float(np.sum(part**2 / np.maximum(sizes - 1, 1)))
    between = noise = 0.0
    if seeds > 1:
        between = float(np.var(by_seed, ddof=1)) / seeds
        left = values - by_unit - (means - means.mean(axis=0))[:, at]
        squares = np.bincount(at, weights=np.sum(left**2, axis=0)) / float(seeds - 1)
        noise = float(np.sum(share**2 * _pooled(squares, sizes) / sizes)) / seeds
    return Crossed(
        float(by_seed.mean()),
        values.shape[1],
        seeds,
        units,
        units**2 / free if free > 0 else math.inf,
        between,
        noise,
        float(np.abs(share).sum()),
    )


def _pooled(squares: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance within each stratum; a stratum of one unit is given that of all others together."""
    free = sizes - 1
    together = float(squares.sum() / free.sum()) if free.sum() > 0 else 0.0
    return np.where(free > 0, squares / np.maximum(free, 1), together)
