"""The same question again, and another one: what counts as the same, and what of it runs."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
import torch

from tinyrm.sweep import Result, SweepError, TrialsFailedError


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


class Elsewhere:
    """Calls of one engine with other folders."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.root = engine, engine.folder.parent

    def sweep(self, task: Any, *arguments: str, at: str, **settings: object) -> list[Any]:
        """Sweep `s` in the folder `at`, by default in a storage that lies in it."""
        given = {"name": "s", "dir": self.root / at, "storage": f"sqlite:///{self.root}/{at}/sweeps.db", **settings}
        found: list[Any] = self.engine.sweep(task, *arguments, **given)
        return found


@pytest.fixture
def elsewhere(engine: Any) -> Elsewhere:
    return Elsewhere(engine)


def foreign(config: Any) -> Result:
    return Result({"value": -1.0})


class TestWhereTrialsLie:
    def test_a_sweep_stays_where_it_is_wherever_it_is_resumed(self, elsewhere: Elsewhere) -> None:
        """Also where another storage's sweep of the same name has trials of the same configs."""
        shared = f"sqlite:///{elsewhere.root}/shared.db"
        elsewhere.sweep(value, "x=1", at="a", storage=shared)
        elsewhere.sweep(foreign, "x=1,2,3", at="b")
        records = elsewhere.sweep(value, "x=1,2,3", at="b", storage=shared)
        assert values(records) == [101.5, 102.5, 103.5]
        assert [r.folder for r in records] == [elsewhere.root / "a" / "s" / str(n) for n in range(3)]
        assert (elsewhere.root / "a" / "s" / "trials.csv").is_file()
        assert values(elsewhere.sweep(value, "x=1,2,3", at="b")) == [-1.0] * 3  # the other one is as it was

    @pytest.mark.parametrize("how", ["move", "copy"])
    def test_a_folder_that_is_moved_or_copied_is_gone_on_with(self, elsewhere: Elsewhere, how: str) -> None:
        elsewhere.sweep(value, "x=1", at="a")
        before = (elsewhere.root / "a" / "s" / "trials.csv").read_text()
        if how == "move":
            (elsewhere.root / "a").rename(elsewhere.root / "b")
        else:
            shutil.copytree(elsewhere.root / "a", elsewhere.root / "b")
        records = elsewhere.sweep(value, "x=1,2", at="b")
        assert values(records) == [101.5, 102.5]
        assert [r.folder for r in records] == [elsewhere.root / "b" / "s" / str(n) for n in range(2)]
        assert how == "move" or (elsewhere.root / "a" / "s" / "trials.csv").read_text() == before
        assert how == "copy" or not (elsewhere.root / "a").exists()

    def test_another_sweeps_result_that_lies_there_does_not_count(self, elsewhere: Elsewhere) -> None:
        elsewhere.sweep(value, "x=1", at="a")
        records = elsewhere.sweep(foreign, "x=1,2", at="a", name="t")
        shutil.copytree(records[1].folder, elsewhere.root / "a" / "s" / "1")
        assert values(elsewhere.sweep(value, "x=1,2", at="a")) == [101.5, 102.5]


class TestWhatATaskTells:
    def test_numbers_of_other_libraries_are_numbers(self, engine: Any) -> None:
        info = {"n": np.int64(3), "share": np.float32(0.5), "ok": np.bool_(True), "t": torch.tensor(7), "none": None}
        (record,) = engine.sweep(lambda _: Result({"value": np.float64(1.5)}, info=info), "x=1", name="s")
        assert (record.state, record.values) == ("complete", {"value": 1.5})
        assert record.info == {"n": 3, "share": 0.5, "ok": True, "t": 7, "none": None}
        assert [type(v) for v in record.info.values()] == [int, float, bool, int, type(None)]

    @pytest.mark.parametrize("wrong", [np.arange(3), [1, 2], {"a": 1}, object], ids=["array", "list", "dict", "class"])
    def test_what_is_no_plain_value_fails_its_trial_alone(self, engine: Any, wrong: Any) -> None:
        def task(config: Any) -> Result:
            return Result({"value": 1.0}, info={"curve": wrong if config.x == 1 else 3})

        with pytest.raises(
            TrialsFailedError, match=r"trial 0 failed: SweepError: the task's info 'curve' is .*: give a"
        ):
            engine.sweep(task, "x=1,2", name="s")
        assert [r.state for r in engine.study("s").records()] == ["failed", "complete"]

    def test_half_a_character_is_escaped(self, engine: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """As in the name of a file that is in no encoding."""

        def task(config: Any) -> Result:
            if config.x == 1:
                raise OSError("no file a\udcff.txt")
            return Result({"value": 1.0}, info={"file": "b\udcff"})

        with pytest.raises(TrialsFailedError, match=r"OSError: no file a\\udcff\.txt"):
            engine.sweep(task, "x=1,2", name="s")
        assert engine.study("s").records()[1].info == {"file": r"b\udcff"}
        assert r"no file a\udcff.txt" in (engine.folder / "s" / "trials.csv").read_text(encoding="utf-8")
        assert "Traceback" not in capsys.readouterr().err
