"""Verdicts by known values: each rule, what is corrected, what is compared, what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from scipy import stats

from tinyrm.errors import ConfigError, DataError
from tinyrm.evaluation.arms import Seeds, benchmark_of, holm
from tinyrm.evaluation.benchmarks import REWARDBENCH
from tinyrm.evaluation.paired import mcnemar
from tinyrm.evaluation.predictions import Predictions, predictions
from tinyrm.evaluation.verdicts import Contrast, Finding, Verdict, judge
from tinyrm.types import PairScores, PreferencePair


def made(right: Mapping[str, Sequence[bool]], subset: str = "s") -> Predictions:
    """Predictions that are right where asked, by section."""
    pairs = [
        PreferencePair(f"{section}{i}", "q", "yes", "no", section, subset, "test")
        for section, outcomes in right.items()
        for i in range(len(outcomes))
    ]
    odds = np.where(np.concatenate([np.asarray(o, bool) for o in right.values()]), 1.0, -1.0)
    return predictions(pairs, PairScores(odds, odds, np.zeros(len(odds), bool), np.ones(len(odds), np.int64)))


def first_right(k: int, n: int = 400) -> list[bool]:
    return [i < k for i in range(n)]


def seeds(table: Predictions, n: int = 3) -> Seeds:
    """The same in every seed: nothing varies but the pairs."""
    return dict.fromkeys(range(n), table)


def arms(**right: int) -> dict[str, Seeds]:
    """An arm that has so many of 400 pairs right, the first ones, for each name."""
    return {name: seeds(made({"chat": first_right(k)})) for name, k in right.items()}


def one(found: dict[str, Seeds], contrast: Contrast) -> Finding:
    (finding,) = judge(found, [contrast], benchmark_of("pairs", next(iter(found[contrast.first].values()))))
    return finding


def difference(better: int, worse: int = 0, n: int = 400) -> tuple[float, float]:
    """Mean and standard error of as many differences of +1 and of -1 among n."""
    values = np.repeat([1.0, -1.0, 0.0], [better, worse, n - better - worse])
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(n))


def test_every_number_of_a_finding() -> None:
    finding = one(arms(a=220, b=200), Contrast("claim", "a", "b", "better", 0.03))
    value, error = difference(20)
    assert (finding.effect.value, finding.n, finding.seeds) == (pytest.approx(value), 400, 3)
    assert finding.effect.low == pytest.approx(value - stats.t.ppf(0.975, 399) * error)
    assert finding.effect.high == pytest.approx(value + stats.t.ppf(0.975, 399) * error)
    assert finding.p_value == finding.p_holm == pytest.approx(2 * stats.t.sf(value / error, 399))
    assert finding.corrected == finding.effect
    assert (finding.mcnemar.better, finding.mcnemar.worse, finding.mcnemar.p_value) == (20, 0, mcnemar(20, 0))
    assert finding.detectable == pytest.approx((stats.t.ppf(0.975, 399) + stats.norm.ppf(0.8)) * error, rel=1e-3)
    assert finding.bootstrap.low == pytest.approx(value - 1.96 * error, abs=0.004)
    assert finding.scope == "other pairs and other seeds (3 seeds)"
    assert finding.verdict is Verdict.SUPPORTED


@pytest.mark.parametrize(
    ("expect", "first", "margin", "verdict"),
    [
        ("better", 220, 0.03, Verdict.SUPPORTED),  # 5 points, interval 2.9 to 7.1
        ("better", 220, 0.20, Verdict.SUPPORTED),  # shown, if less than the margin: the interval says so
        ("better", 202, 0.03, Verdict.REFUTED),  # 0.5 points, interval -0.2 to 1.2: 3 points are excluded
        ("better", 202, 0.01, Verdict.UNDECIDED),  # 1 point is not
        ("better", 180, 0.03, Verdict.REFUTED),  # worse
        ("no_worse", 202, 0.01, Verdict.SUPPORTED),
        ("no_worse", 198, 0.015, Verdict.SUPPORTED),  # -0.5 points, interval down to -1.2
        ("no_worse", 198, 0.01, Verdict.UNDECIDED),
        ("no_worse", 180, 0.02, Verdict.REFUTED),  # -5 points, interval up to -2.9
        ("same", 202, 0.0115, Verdict.SUPPORTED),  # the 90% interval ends at 1.08
        ("same", 202, 0.0105, Verdict.UNDECIDED),
        ("same", 220, 0.02, Verdict.REFUTED),
        ("same", 180, 0.02, Verdict.REFUTED),
    ],
)
def test_rules(expect: str, first: int, margin: float, verdict: Verdict) -> None:
    finding = one(arms(a=first + 100, b=300), Contrast("claim", "a", "b", expect, margin))
    assert finding.verdict is verdict


@pytest.mark.parametrize("expect", ["better", "no_worse", "same"])
def test_where_neither_arm_has_learnt_anything_nothing_is_decided(expect: str) -> None:
    """Two arms that guess are as good as each other, whatever was done to them."""
    contrast = Contrast("claim", "a", "b", expect, 0.05)
    guessing, learnt = (one(arms(a=k, b=k), contrast) for k in (200, 260))
    assert (guessing.learnt, guessing.verdict) == (False, Verdict.UNDECIDED)
    assert learnt.learnt and learnt.verdict is (Verdict.REFUTED if expect == "better" else Verdict.SUPPORTED)
    assert guessing.p_holm == learnt.p_holm  # the numbers are what they are


def test_one_arm_that_has_learnt_is_enough() -> None:
    """What guesses is shown to be worse than what does not."""
    found = {
        expect: one(arms(a=200, b=300), Contrast("claim", "a", "b", expect, 0.05)) for expect in ("better", "same")
    }
    assert all(f.learnt and f.verdict is Verdict.REFUTED for f in found.values())


def test_p_values_of_no_worse_and_same() -> None:
    right = {"a": [i % 2 == 0 for i in range(400)], "b": [i % 4 < 2 for i in range(400)], "c": first_right(260)}
    found = {name: seeds(made({"chat": outcomes})) for name, outcomes in right.items()}
    value, error = difference(100, 100)
    no_worse = one(found, Contrast("x", "a", "b", "no_worse", 0.08))
    assert no_worse.p_value == pytest.approx(2 * stats.t.sf((value + 0.08) / error, 399))
    same = one(found, Contrast("x", "a", "b", "same", 0.08))
    assert same.p_value == pytest.approx(stats.t.sf((0.08 - value) / error, 399))
    assert same.equivalent and no_worse.equivalent
    assert one(found, Contrast("x", "a", "c", "no_worse", 0.08)).p_value == 1
    assert one(found, Contrast("x", "a", "c", "same", 0.08)).p_value > 0.5


def test_contrasts_judged_together_are_corrected_together() -> None:
    found, table = arms(a=220, b=205, c=200), benchmark_of("pairs", made({"chat": first_right(1)}))
    claims = [Contrast(f"{x}{y}", x, y, "better", 0.02) for x, y in ("ab", "bc", "ca")]
    together = judge(found, claims, table)
    alone = [judge(found, [claim], table)[0] for claim in claims]
    assert [f.p_value for f in together] == [f.p_value for f in alone]
    assert [f.p_holm for f in together] == holm([f.p_value for f in alone])
    assert [f.effect for f in together] == [f.effect for f in alone]
    for one_of_three, single in zip(together, alone, strict=True):
        wider = stats.t.ppf(1 - 0.05 / 6, 399) / stats.t.ppf(0.975, 399)
        half = single.effect.high - single.effect.value
        assert one_of_three.corrected.high - single.effect.value == pytest.approx(half * wider)
        assert one_of_three.detectable > single.detectable
    # 5 pairs of 400: p is 0.025 alone, and there are three claims.
    assert alone[1].verdict is Verdict.SUPPORTED
    assert judge(arms(a=205, b=205, c=200), claims, table)[1].p_holm > 0.025


def test_the_other_way_round_is_the_mirror_image() -> None:
    found = arms(a=220, b=200)
    there, back = (one(found, Contrast("x", *pair, "same", 0.02)) for pair in ("ab", "ba"))
    assert (back.effect.low, back.effect.high) == (pytest.approx(-there.effect.high), pytest.approx(-there.effect.low))
    assert (back.mcnemar.better, back.mcnemar.worse) == (there.mcnemar.worse, there.mcnemar.better)
    assert back.p_value == pytest.approx(there.p_value)


def test_seeds_count_and_only_common_ones() -> None:
    good, poor, base = (made({"chat": first_right(k)}) for k in (240, 200, 200))
    sure = one({"a": seeds(good), "b": seeds(base)}, Contrast("x", "a", "b", "better", 0.02))
    wild = one({"a": {0: good, 1: poor, 2: good}, "b": seeds(base)}, Contrast("x", "a", "b", "better", 0.02))
    assert (sure.verdict, wild.verdict) == (Verdict.SUPPORTED, Verdict.UNDECIDED)
    assert wild.detectable > 2 * sure.detectable
    mixed = one({"a": {5: good, 7: good, 9: poor}, "b": {7: base, 5: base}}, Contrast("x", "a", "b", "better", 0.02))
    assert (mixed.seeds, mixed.effect.value) == (2, pytest.approx(0.1))
    # Right in 2 of 3 seeds against 3 of 3 is worse; ties within a unit are neither.
    signs = one({"a": {0: good, 1: poor, 2: good}, "b": seeds(good)}, Contrast("x", "a", "b", "better", 0.02)).mcnemar
    assert (signs.better, signs.worse) == (0, 40)


def test_one_seed_says_that_seeds_are_left_out_and_is_no_surer_than_mcnemar() -> None:
    found = {"a": seeds(made({"chat": first_right(204)}), 1), "b": seeds(made({"chat": first_right(200)}), 1)}
    finding = one(found, Contrast("x", "a", "b", "better", 0.01))
    assert finding.p_value == mcnemar(4, 0) == 0.125
    assert finding.effect.low > 0  # the t interval is surer; the verdict is not
    assert finding.verdict is Verdict.UNDECIDED
    assert finding.scope == "other pairs, these two models only (one seed)"


def test_arms_that_agree_everywhere_are_the_same_up_to_what_so_many_pairs_can_tell() -> None:
    finding = one(arms(a=300, b=300), Contrast("x", "a", "b", "same", 0.01))
    assert (finding.effect.value, finding.p_value) == (0, pytest.approx(0.99**400 / 2))
    assert finding.effect.high == pytest.approx(1 - 0.05 ** (1 / 400))
    assert finding.verdict is Verdict.SUPPORTED
    few = {name: seeds(made({"chat": first_right(3, 5)})) for name in "ab"}
    assert one(few, Contrast("x", "a", "b", "same", 0.01)).verdict is Verdict.UNDECIDED


BOTH = {
    "all": seeds(made({"chat": first_right(220), "math": first_right(60, 100)})),
    "chat_only": seeds(made({"chat": first_right(240)})),
    "other": seeds(made({"chat": first_right(200), "math": first_right(50, 100)})),
}
TABLE = benchmark_of("pairs", BOTH["all"][0])


def test_a_specialist_is_compared_where_it_has_pairs() -> None:
    (finding,) = judge(BOTH, [Contrast("x", "chat_only", "all", "better", 0.02, {"chat": 1})], TABLE)
    assert (finding.n, finding.effect.value) == (400, pytest.approx(0.05))
    with pytest.raises(DataError, match=r"not on the same pairs \(name the sections to compare\): 100 are in only one"):
        judge(BOTH, [Contrast("x", "chat_only", "all", "better", 0.02)], TABLE)
    with pytest.raises(DataError, match=r"chat_only has no pairs of 'math'. It has: chat\."):
        judge(BOTH, [Contrast("x", "chat_only", "all", "better", 0.02, {"math": 1})], TABLE)


def test_sections_weigh_as_told() -> None:
    effects = {"chat": 0.05, "math": 0.10}
    for weights in ({}, {"chat": 1}, {"math": 1}, {"chat": 0.25, "math": 0.75}, {"math": 1, "chat": -1}):
        (finding,) = judge(BOTH, [Contrast("x", "all", "other", "better", 0.02, weights)], TABLE)
        expected = sum(
            (weights or {"chat": 0.5, "math": 0.5}).get(name, 0) * effect for name, effect in effects.items()
        )
        assert finding.effect.value == pytest.approx(expected)
    errors = [difference(20)[1], difference(10, n=100)[1]]
    assert finding.detectable == pytest.approx(2.8 * math.hypot(*errors), rel=0.02)
    # In the interaction the 20 pairs of chat speak against it, and signs have no p.
    assert (finding.mcnemar.better, finding.mcnemar.worse) == (10, 20)
    assert math.isnan(finding.mcnemar.p_value)


def test_subsets_weigh_as_in_the_benchmark_and_views_are_known() -> None:
    def table(right: dict[str, int]) -> Predictions:
        pairs = [
            PreferencePair(f"{subset}{i}", "q", "yes", "no", "filterable", subset, "test")
            for subset in ("math-prm", "hep-go", "alpacaeval-easy")
            for i in range(10)
        ]
        odds = np.array([1.0 if i < right[s] else -1.0 for s in right for i in range(10)])
        return predictions(pairs, PairScores(odds, odds, np.zeros(30, bool), np.ones(30, np.int64)))

    found = {
        "a": seeds(table({"math-prm": 8, "hep-go": 5, "alpacaeval-easy": 5})),
        "b": seeds(table({"math-prm": 5, "hep-go": 5, "alpacaeval-easy": 4})),
    }
    for section, expected in (("Reasoning", 0.3 * 984 / (984 + 164)), ("reasoning", 0.3 * 6 / 7), ("chat", 0.1)):
        (finding,) = judge(found, [Contrast("x", "a", "b", "better", 0.02, {section: 1})], REWARDBENCH)
        assert finding.effect.value == pytest.approx(expected)
    with pytest.raises(DataError, match="a has pairs of 's', which rewardbench does not have"):
        judge(arms(a=1, b=2), [Contrast("x", "a", "b", "better", 0.02)], REWARDBENCH)


def test_what_a_contrast_may_not_say_is_said_all_at_once() -> None:
    wrong = [
        Contrast("one", "al", "other", "beter", 0),
        Contrast("two", "all", "all", "same", 2, {"chta": 1}),
        Contrast("three", "all", "other", "same", 0.01, {"chat": 1, "math": 1}),
        Contrast("four", "all", "other", "same", 0.01, {"chat": 1, "math": 0}),
    ]
    with pytest.raises(ConfigError) as caught:
        judge(BOTH, wrong, TABLE)
    assert [problem.split(".")[0] for problem in caught.value.problems] == [
        "one: first=al is no arm of this study",
        "one: expect=beter is unknown",
        "one: margin is a fraction between 0 and 1 (0",
        "two: all is compared with itself",
        "two: margin is a fraction between 0 and 1 (0",
        "two: 'chta' is no section of pairs",
        "three: weights of sections sum to 1 (a mean) or 0 (an interaction), got 2",
        "four: leave out a section that weighs 0",
    ]
    assert "Did you mean 'better'?" in caught.value.problems[1]
    assert "Did you mean 'chat'?" in caught.value.problems[5]


def test_what_cannot_be_compared_is_refused() -> None:
    claim = [Contrast("x", "a", "b", "better", 0.02)]
    table, other = made({"chat": first_right(2, 5)}), made({"chat": first_right(2, 6)})
    with pytest.raises(DataError, match=r"a and b have no seed in common: \[0\] against \[1\]"):
        judge({"a": {0: table}, "b": {1: table}}, claim, TABLE)
    with pytest.raises(DataError, match="a with seed 1 and a with seed 0 are not on the same pairs"):
        judge({"a": {0: table, 1: other}, "b": {0: table, 1: table}}, claim, TABLE)
    single = made({"chat": [True]})
    with pytest.raises(DataError, match="a single pair says nothing"):
        judge({"a": {0: single}, "b": {0: single}}, claim, TABLE)
    assert judge({}, [], TABLE) == []
