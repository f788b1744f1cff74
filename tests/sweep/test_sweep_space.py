"""What a sweep ranges over: Hydra's grammar, and the same values under every sampler."""

from __future__ import annotations

import json
import math
import random
import re
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tinyrm.sweep import SweepError
from tinyrm.sweep.plan import Plan, Segment
from tinyrm.sweep.samplers import make_sampler
from tinyrm.sweep.space import Dimension, Space, parse


def space_of(line: str, arms: Any = None) -> Space:
    """What a command line ranges over."""
    return parse(re.findall(r"(?:'[^']*'|\S)+", line), arms, None)[0]  # type: ignore[arg-type]


FINITE = {
    "x=1,2": ["x=1", "x=2"],
    "x=choice(a,b)": ["x=a", "x=b"],
    "x=range(1,4)": ["x=1", "x=2", "x=3"],
    "x=range(4)": ["x=0", "x=1", "x=2", "x=3"],
    "x=range(0,10,4)": ["x=0", "x=4", "x=8"],
    "x=range(3,0,-1)": ["x=3", "x=2", "x=1"],
    "x=range(0,1,0.25)": ["x=0.0", "x=0.25", "x=0.5", "x=0.75"],
    "x=range(0,0.5,0.1)": ["x=0.0", "x=0.1", "x=0.2", "x=0.3", "x=0.4"],
    "x=range(1,0,-0.5)": ["x=1.0", "x=0.5"],
    "x=int(interval(1,4))": ["x=1", "x=2", "x=3", "x=4"],
    "x=int(interval(-1,1))": ["x=-1", "x=0", "x=1"],
    "x=tag(log,int(interval(1,3)))": ["x=1", "x=2", "x=3"],
    "x='a,b','c d'": ["x='a,b'", "x='c d'"],
    "x=[1,2],[3]": ["x=[1,2]", "x=[3]"],
    "x={a:1},{b:2}": ["x={a:1}", "x={b:2}"],
    "x=null,true,1e-3": ["x=null", "x=True", "x=0.001"],
    "+x.y=1,2": ["+x.y=1", "+x.y=2"],
    "++x=1,2": ["++x=1", "++x=2"],
    "x=sort(3,1,2)": ["x=1", "x=2", "x=3"],
    "x=1,1,2": ["x=1", "x=2"],
    "db@spare=one,two": ["db@spare=one", "db@spare=two"],
    "x=1 x=2,3": ["x=2", "x=3"],  # as in Hydra, the last one counts
}


