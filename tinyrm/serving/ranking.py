"""From comparisons of pairs to a ranking: which pairs to compare, and Bradley-Terry strengths of what came out.

A strength is on the scale of natural-log odds: where all comparisons agree, the difference of two strengths is the
log-odds that :meth:`RewardModel.compare` gives for the two. A tie (log-odds of 0) is half a win for each side. A pair
whose verdict flips with the order of presentation counts by its mean log-odds, which lies near 0, and by the distance
of its two orders from the fit, which widens the intervals.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import t as student

from tinyrm.errors import DataError, did_you_mean

METHODS = ("auto", "all", "tournament")
ALL_PAIRS_UP_TO = 16  # responses; 'auto' takes a tournament for more
_RIDGE = 1e-6  # keeps strengths finite where one response wins everything by far
_STEPS = 200
_LARGEST_STEP = 4.0

Pairs = list[tuple[int, int]]
Both = NDArray[np.float64]  # (pairs, 2) log-odds that the first of a pair is better, in both orders of presentation
Schedule = Generator[Pairs, Both, "Ranking"]


@dataclass(frozen=True)
class Ranking:
    """n responses from the best to the worst.

    Attributes:
        order: indices of the responses, best first; equal strengths stay in the order they were given.
        strengths: of each response, as they were given; natural-log odds, mean 0.
        low, high: 95% intervals of the strengths: how far the comparisons disagree with a single scale, by the
            two orders and by circles. Not how often the model is wrong. NaN where nothing could disagree.
        comparisons: pairs that were compared, each in both orders.
        inconsistent: how many of them flip with the order.
        truncated: some text was cut to fit the context.
    """

    order: tuple[int, ...]
    strengths: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    comparisons: int
    inconsistent: int
    truncated: bool = False

    @property
    def best(self) -> int:
        """Index of the strongest response."""
        return self.order[0]

    @property
    def ranks(self) -> tuple[int, ...]:
        """Of each response, from 1; equal strengths share a rank."""
        s = np.array(self.strengths)
        return tuple(int(np.sum(s > own + 1e-9)) + 1 for own in s)


def schedule(n: int, method: str = "auto") -> Schedule:
    """A generator that yields pairs of indices to compare, is sent their log-odds, and returns the :class:`Ranking`.

    'all' asks once for all n (n - 1) / 2 pairs. 'tournament' asks in ceil(log2 n) + 1 rounds of a Swiss tournament
    (neighbours in the ranking so far that have not met), then for the neighbours of the final order: about
    n / 2 log2 n + 3 n / 2 pairs.

    Raises:
        DataError: no responses, or an unknown method.
    """
    if method not in METHODS:
        raise DataError(f"method {method!r} is not known.{did_you_mean(method, METHODS)}")
    if n < 1:
        raise DataError("no responses to rank: give at least one.")
    return _run(n, method)


def _run(n: int, method: str) -> Schedule:
    pairs: Pairs = []
    both: Both = np.zeros((0, 2))
    if n == 1:
        return _ranking(1, pairs, both)
    if method == "all" or (method == "auto" and n <= ALL_PAIRS_UP_TO):
        pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
        both = yield pairs
        return _ranking(n, pairs, both)
    order: Sequence[int] = range(n)
    met: set[frozenset[int]] = set()
    for number in range(int(np.ceil(np.log2(n))) + 2):
        last = number == int(np.ceil(np.log2(n))) + 1
        asked = _neighbours(order, met) if last else _round(order, met)
        if asked:
            answers = yield asked
            pairs, both = pairs + asked, np.concatenate([both, answers])
            met |= {frozenset(pair) for pair in asked}
            strengths = strengths_of(n, pairs, both.mean(axis=1))
            order = np.argsort(-strengths, kind="stable").tolist()
    return _ranking(n, pairs, both)


def _round(order: Sequence[int], met: set[frozenset[int]]) -> Pairs:
    """Each response once, with the nearest in `order` that it has not met."""
    free = list(order)
    asked = []
    while len(free) > 1:
        one = free.pop(0)
        partner = next((other for other in free if frozenset((one, other)) not in met), None)
        if partner is not None:
            free.remove(partner)
            asked.append((one, partner))
    return asked


def _neighbours(order: Sequence[int], met: set[frozenset[int]]) -> Pairs:
    """What holds the final order together: every two neighbours have met."""
    return [(a, b) for a, b in itertools.pairwise(order) if frozenset((a, b)) not in met]


def strengths_of(n: int, pairs: Pairs, log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) maximum-likelihood Bradley-Terry strengths (Bradley and Terry 1952), mean 0, from soft outcomes.

    Args:
        n: how many responses.
        pairs: who met whom.
        log_odds: (pairs,) that the first of each is better; each outcome counts as its probability.
    """
    design = _design(n, pairs)
    # How likely an outcome is needs its log-odds only through its probability, kept apart from 0 and 1.
    wins = expit(np.clip(log_odds, -30, 30))
    strengths = np.zeros(n)
    for _ in range(_STEPS):
        fitted = expit(design @ strengths)
        slope = design.T @ (wins - fitted) - _RIDGE * strengths
        step = np.linalg.solve(_curvature(design, fitted), slope)
        largest = float(np.abs(step).max())
        strengths = strengths + step * min(1.0, _LARGEST_STEP / max(largest, 1e-300))
        if largest < 1e-10:
            break
    centred: NDArray[np.float64] = strengths - strengths.mean()
    return centred


