"""The same question again, and another one: what counts as the same, and what of it runs."""

from __future__ import annotations

import contextlib
import csv
import shutil
from typing import Any

import numpy as np
import pytest
import torch

from tinyrm.sweep import Result, SweepError, TrialsFailedError
from tinyrm.sweep.storage import open_storage
from tinyrm.sweep.study import Study


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


class Moody:
    """A task that fails for some configs as long as it is told to, and remembers what it ran."""

    def __init__(self, *bad: int) -> None:
        self.bad, self.ran = set(bad), list[tuple[int, float]]()

    def __call__(self, config: Any) -> Result:
        self.ran.append((config.x, config.y))
        if config.x in self.bad:
            raise RuntimeError("not today")
        return value(config)


class TestRepeats:
    def test_a_failed_trial_is_repeated_as_it_was(self, engine: Any) -> None:
        task = Moody(2)
        for y in ("y=7", "y=7,8"):
            with pytest.raises(TrialsFailedError):
                engine.sweep(task, "x=1,2", y, name="s")
        for bad in ({2}, set[int]()):  # the first repetition fails again and is repeated itself
            task.bad, task.ran = bad, []
            with contextlib.suppress(TrialsFailedError):
                engine.sweep(task, "x=1,2", "y=7,8", name="s", retry_failed=True)
            assert task.ran == [(2, 7), (2, 8)]
        records = engine.study("s").records()
        assert [r.repeated_as for r in records] == [None, 4, None, 5, 6, 7, None, None]
        assert [(r.overrides, r.fixed) for r in records[6:]] == [(("x=2",), ("y=7",)), (("x=2", "y=8"), ())]
        assert values(records[6:]) == [109, 110]
        assert "\n-c y=7 x=2\n" not in (best := (engine.folder / "s" / "best.txt").read_text())
        assert best.endswith(" x=2 y=8\n")

    def test_what_a_repetition_makes_good_has_not_failed(self, engine: Any, capsys: pytest.CaptureFixture[str]) -> None:
        task = Moody(1, 2)
        with pytest.raises(TrialsFailedError, match="2 of 3 trials failed for good"):
            engine.sweep(task, "x=1,2,3", name="s")
        task.bad = {2}
        with pytest.raises(TrialsFailedError, match=r"1 of 5 trials failed for good:\n  trial 4 failed"):
            engine.sweep(task, "x=1,2,3", name="s", retry_failed=True)
        task.bad = set()
        records = engine.sweep(task, "x=1,2,3", name="s", retry_failed=True)
        assert [(r.state, r.repeated_as, r.failed) for r in records] == [
            ("failed", 3, False),
            ("failed", 4, False),
            ("complete", None, False),
            ("complete", None, False),
            ("failed", 5, False),
            ("complete", None, False),
        ]
        assert "failed (repeated as 3)" in capsys.readouterr().out
        with (engine.folder / "s" / "trials.csv").open(newline="") as table:
            assert [row["repeated_as"] for row in csv.DictReader(table)] == ["3", "4", "", "", "5", ""]
        assert len(engine.sweep(task, "x=1,2,3", name="s")) == 6  # and nobody is told that any failed

    def test_a_trial_whose_sampler_raised_is_sampled_anew(self, engine: Any) -> None:
        asked = ("x=int(interval(3,9))", "y=interval(0,1)")
        settings = {"name": "s", "sampler": "tpe", "n_trials": 2}
        with pytest.raises(TrialsFailedError, match="2 of 2 trials failed"):
            engine.sweep(value, *asked, **settings, sampler_options="{n_startup_trials:0,n_ei_candidates:0}")
        assert [r.overrides for r in engine.study("s").records()] == [(), ()]
        records = engine.sweep(value, *asked, **settings, retry_failed=True)
        assert [(r.state, r.repeated_as) for r in records[:2]] == [("failed", 2), ("failed", 3)]
        for record in records[2:]:
            assert record.overrides == (f"x={record.params['x']}", f"y={record.params['y']!r}")
            assert record.values == {"value": 100 + record.params["x"] + record.params["y"]}
            assert 3 <= record.params["x"] <= 9 and 0 <= record.params["y"] <= 1


