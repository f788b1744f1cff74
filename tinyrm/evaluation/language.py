"""Trivial language models, for the held-out loss of a masked one to be compared with.

They predict the very tokens that the masked model is asked for, from the true tokens to the left, of which the masked
model does not see all; it sees the right side instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_UNSEEN = -1


class NGrams:
    """An interpolated Kneser-Ney model of one order, with one discount an order (Chen and Goodman 1999, section 3.1).

    Args:
        tokens: (n,) token ids to count; documents end in a separator, which is a token like any other.
        order: 1 is a unigram model, 5 looks at four tokens.
        vocabulary: size of it; what was never seen shares what discounting leaves.
    """

    def __init__(self, tokens: NDArray[np.integer], order: int, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self._keys: list[NDArray[np.int64]] = []  # of each order: context id * vocabulary + token, sorted
        grams: list[NDArray[np.int64]] = []
        context = np.zeros(len(tokens), np.int64)  # of the empty one; then the gram of one token less, a place before
        for _ in range(order):
            key = np.where(context == _UNSEEN, _UNSEEN, context * vocabulary + tokens)
            known = key != _UNSEEN
            keys, inverse = np.unique(key[known], return_inverse=True)
            gram = np.full(len(tokens), _UNSEEN)
            gram[known] = inverse
            self._keys.append(keys)
            grams.append(gram)
            context = np.concatenate([[_UNSEEN], gram[:-1]])
        self._counts = [self._count(grams, k) for k in range(order)]

    @staticmethod
    def _count(grams: list[NDArray[np.int64]], k: int) -> NDArray[np.float64]:
        """Of each gram of one order: how often it occurs at the highest order, below it after how many tokens."""
        size = int(grams[k].max()) + 1
        if k == len(grams) - 1:
            return np.bincount(grams[k][grams[k] != _UNSEEN], minlength=size).astype(float)
        longer = grams[k + 1]
        known = np.flatnonzero(longer != _UNSEEN)
        first = known[np.unique(longer[known], return_index=True)[1]]
        return np.bincount(grams[k][first], minlength=size).astype(float)

    def loss(self, tokens: NDArray[np.integer], at: NDArray[np.bool_]) -> float:
        """Mean negative log-probability, in nats, of the tokens at some places, each after what stands before it."""
        probability = np.full(len(tokens), 1 / self.vocabulary)
        context = np.zeros(len(tokens), np.int64)
        for keys, counts in zip(self._keys, self._counts, strict=True):
            probability = self._refine(probability, tokens, context, keys, counts)
            context = np.concatenate([[_UNSEEN], self._gram(tokens, context, keys)[:-1]])
        return float(-np.log(probability[at]).mean())

    def _gram(
        self, tokens: NDArray[np.integer], context: NDArray[np.int64], keys: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        key = context * self.vocabulary + tokens
        place = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        return np.where((context != _UNSEEN) & (keys[place] == key), place, _UNSEEN)

    def _refine(
        self,
        lower: NDArray[np.float64],
        tokens: NDArray[np.integer],
        context: NDArray[np.int64],
        keys: NDArray[np.int64],
        counts: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """The probability under one order more, where its context was seen; `lower` elsewhere."""
        once, twice = float((counts == 1).sum()), float((counts == 2).sum())
        discount = min(0.95, max(0.05, once / max(1.0, once + 2 * twice)))
        contexts = keys // self.vocabulary
        total, kinds = np.bincount(contexts, counts), np.bincount(contexts, counts > 0)
        inside = np.clip(context, 0, len(total) - 1)
        seen = (context != _UNSEEN) & (context < len(total)) & (total[inside] > 0)
        gram = self._gram(tokens, context, keys)
        count = np.where(gram != _UNSEEN, counts[np.clip(gram, 0, None)], 0.0)
        sums = np.where(seen, total[inside], 1.0)
        refined = np.maximum(count - discount, 0) / sums + discount * kinds[inside] / sums * lower
        return np.where(seen, refined, lower)
