"""What a study of so many pairs and seeds can see, before it starts: its minimum detectable effect.

(Why to ask first: Card et al. 2020, "With Little Power Comes Great Responsibility", EMNLP, arXiv:2010.06595.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.optimize import brentq

from tinyrm.errors import ConfigError
from tinyrm.evaluation.crossed import half_width

_QUANTILES = (np.arange(1000) + 0.5) / 1000  # at which the spread between seeds may turn out


def power_of(
    effect: float, *, units: float, noise: float, between: float, seeds: int, alpha: float = 0.05, df: float = math.inf
) -> float:
    """Chance that a true effect is shown, with its sign, by the test of :mod:`tinyrm.evaluation.crossed`.

    The spread between seeds is itself a draw (chi-squared, seeds - 1 degrees of freedom), and with it the interval:
    the chance is averaged over what it may turn out to be.

    Args:
        effect: the true one; its sign does not matter.
        units: variance of the mean from the units drawn, seed x unit noise included.
        noise: the part of it that is noise.
        between: true variance of the mean from the seeds drawn, without that noise.
        seeds: of each arm.
        alpha: two-sided level of the test.
        df: degrees of freedom of `units`.
    """
    half = half_width(units, df, (between + noise) * _spreads(seeds), noise, seeds, alpha)
    deviation = math.sqrt(units + between)
    if deviation == 0:
        return 1.0 if abs(effect) > 0 else 0.0
    return float(np.mean(special.ndtr((abs(effect) - half) / deviation)))


@cache
def _spreads(seeds: int) -> NDArray[np.float64]:
    """Variance between so many seeds over its mean, at equally likely values."""
    if seeds == 1:
        return np.zeros(1)
    return np.asarray(special.chdtri(seeds - 1, 1 - _QUANTILES) / (seeds - 1), dtype=np.float64)


def smallest_effect(
    *,
    units: float,
    noise: float,
    between: float,
    seeds: int,
    power: float = 0.8,
    alpha: float = 0.05,
    df: float = math.inf,
) -> float:
    """The effect at which :func:`power_of` is `power`; above 1 means that no difference of accuracies is seen."""

    def missing(effect: float) -> float:
        found = power_of(effect, units=units, noise=noise, between=between, seeds=seeds, alpha=alpha, df=df)
        return found - power

    if units + between <= 0:
        return 0.0
    high = math.sqrt(units + between)
    while missing(high) < 0:
        high *= 2
    return float(brentq(missing, 0.0, high, xtol=1e-9))


def detectable_effect(
    n: Mapping[str, int],
    weights: Mapping[str, float],
    seeds: int,
    *,
    discordance: float,
    seed_sd: float,
    power: float = 0.8,
    alpha: float = 0.05,
    comparisons: int = 1,
    shared: float | None = None,
    cells: int = 1,
) -> float:
    """Smallest true difference of two arms that a study shows with this power, as a fraction (0.02 is 2 points).

    It is that of the test that :func:`tinyrm.evaluation.verdicts.judge` makes, for the first of `comparisons` in Holm's
    order (that is, Bonferroni's level: later ones see more).

    Args:
        n: pairs by section.
        weights: of each section in the number compared; they sum to 1, or to 0 for an interaction.
        seeds: of each arm; with 1 the answer is for these two models, whatever `seed_sd` is.
        discordance: share of pairs on which one model of the first arm and one of the second differ in being right
            (two good models of one family: often 0.1 to 0.2).
        seed_sd: standard deviation over seeds of the *difference* that the two arms would show on endless pairs; where
            the seeds of two arms have nothing in common, sqrt(2) times that of an arm.
        shared: the part of the variance of a pair's difference that is the same in every seed; the rest is noise that
            seeds average out, but also what makes their spread hard to read. For arms that differ no more than their
            own seeds do it is 0. None takes the least favourable, which few seeds find in noise and many in its lack.
        cells: pairs of arms whose differences are averaged. Seeds and noise are those of each run, so that they are
            averaged with them; what is shared by seeds may be shared by cells as well, and is taken to be.

    Raises:
        ConfigError: a number that cannot be (names all of them).
    """
    problems = _problems(n, weights, seeds, discordance, seed_sd, power, alpha, comparisons, shared, cells)
    if problems:
        raise ConfigError(problems)
    single = math.fsum(weight**2 * discordance / n[name] for name, weight in weights.items() if weight)
    found = []
    for part in np.linspace(0, 1, 5) if shared is None else [shared]:
        own = single * (1 - part) / cells
        noise = own / seeds if seeds > 1 else 0.0
        found.append(
            smallest_effect(
                units=single * part + (noise if seeds > 1 else own),
                noise=noise,
                between=seed_sd**2 / (seeds * cells) if seeds > 1 else 0.0,
                seeds=seeds,
                power=power,
                alpha=alpha / comparisons,
            )
        )
    return max(found)


def _problems(
    n: Mapping[str, int],
    weights: Mapping[str, float],
    seeds: int,
    discordance: float,
    seed_sd: float,
    power: float,
    alpha: float,
    comparisons: int,
    shared: float | None,
    cells: int,
) -> list[str]:
    rules = [
        (bool(weights) and any(weights.values()), "weights must name a section"),
        (not weights.keys() - n.keys(), f"n lacks {', '.join(sorted(weights.keys() - n.keys()))}, which weights has"),
        (all(n.get(name, 1) >= 1 for name in weights), f"n must be at least 1 in each section, got {dict(n)}"),
        (seeds >= 1, f"seeds must be at least 1, got {seeds}"),
        (0 <= discordance <= 1, f"discordance is a share between 0 and 1, got {discordance}"),
        (seed_sd >= 0, f"seed_sd must be at least 0, got {seed_sd}"),
        (0 < power < 1, f"power must lie between 0 and 1, got {power}"),
        (0 < alpha < 1, f"alpha must lie between 0 and 1, got {alpha}"),
        (comparisons >= 1, f"comparisons must be at least 1, got {comparisons}"),
        (cells >= 1, f"cells must be at least 1, got {cells}"),
        (shared is None or 0 <= shared <= 1, f"shared is a share between 0 and 1, got {shared}"),
    ]
    return [f"{message}." for holds, message in rules if not holds]