class TestGrammar:
    @pytest.mark.parametrize("line", FINITE, ids=str)
    def test_values_of_a_finite_dimension(self, line: str) -> None:
        space = space_of(line)
        assert space.finite
        assert [o for point in space.grid() for o in space.overrides(point)] == FINITE[line]
        assert space.size == len(FINITE[line])

    def test_the_last_dimension_varies_fastest(self) -> None:
        space, fixed = parse(["a=1,2", "c=5", "b=x,y"], None, None)  # type: ignore[arg-type]
        assert fixed == ["c=5"]
        assert [space.overrides(p) for p in space.grid()] == [
            ("a=1", "b=x"),
            ("a=1", "b=y"),
            ("a=2", "b=x"),
            ("a=2", "b=y"),
        ]
        assert space.config_keys() == {"a", "b"}

    def test_nothing_that_varies_is_one_point(self) -> None:
        space, fixed = parse(["c=5", "~d", "+e=[1,2]"], None, None)  # type: ignore[arg-type]
        assert (space.size, list(space.grid()), fixed) == (1, [()], ["c=5", "~d", "+e=[1,2]"])

    def test_groups_and_globs(self, engine: Any) -> None:
        loader = engine.context()[0].config_loader
        space, _ = parse(["g=glob(*)", "x=1,2"], None, loader)
        assert [d.values() for d in space.dimensions] == [("one", "two"), ("1", "2")]
        space, _ = parse(["g=glob(*,exclude=t*)"], None, loader)
        assert list(space.grid()) == [("one",)]
        space, _ = parse(["g=two,one"], None, loader)
        assert list(space.grid()) == [("two",), ("one",)]

    @pytest.mark.parametrize(
        ("line", "kind"),
        [
            ("x=interval(1,4)", FloatDistribution(1.0, 4.0)),
            ("x=interval(-1.5,0)", FloatDistribution(-1.5, 0.0)),
            ("x=tag(log,interval(1e-5,1e-1))", FloatDistribution(1e-5, 1e-1, log=True)),
            ("x=int(interval(1,4))", IntDistribution(1, 4)),
            ("x=tag(log,int(interval(1,64)))", IntDistribution(1, 64, log=True)),
            ("x=range(1,4)", IntDistribution(1, 3)),
            ("x=range(1,10,4)", IntDistribution(1, 9, step=4)),
            ("x=range(9,0,-4)", IntDistribution(1, 9, step=4)),
            ("x=range(0,1,0.25)", FloatDistribution(0.0, 0.75, step=0.25)),
            ("x=4,8,16", CategoricalDistribution((4, 8, 16))),
            ("x=0.1,1", CategoricalDistribution((0.1, 1))),
            ("x=8,null", CategoricalDistribution(("8", "null"))),
            ("x='1','2'", CategoricalDistribution(("'1'", "'2'"))),
            ("x=nan,1", CategoricalDistribution(("nan", "1"))),
        ],
        ids=str,
    )
    def test_what_a_sampler_is_shown(self, line: str, kind: BaseDistribution) -> None:
        assert space_of(line).dimensions[0].sampled() == kind

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            ("x=interval(4,1)", "x=interval(4,1): an interval goes from a lower number to a higher one."),
            ("x=tag(log,interval(0,1))", "a logarithmic interval starts above 0; this one at 0.0."),
            ("x=int(interval(0,1e17))", "an interval of integers goes up to 2**53 (9007199254740992) at most."),
            ("x=range(3,3)", "x=range(3,3) has no values (a range leaves out its stop)."),
            ("x=choice(", "no viable alternative"),
            ("x=nothing(1,2)", "Unknown function 'nothing'"),
        ],
    )
    def test_what_is_wrong_is_told(self, line: str, complaint: str) -> None:
        with pytest.raises(SweepError) as caught:
            space_of(line)
        assert complaint in str(caught.value)


class TestArms:
    def test_overrides_that_move_together(self) -> None:
        listed = space_of("y=1,2", [["a=dora", "a.rank=8"], ["a=full"], []])
        assert [listed.overrides(p) for p in listed.grid()] == [
            ("a=dora", "a.rank=8", "y=1"),
            ("a=dora", "a.rank=8", "y=2"),
            ("a=full", "y=1"),
            ("a=full", "y=2"),
            ("y=1",),
            ("y=2",),
        ]
        assert [listed.params(p)["arm"] for p in listed.grid()][::2] == ["a=dora a.rank=8", "a=full", "(nothing)"]
        assert listed.config_keys() == {"a", "a.rank", "y"}
        named = space_of("y=1", {"small": ["a=dora"], "none": []})
        assert [(named.params(p), named.overrides(p)) for p in named.grid()] == [
            ({"arm": "small"}, ("a=dora",)),
            ({"arm": "none"}, ()),
        ]
        assert named.dimensions[0].distribution() == CategoricalDistribution(("small", "none"))

    @pytest.mark.parametrize(
        ("arms", "complaint"),
        [
            ("a=1", "sweep.arms='a=1' must be a list of arms, or a mapping from names to arms."),
            (7, "sweep.arms=7 must be a list of arms"),
            (["a=1", "b=2"], "sweep.arms: 'a=1' must be a list of overrides"),
            ([3], "sweep.arms: 3 must be a list of overrides"),
            ([["a=1", 2]], "sweep.arms: ['a=1', 2] must be a list of overrides"),
            ({"base": None}, "sweep.arms: base=None must be a list of overrides"),
            ({"base": "a=1"}, "sweep.arms: base='a=1' must be a list of overrides"),
            ([["a=1,2"]], "sweep.arms: 'a=1,2' sweeps inside an arm: give each value an arm of its own."),
            ([["a=["]], "sweep.arms: 'a=['"),
            ([["a=1", "a=2"]], "sweep.arms: 'a=1 a=2' sets a twice."),
            ([["y=1"]], "y is set by sweep.arms and again beside it: leave one of the two."),
            ([["+z=1"]], "z is set by sweep.arms and again beside it"),
        ],
        ids=str,
    )
    def test_malformed_ones_are_told(self, arms: Any, complaint: str) -> None:
        with pytest.raises(SweepError) as caught:
            space_of("y=1,2 z=3", arms)
        assert complaint in str(caught.value)


