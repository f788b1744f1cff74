"""Probes: exact values on hand-made predictions, and what is told of old folders."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tinyrm.errors import DataError
from tinyrm.evaluation.metrics import weighted, wilson
from tinyrm.evaluation.predictions import DEV_PREDICTIONS, PREDICTIONS, predictions, write_predictions
from tinyrm.evaluation.probes import probes, read_probes
from tinyrm.types import PairScores, PreferencePair


def pair(number: int, chosen: int, rejected: int, prompt: int = 1) -> PreferencePair:
    """With so many words in each part."""
    return PreferencePair(str(number), "p " * prompt, "c " * chosen, "r " * rejected, "chat", "easy", "made")


def scores(first: list[float], second: list[float] | None = None, cut: list[bool] | None = None) -> PairScores:
    n = len(first)
    return PairScores(
        np.array(first, dtype=np.float64),
        np.array(first if second is None else second, dtype=np.float64),
        np.array([False] * n if cut is None else cut),
        np.full(n, 9, dtype=np.int64),
    )


def test_order_flips_and_the_place_that_is_favoured() -> None:
    """Pair 0 is right and 1 wrong both times; 2 and 3 go to the first place, 4 to the second; 5 flips by a tie."""
    table = predictions([pair(i, 2, 2) for i in range(6)], scores([2, -1, 3, 1, -2, 0], [1, -1, -1, -2, 1, -1]))
    found = probes(table).orders
    assert found is not None
    assert found.flips == wilson(4, 6)
    assert found.first_favoured == wilson(3, 4)  # of 2, 3, 4 and 5
    assert found.chosen_first == wilson(3.5, 6)
    assert found.chosen_second == wilson(2, 6)
    assert found.lean.value == pytest.approx(np.mean([0.5, 0, 2, 1.5, -1.5, 0.5]))
    assert found.lean.low < found.lean.value < found.lean.high


def test_responses_read_alone_have_no_order() -> None:
    found = probes(predictions([pair(0, 2, 1), pair(1, 1, 2)], scores([1, -1])))
    assert found.orders is None
    assert "read alone" in found.missing["orders"]


def test_accuracy_by_length_and_with_length_held_level() -> None:
    """Chosen longer: 3 of 4 right; shorter: 1 of 2; equal: a tie."""
    pairs = [pair(i, 3, 1) for i in range(4)] + [pair(i, 1, 3) for i in (4, 5)] + [pair(6, 2, 2)]
    found = probes(predictions(pairs, scores([1, 1, 1, -1, 1, -1, 0]))).lengths
    assert (found.longer, found.shorter, found.equal) == (wilson(3, 4), wilson(1, 2), wilson(0.5, 1))
    assert found.controlled == weighted([wilson(3, 4), wilson(1, 2)], [1, 1])
    assert found.controlled.value == pytest.approx(0.625)
    assert found.prefers_longer == wilson(4, 6)  # three where that is right, one where it is wrong
    assert found.longer_is_right == wilson(4, 6)


def test_a_rule_that_looks_at_length_alone_gets_a_half_where_length_is_held_level() -> None:
    lengths = np.random.default_rng(0).integers(1, 9, (200, 2))
    pairs = [pair(i, max(a, b), min(a, b)) if i % 4 else pair(i, a, b) for i, (a, b) in enumerate(lengths)]
    rule = predictions(pairs, scores([float(len(p.chosen) - len(p.rejected)) for p in pairs]))
    found = probes(rule)
    assert found.accuracy.value > 0.7
    assert found.lengths.controlled.value == 0.5
    assert found.lengths.prefers_longer.value == 1


def test_accuracy_by_length_of_the_prompt_and_where_pairs_were_cut() -> None:
    """Quarters of 8 prompts of 1 to 8 words: the longer half is wrong, and was cut."""
    pairs = [pair(i, 2, 2, prompt=i + 1) for i in range(8)]
    found = probes(predictions(pairs, scores([1] * 4 + [-1] * 4, cut=[False] * 4 + [True] * 4)))
    assert [(c.low, c.high, c.accuracy.value, c.accuracy.n) for c in found.prompts] == [
        (1, 2, 1.0, 2), (3, 4, 1.0, 2), (5, 6, 0.0, 2), (7, 8, 0.0, 2),
    ]  # fmt: skip
    assert (found.truncated, found.whole) == (wilson(0, 4), wilson(4, 4))
    alike = probes(predictions([pair(i, 2, 2) for i in range(5)], scores([1] * 5)))
    assert [(c.low, c.high, c.accuracy.n) for c in alike.prompts] == [(1, 1, 5)]
    assert (alike.truncated.n, math.isnan(alike.truncated.value)) == (0, True)


def test_what_the_model_knows_beyond_words() -> None:
    """The bag is right in 4 of 6, and once undecided; the model in 3 of these 4, and in 1 of the 2 it gets wrong."""
    bag = np.array([1.0, 1, 1, 1, -1, -1, 0])
    found = probes(predictions([pair(i, 2, 2) for i in range(7)], scores([1, 1, 1, -1, 1, -1, 1]), bag)).bag
    assert found is not None
    assert found.accuracy == wilson(4.5, 7)
    assert found.agreement == wilson(4, 7)
    assert found.where_right == wilson(3, 4)
    assert found.where_wrong == wilson(1, 2)
    ours, its = 5 / 7, 4.5 / 7
    assert found.agreement_by_chance == pytest.approx(ours * its + (1 - ours) * (1 - its))


def test_the_temperature_comes_from_dev_and_changes_no_verdict() -> None:
    """Dev at confidence 0.9 is right in three of four: log-odds of test are halved."""
    dev = predictions([pair(i, 2, 1) for i in range(40)], scores([math.log(9)] * 30 + [-math.log(9)] * 10))
    test = predictions([pair(i, 2, 1) for i in range(30)], scores([math.log(9)] * 27 + [-math.log(9)] * 3))
    found = probes(test, dev)
    assert found.temperature is not None and found.calibration_scaled is not None
    assert found.temperature.value.value == pytest.approx(2, rel=1e-5)
    assert found.temperature.value.n == 40
    assert found.calibration.ece == pytest.approx(0, abs=1e-12)  # test itself has no say in it
    assert found.calibration_scaled.ece == pytest.approx(0.15, abs=1e-5)
    assert [b.accuracy for b in found.calibration_scaled.bins] == [b.accuracy for b in found.calibration.bins]


def test_an_old_folder_tells_what_it_can_and_why_not_the_rest(tmp_path: Path) -> None:
    write_predictions(tmp_path / PREDICTIONS, [pair(i, 2, 1) for i in range(3)], scores([1, 2, -1], [1, -2, -1]))
    old = pq.read_table(tmp_path / PREDICTIONS).drop_columns(["prompt_words", "bag_log_odds"])
    pq.write_table(old, tmp_path / PREDICTIONS)
    found = read_probes(tmp_path)
    assert found.accuracy == wilson(1.5, 3)
    assert found.orders is not None
    assert (found.temperature, found.calibration_scaled, found.bag, found.prompts) == (None, None, None, ())
    assert set(found.missing) == {"temperature", "calibration_scaled", "bag", "prompts"}
    assert "earlier version" in found.missing["prompts"]
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert content["orders"]["flips"]["n"] == 3
    assert content["truncated"] == {"value": None, "n": 0, "low": None, "high": None}
    assert content["missing"] == dict(found.missing)


def test_an_evaluation_within_a_run_has_the_temperature_of_the_run(tmp_path: Path) -> None:
    write_predictions(tmp_path / DEV_PREDICTIONS, [pair(i, 2, 1) for i in range(3)], scores([1, 2, -1]))
    inner = tmp_path / "eval-pairs"
    write_predictions(inner / PREDICTIONS, [pair(i, 2, 1) for i in range(3)], scores([1, 2, -1]))
    found = read_probes(inner).temperature
    assert found is not None
    assert found.value.n == 3


def test_a_folder_without_predictions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the predictions"):
        read_probes(tmp_path)
