"""Trivial language models."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinyrm.evaluation.language import NGrams


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_it_is_a_distribution_after_any_context(order: int) -> None:
    tokens = np.random.default_rng(0).integers(0, 7, 400)
    model = NGrams(tokens, order, 9)  # two words were never seen
    for context in ([3, 1, 4, 1], [8, 8, 8, 8], [0, 8, 1, 2]):
        losses = [model.loss(np.array([*context, w]), np.array([0, 0, 0, 0, 1], bool)) for w in range(9)]
        assert sum(math.exp(-x) for x in losses) == pytest.approx(1)


def test_a_bigram_by_hand() -> None:
    """0 is followed three times by 1 and once by 2; of 3 kinds of bigram one occurs once and none twice."""
    tokens = np.array([0, 1, 0, 1, 0, 1, 0, 2])
    model = NGrams(tokens, 2, 3)
    # Bigrams (0,1): 3, (1,0): 3, (0,2): 1. Discount n1 / (n1 + 2 n2) = 1, held to 0.95.
    # Below: each of 0, 1, 2 follows one other token; again 0.95 off, and what that leaves shared by the three.
    lower = (1 - 0.95) / 3 + 0.95 * 3 / 3 / 3
    expected = (1 - 0.95) / 4 + 0.95 * 2 / 4 * lower
    loss = model.loss(np.array([0, 2]), np.array([False, True]))
    assert math.exp(-loss) == pytest.approx(expected)


def test_longer_contexts_help_where_text_repeats() -> None:
    phrase = np.random.default_rng(1).integers(0, 50, 30)
    tokens = np.concatenate([np.append(np.random.default_rng(s).permutation(50)[:5], phrase) for s in range(60)])
    held, at = np.tile(phrase, 2), np.ones(60, bool)
    losses = [NGrams(tokens, order, 50).loss(held, at) for order in (1, 2, 3)]
    assert losses[0] > losses[1] > losses[2]