def _design(n: int, pairs: Pairs) -> NDArray[np.float64]:
    design = np.zeros((len(pairs), n))
    rows = np.arange(len(pairs))
    indices = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    design[rows, indices[:, 0]] = 1.0
    design[rows, indices[:, 1]] = -1.0
    return design


def _curvature(design: NDArray[np.float64], fitted: NDArray[np.float64]) -> NDArray[np.float64]:
    weighted: NDArray[np.float64] = design.T @ (design * (fitted * (1 - fitted))[:, None])
    return weighted + _RIDGE * np.eye(design.shape[1])


def _half_widths(n: int, pairs: Pairs, both: Both, strengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) of 95% intervals (sandwich, White 1982), each order an observation; NaN where none can disagree."""
    design = np.repeat(_design(n, pairs), 2, axis=0)
    spare = len(design) - (n - 1)
    if spare < 1:
        return np.full(n, np.nan)
    fitted = expit(design @ strengths)
    gradients = design * (expit(both.ravel()) - fitted)[:, None]
    # The all-ones direction, along which nothing is known, is left out by the pseudo-inverse.
    inverse = np.linalg.pinv(_curvature(design, fitted) - _RIDGE * np.eye(n), hermitian=True)
    variance = np.diag(inverse @ gradients.T @ gradients @ inverse) * len(design) / spare
    widths: NDArray[np.float64] = student.ppf(0.975, spare) * np.sqrt(np.maximum(variance, 0))
    return widths


def _ranking(n: int, pairs: Pairs, both: Both) -> Ranking:
    strengths = strengths_of(n, pairs, both.mean(axis=1)) if pairs else np.zeros(n)
    widths = _half_widths(n, pairs, both, strengths) if pairs else np.full(n, np.nan)
    return from_strengths(strengths, widths, comparisons=len(pairs), inconsistent=inconsistent(both))


def from_strengths(strengths: NDArray[np.float64], widths: NDArray[np.float64], **counts: Any) -> Ranking:
    """A :class:`Ranking` of (n,) strengths with the (n,) half-widths of their intervals."""
    order = np.argsort(-np.round(strengths, 9), kind="stable")
    low, high = strengths - widths, strengths + widths
    return Ranking(
        tuple(order.tolist()), tuple(strengths.tolist()), tuple(low.tolist()), tuple(high.tolist()), **counts
    )


def inconsistent(both: Both) -> int:
    """How many of (pairs, 2) log-odds have another sign in the other order."""
    return int(np.sum(np.sign(both[:, 0]) != np.sign(both[:, 1])))