class TestChoicesUnderASampler:
    def test_none_may_be_dropped(self, engine: Any) -> None:
        settings = {"name": "s", "sampler": "random"}
        engine.sweep(value, "x=choice(4,8)", n_trials=3, **settings)
        told = (
            r"x: this sweep has chosen from 4 too, and its sampler would go on to: keep it, or use another sweep\.name"
        )
        with pytest.raises(SweepError, match=told):
            engine.sweep(value, "x=choice(8,16)", n_trials=12, **settings)
        records = engine.sweep(value, "x=choice(8,16,4)", n_trials=12, **settings)
        assert {r.params["x"] for r in records} == {4, 8, 16}

    def test_no_arm_may_be_dropped(self, engine: Any) -> None:
        settings = {"name": "s", "sampler": "random"}
        engine.sweep(value, arms="{a: ['x=1'], b: ['x=2'], c: ['x=3']}", n_trials=3, **settings)
        with pytest.raises(SweepError, match=r"arm: this sweep has chosen from a, c too, .* keep them, or"):
            engine.sweep(value, arms="{b: ['x=2']}", n_trials=4, **settings)

    def test_a_grid_and_a_range_may_be_narrowed(self, engine: Any) -> None:
        engine.sweep(value, "x=4,8", name="grid")
        assert len(engine.sweep(value, "x=8,16", name="grid")) == 3
        engine.sweep(value, "x=range(0,9)", name="range", sampler="random", n_trials=2)
        records = engine.sweep(value, "x=range(0,3)", name="range", sampler="random", n_trials=12)
        assert {r.params["x"] for r in records[2:]} == {0, 1, 2}


class TestTheCommandThatIsResumed:
    def test_failed_trials_are_repeated_once_for_each_time_that_is_asked(self, grouped: Any) -> None:
        task = Moody(2)
        with pytest.raises(TrialsFailedError):
            grouped.typed(task, "x=1,2", "sweep.name=s")
        command = grouped.study("s").header()["command"]
        assert command[-1] == "x=1,2"
        for how, trials in (("--failed", 3), (None, 3), ("--failed", 4), (None, 4)):
            with pytest.raises(TrialsFailedError):
                grouped.command(task, "resume", "s", *([how] if how else []))
            assert len(grouped.study("s").records()) == trials
        task.bad = set()
        assert len(grouped.command(task, "resume", "s", "--failed")) == 5
        assert grouped.study("s").header()["command"] == command

    def test_it_does_not_grow(self, grouped: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        where = "sqlite:///it's.db"
        quoted = r"'sqlite:///it\'s.db'"
        grouped.typed(value, "x=1,2", f"sweep.storage={quoted}", "sweep.name=s")
        for given in ((), ("x=3,4",), ("x=3,4",), ()):
            grouped.command(value, "resume", "s", *given, "--storage", where)
        study = Study(open_storage(where, create=False), "s", 1)
        assert [r.params.get("x") for r in study.records()] == [1, 2, 3, 4]
        command = study.header()["command"]
        assert command[-1] == "x=3,4" and len(set(command)) == len(command)
        assert not any("storage" in word or "name=" in word for word in command)
        monkeypatch.setenv("SWEEP_STORAGE", where)
        assert len(grouped.command(value, "resume", "s", "x=5,6")) == 6
        assert not (grouped.folder / "sweeps.db").exists()

    def test_points_that_are_there_are_told_from_those_that_equal_others(
        self, engine: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        engine.sweep(value, "g=one,two", "g.z=8", "x=1,2", name="s")
        engine.sweep(value, "g=one,two", "g.z=8", "x=1,2,3", name="s")
        told = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Sweep s (grid)")]
        assert "2 to start (2 new points, 2 points equal others). Trials go to" in told[0]
        assert (
            "1 to start (1 new points, 2 trials were there before, 4 points are there already, 1 points equal"
            in told[1]
        )


def test_the_line_to_type_gives_a_trial_its_devices(grouped: Any) -> None:
    grouped.typed(value, "x=1,2", "sweep.devices_per_trial=2", "sweep.workers=1", "sweep.name=s", "seconds=0")
    best = (grouped.folder / "s" / "best.txt").read_text()
    assert best.endswith(" +sweep=schema sweep.devices_per_trial=2 seconds=0 x=2\n")