class TestEverySampler:
    @pytest.mark.parametrize("sampler", ["random", "tpe", "qmc"])
    def test_ranges_and_choices_hold_the_values_of_their_grid(self, sampler: str) -> None:
        line = "a=range(1,4) b=int(interval(1,4)) c=x,y,z d=range(0,1,0.25) e=range(5,1,-2) f=4,null g=8,2,4"
        space = space_of(line)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(sampler=make_sampler(sampler, {}, 0, 0))
        seen: list[set[str]] = [set() for _ in space.dimensions]
        for number in range(80):
            study.sampler = make_sampler(sampler, {}, 0, number)
            trial = study.ask()
            for values, dimension in zip(seen, space.dimensions, strict=True):
                text = dimension.suggest(trial)
                values.add(text)
                assert trial.params[dimension.name] == dimension.stored(text)
            study.tell(trial, (number * 37) % 11)
        assert seen == [set(d.values()) for d in space.dimensions]

    @settings(max_examples=60, deadline=None)
    @given(st.integers(-50, 50), st.integers(1, 12), st.sampled_from([1, 2, 3, 7, -1, -3]), st.integers(0, 99))
    def test_any_range(self, start: int, count: int, step: int, seed: int) -> None:
        dimension = space_of(f"x=range({start},{start + count * step},{step})").dimensions[0]
        assert [int(v) for v in dimension.values()] == list(range(start, start + count * step, step))
        study = optuna.create_study(sampler=make_sampler("random", {}, seed, 0))
        drawn = {dimension.suggest(study.ask()) for _ in range(3)}
        assert drawn <= set(dimension.values())

    @settings(max_examples=60, deadline=None)
    @given(st.decimals(-5, 5, places=2), st.sampled_from(["0.1", "0.25", "0.3", "1e-3"]), st.integers(1, 9))
    def test_any_range_of_fractions(self, start: Any, step: str, count: int) -> None:
        stop = float(start) + (count - 0.5) * float(step)
        dimension = space_of(f"x=range({float(start)},{stop},{step})").dimensions[0]
        assert len(dimension.values()) == count
        kind = dimension.sampled()
        assert isinstance(kind, FloatDistribution)
        assert round((kind.high - kind.low) / float(step)) == count - 1  # the last value is there
        study = optuna.create_study(sampler=make_sampler("random", {}, count, 0))
        assert {dimension.suggest(study.ask()) for _ in range(4)} <= set(dimension.values())

    @settings(max_examples=60, deadline=None)
    @given(st.floats(-1e3, 1e3), st.floats(1e-6, 1e3), st.booleans(), st.integers(0, 99))
    def test_any_interval(self, low: float, width: float, log: bool, seed: int) -> None:
        low = abs(low) + 1e-6 if log else low
        high = low + width
        text = f"interval({low!r},{high!r})"
        dimension = space_of(f"x=tag(log,{text})" if log else f"x={text}").dimensions[0]
        study = optuna.create_study(sampler=make_sampler("random", {}, seed, 0))
        rng = random.Random(seed)
        for value in (dimension.suggest(study.ask()), dimension.draw(rng), *dimension.ends()):
            assert low <= float(value) <= high
        assert [float(e) for e in dimension.ends()] == [low, high]


