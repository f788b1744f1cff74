"""The bag of words: it finds a planted word, knows no order of words, and is fitted once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinyrm.evaluation.bag import BAG, bag_log_odds
from tinyrm.types import PreferencePair

FILLER = ["river", "stone", "cloud", "lamp", "window", "paper", "garden", "road"]


def planted(n: int, seed: int, good: str = "certainly", bad: str = "perhaps") -> list[PreferencePair]:
    """The chosen response has one word more often, the rejected one another; the rest is drawn."""
    random = np.random.default_rng(seed)

    def text(word: str) -> str:
        return " ".join(random.permutation([*random.choice(FILLER, 6), word]))

    return [PreferencePair(f"{seed}/{i}", "q", text(good), text(bad), "chat", "easy", "made") for i in range(n)]


def test_a_planted_word_is_found_and_where_it_is_exchanged_every_verdict_is_wrong() -> None:
    train, dev = planted(200, 0), planted(40, 1)
    found = bag_log_odds(train, dev, planted(100, 2))
    assert found is not None
    assert (found > 0).all()
    turned = bag_log_odds(train, dev, planted(100, 2, good="perhaps", bad="certainly"))
    assert turned is not None
    assert (turned < 0).all()


def test_equal_responses_are_a_tie_and_exchanged_ones_the_opposite() -> None:
    train, dev = planted(200, 0), planted(40, 1)
    pair = planted(1, 3)[0]
    same = PreferencePair("s", "q", "stone certainly", "certainly stone", "chat", "easy", "made")
    turned = PreferencePair("t", "q", pair.rejected, pair.chosen, "chat", "easy", "made")
    found = bag_log_odds(train, dev, [pair, turned, same])
    assert found is not None
    assert found[0] == pytest.approx(-found[1])
    assert found[2] == pytest.approx(0, abs=1e-12)


def test_without_anything_to_find_it_is_no_better_than_a_coin() -> None:
    found = bag_log_odds(
        planted(300, 0, "river", "river"), planted(100, 1, "river", "river"), planted(400, 2, "a", "a")
    )
    assert found is not None
    assert 0.4 < (found > 0).mean() < 0.6


def test_it_is_fitted_once_for_the_same_pairs(tmp_path: Path) -> None:
    parts = [planted(50, 0), planted(10, 1), planted(20, 2)]
    prints = {"train": "a", "dev": "b", "test": "c"}
    first = bag_log_odds(*parts, fingerprints=prints, cache_dir=tmp_path)
    (entry,) = (tmp_path / BAG).rglob("*.safetensors")
    # The kept one is what is given: other pairs under the same names would come to other numbers.
    again = bag_log_odds(planted(50, 7), parts[1], parts[2][::-1], fingerprints=prints, cache_dir=tmp_path)
    assert first is not None
    assert again is not None
    assert np.array_equal(first, again)
    other = bag_log_odds(*parts, fingerprints=prints | {"train": "z"}, cache_dir=tmp_path)
    assert other is not None
    assert np.array_equal(first, other)
    assert len(list((tmp_path / BAG).rglob("*.safetensors"))) == 2
    entry.write_bytes(b"half")  # a damaged entry is made again
    mended = bag_log_odds(*parts, fingerprints=prints, cache_dir=tmp_path)
    assert mended is not None
    assert np.array_equal(first, mended)


def test_nothing_to_learn_from_is_no_bag() -> None:
    pair = PreferencePair("a", "q", "alpha", "beta", "chat", "easy", "made")
    other = PreferencePair("b", "q", "gamma", "delta", "chat", "easy", "made")
    assert bag_log_odds([pair], [pair], [pair]) is None
    assert bag_log_odds([pair, other], [pair], [pair]) is None
