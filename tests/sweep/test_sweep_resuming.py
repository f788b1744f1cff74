"""The same question again, and another one: what counts as the same, and what of it runs."""

from __future__ import annotations

from typing import Any

import pytest

from tinyrm.sweep import Result, SweepError


def value(config: Any) -> Result:
    return Result({"value": 100 * config.g.z + config.x + config.y})


def values(records: list[Any]) -> list[float]:
    return [r.values["value"] for r in records]


class TestWhatIsFixedBelowAGroupThatVaries:
    def test_its_change_is_refused(self, engine: Any) -> None:
        assert values(engine.sweep(value, "g=one,two", "g.z=8", name="s")) == [801.5]  # whichever group: one config
        for changed, told in (("g.z=16", "8 -> 16"), ("g.z=null", "8 -> null"), ("~g.z", r"8 -> \(taken out\)")):
            with pytest.raises(SweepError, match=rf"g\.z: {told}\n"):
                engine.sweep(value, "g=one,two", changed, name="s")
        with pytest.raises(SweepError, match=r"g\.z: 8 -> \(not there\)\n"):
            engine.sweep(value, "g=one,two", name="s")
        assert values(engine.sweep(value, "g=one,two", "g.z=8", "x=1,2", name="s")) == [801.5, 802.5]

    @pytest.mark.parametrize("settings", [{}, {"sampler": "random", "n_trials": 3}], ids=["grid", "random"])
    def test_it_has_a_name_of_its_own(self, engine: Any, settings: dict[str, object]) -> None:
        first = engine.sweep(value, "g=one,two", "g.z=8", **settings)
        second = engine.sweep(value, "g=one,two", "g.z=16", **settings)
        assert set(values(first)) == {801.5} and set(values(second)) == {1601.5}
        assert first[0].folder.parent != second[0].folder.parent

    def test_the_group_may_have_been_fixed_before(self, engine: Any) -> None:
        engine.sweep(value, "g=one", "g.z=8", name="s")
        assert values(engine.sweep(value, "g=one,two", "g.z=8", "x=1,3", name="s")) == [801.5, 803.5]
        with pytest.raises(SweepError, match=r"g\.z: 8 -> 9\n"):
            engine.sweep(value, "g=two", "g.z=9", name="s")

    def test_the_groups_own_values_are_no_change(self, engine: Any) -> None:
        engine.sweep(value, "g=one", name="s")
        assert values(engine.sweep(value, "g=one,two", name="s")) == [101.5, 201.5]
        with pytest.raises(SweepError, match=r"g\.z: 1 -> 2\n"):
            engine.sweep(value, "g=two", "g.z=2", name="s")


class TestTheNameOfAQuestion:
    DRAWN = ("y=interval(0,1)",)

    def folders(self, engine: Any, *calls: dict[str, object], arguments: tuple[str, ...] = DRAWN) -> list[str]:
        """Each call's folder."""
        found = [engine.sweep(value, *arguments, **{"n_trials": 2, **settings}) for settings in calls]
        assert all(len(records) == 2 for records in found)
        return [records[0].folder.parent.name for records in found]

    def test_seed_and_options_belong_to_what_is_drawn(self, engine: Any) -> None:
        drawn = [
            {"sampler": "random", "seed": 0},
            {"sampler": "random", "seed": 1},
            {"sampler": "tpe"},
            {"sampler": "tpe", "sampler_options": "{n_startup_trials:1}"},
            {"sampler": "tpe", "pruner": "median"},
            {"sampler": "tpe", "pruner": "median", "pruner_options": "{n_startup_trials:1}"},
        ]
        names = self.folders(engine, *drawn)
        assert len(set(names)) == len(drawn)
        assert self.folders(engine, *drawn) == names  # each again

    def test_a_grid_has_no_seed_but_may_be_pruned(self, engine: Any) -> None:
        grid = [{"seed": 0}, {"seed": 1}, {"pruner": "median"}]
        first, second, pruned = self.folders(engine, *grid, arguments=("x=1,2",))
        assert first == second != pruned