WORDS = st.text(st.characters(whitelist_categories=("Ll", "Nd")), min_size=1, max_size=5)


class TestStored:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(WORDS | st.integers().map(str), min_size=1, max_size=5, unique=True), st.integers(0, 99))
    def test_values_and_records_belong_together(self, texts: list[str], seed: int) -> None:
        dimension = Dimension("x", "x", tuple(texts))
        kind = dimension.distribution()
        for text in texts:
            stored = dimension.stored(text)
            assert kind.to_external_repr(kind.to_internal_repr(stored)) == stored
        study = optuna.create_study(sampler=make_sampler("random", {}, seed, 0))
        assert dimension.suggest(study.ask()) in texts

    @pytest.mark.parametrize("text", [str(2**53 + 1), str(-(2**60)), "9" * 309, "-" + "9" * 4000, "9" * 5000])
    def test_an_integer_that_no_float_holds_stays_as_typed(self, text: str) -> None:
        dimension = Dimension("x", "x", (text, "1"))
        assert dimension.stored(text) == text and dimension.stored("1") == "1"
        assert dimension.distribution() == CategoricalDistribution((text, "1"))
        assert Dimension("x", "x", (str(2**53),)).stored(str(2**53)) == 2**53

    def test_integers_of_any_length_may_be_typed(self) -> None:
        long = "9" * 400
        assert space_of(f"x={long},1").dimensions[0].sampled() == CategoricalDistribution((long, "1"))
        assert space_of(f"x=range({long[:-1]}7,{long})").dimensions[0].values() == (f"{long[:-1]}7", f"{long[:-1]}8")
        with pytest.raises(SweepError, match="Exceeds the limit"):
            space_of(f"x={'9' * 5000},1")

    def test_values_are_read_once_however_many_trials_ask(self) -> None:
        for dimension in (space_of("x=range(0,2000)").dimensions[0], space_of("x=4,8").dimensions[0]):
            assert dimension.distribution() is dimension.distribution()
            assert dimension.sampled() is dimension.sampled()

    def test_a_wide_interval_of_integers_is_never_listed(self) -> None:
        wide = space_of("x=int(interval(0,4000000000)) seed=range(0,2000)")
        assert wide.finite and wide.size == 4_000_000_001 * 2000
        dimension = wide.dimensions[0]
        assert dimension.stored("3999999999") == 3_999_999_999
        assert dimension.distribution() == dimension.sampled() == IntDistribution(0, 4_000_000_000)
        assert Dimension.from_json(json.loads(json.dumps(dimension.as_json()))) == dimension

    @pytest.mark.parametrize("line", [*FINITE, "x=interval(0,1)", "x=tag(log,interval(1e-5,1))"], ids=str)
    def test_comes_back_from_json(self, line: str) -> None:
        space = space_of(line, {"one": ["q=1"], "two": []})
        plan = Plan((Segment(space, 3, ("c=5",), skip=frozenset({1}), again=(4,)), Segment(space, 2, sampled=True)))
        assert Plan.from_json(json.loads(json.dumps(plan.as_json()))) == plan

    def test_corners_and_draws_for_checking(self) -> None:
        space = space_of("a=interval(0,1) b=x,y c=int(interval(1,9))")
        assert not space.finite
        assert list(space.corners(100)) == [(a, b, c) for a in ("0.0", "1.0") for b in ("x", "y") for c in ("1", "9")]
        assert len(list(space.corners(3))) == 3
        rng = random.Random(0)
        drawn = [float(space.dimensions[0].draw(rng)) for _ in range(50)]
        assert 0 <= min(drawn) < 0.2 < 0.8 < max(drawn) <= 1
        log = space_of("a=tag(log,interval(1e-6,1))").dimensions[0]
        assert sum(math.log10(float(log.draw(rng))) < -3 for _ in range(200)) == pytest.approx(100, abs=30)
