"""Every sampler and pruner through a whole sweep, the checks before one, and what changes between two."""

from __future__ import annotations

from typing import Any

import pytest

from tinyrm.sweep import Result, SweepError, current_progress
from tinyrm.sweep.app import App
from tinyrm.sweep.checking import check_points
from tinyrm.sweep.composing import Composer
from tinyrm.sweep.space import parse


def score(config: Any) -> Result:
    return Result({"value": -((config.x - 3) ** 2) - config.y, "cost": float(config.y)})


def reporting(config: Any) -> float:
    """The better the larger x is, from the first step on."""
    progress = current_progress()
    assert progress is not None
    for step in range(1, 5):
        progress.report(config.x * step, step, samples=[config.x + i / 100 for i in range(20)])
    return float(config.x)


SPACE = ("x=interval(0,10)", "y=tag(log,interval(1e-3,1))", "g=one,two")


class TestSamplers:
    @pytest.mark.parametrize("sampler", ["random", "tpe", "gp", "cmaes", "qmc", "nsga2"])
    def test_runs_exactly_as_many_trials_as_asked(self, engine: Any, sampler: str) -> None:
        options = {"tpe": "{n_startup_trials:2}", "gp": "{n_startup_trials:2}", "cmaes": "{n_startup_trials:2}"}
        metrics = "{value:maximize,cost:minimize}" if sampler == "nsga2" else "{value:maximize}"
        rest = {"sampler_options": options.get(sampler, "{}"), "metrics": metrics, "sampler": sampler, "name": "s"}
        records = engine.sweep(score, *SPACE, n_trials=6, **rest)
        assert [(r.number, r.state) for r in records] == [(n, "complete") for n in range(6)]
        for record in records:
            assert 0 <= record.params["x"] <= 10
            assert 1e-3 <= record.params["y"] <= 1
            assert record.params["g"] in ("one", "two")
            expected = -((record.params["x"] - 3) ** 2) - record.params["y"]
            assert record.values == {"value": expected, "cost": record.params["y"]}
        assert len({r.params["x"] for r in records}) == 6
        more = engine.sweep(score, *SPACE, n_trials=7, **rest)
        assert [r.params for r in more[:6]] == [r.params for r in records]
        assert len(more) == 7
        if sampler == "nsga2":
            line = (engine.folder / "s" / "best.txt").read_text()
            assert line.count("# trial") >= 1

    def test_two_sweeps_of_one_seed_are_the_same(self, engine: Any) -> None:
        first = engine.sweep(score, "x=interval(0,10)", n_trials=4, sampler="random", name="a", seed=5)
        second = engine.sweep(score, "x=interval(0,10)", n_trials=4, sampler="random", name="b", seed=5)
        other = engine.sweep(score, "x=interval(0,10)", n_trials=4, sampler="random", name="c", seed=6)
        assert [r.params for r in first] == [r.params for r in second]
        assert not {r.params["x"] for r in first} & {r.params["x"] for r in other}

    def test_a_config_that_comes_again_is_not_run_again(self, engine: Any) -> None:
        runs: list[int] = []

        def task(config: Any) -> float:
            runs.append(config.x)
            return float(config.x)

        records = engine.sweep(task, "x=1,2", n_trials=8, sampler="random", name="s")
        assert sorted(runs) == [1, 2]
        assert len(records) == 8
        assert all(r.values == {"value": float(r.params["x"])} for r in records)
        assert sum(r.same_as is None for r in records) == 2

    @pytest.mark.parametrize(
        ("settings", "complaint"),
        [
            ({"sampler": "tpee"}, "sweep.sampler=tpee is not known. Did you mean 'tpe'?"),
            ({"sampler": "zzz"}, "Choose one of: auto, cmaes, gp, grid, nsga2, qmc, random, tpe."),
            ({"pruner": "medain"}, "sweep.pruner=medain is not known. Did you mean 'median'?"),
            (
                {"sampler": "tpe", "sampler_options": "{n_startup_trial:3}"},
                "sweep.sampler_options: TPESampler has no 'n_startup_trial'. Did you mean 'n_startup_trials'?",
            ),
            (
                {"pruner": "median", "pruner_options": "{warmup:3}"},
                "sweep.pruner_options: MedianPruner has no 'warmup'.",
            ),
            ({"pruner": "percentile", "pruner_options": "{percentile:200}"}, "Percentile must be between 0 and 100"),
            (
                {"metrics": "{value:maximize,cost:minimize}", "pruner": "median"},
                "sweep.pruner=median takes one metric; there are 2: use sweep.pruner=none.",
            ),
            (
                {"metrics": "{value:maximize,cost:minimize}", "sampler": "cmaes"},
                "sweep.sampler=cmaes takes one metric; there are 2: use one of grid, random, tpe, gp, qmc, nsga2.",
            ),
            ({"metrics": "{value:up}"}, "sweep.metrics.value=up: maximize or minimize."),
            ({"sampler": "grid", "sampler_options": "{a:1}"}, "sweep.sampler_options: a grid has none."),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_told_before_anything_runs(
        self, engine: Any, settings: dict[str, str], complaint: str
    ) -> None:
        with pytest.raises(SweepError) as caught:
            engine.sweep(score, "x=1,2", n_trials=3, **settings)
        assert complaint in str(caught.value)
        assert caught.value.exit_code == 2
        assert not engine.folder.exists()

    def test_a_metric_the_task_does_not_give(self, engine: Any) -> None:
        with pytest.raises(SweepError, match=r"the task gives no 'valeu'. Did you mean 'value'"):
            engine.sweep(score, "x=1", metrics="{valeu:maximize}")


class TestPruners:
    @pytest.mark.parametrize(
        ("pruner", "options"),
        [
            ("median", "{n_startup_trials:2}"),
            ("percentile", "{n_startup_trials:2}"),
            ("successive_halving", "{min_resource:1,reduction_factor:2}"),
            ("hyperband", "{min_resource:1,max_resource:4,reduction_factor:2}"),
            ("wilcoxon", "{p_threshold:0.1}"),
        ],
    )
    def test_a_hopeless_trial_is_pruned(self, engine: Any, pruner: str, options: str) -> None:
        values = "9,8,10,7,1,0.5,0.4,0.3"
        records = engine.sweep(reporting, f"x={values}", pruner=pruner, pruner_options=options, name="s")
        states = {r.params["x"]: r.state for r in records}
        assert states[9] == "complete"
        assert "pruned" in (states[0.5], states[0.4], states[0.3])
        assert set(states.values()) == {"complete", "pruned"}
        pruned = next(r for r in records if r.state == "pruned")
        assert pruned.message is not None
        assert pruned.message.startswith("TrialPruned: pruned at step ")
        assert pruned.traceback is None
        assert not pruned.failed
        again = engine.sweep(reporting, f"x={values}", pruner=pruner, pruner_options=options, name="s")
        assert len(again) == len(records)

    def test_without_a_pruner_nothing_is_pruned(self, engine: Any) -> None:
        assert {r.state for r in engine.sweep(reporting, "x=9,8,0.5")} == {"complete"}

    def test_outside_of_a_sweep_there_is_nobody_to_report_to(self) -> None:
        assert current_progress() is None


class TestChange:
    def test_a_changed_override_is_refused_or_runs_under_a_new_name(self, engine: Any) -> None:
        engine.sweep(score, "x=1,2", "y=0.5", name="s")
        with pytest.raises(SweepError) as caught:
            engine.sweep(score, "x=1,2", "y=0.25", name="s")
        assert "y: 0.5 -> 0.25" in str(caught.value)
        assert "sweep.on_change=new (runs as s-2)" in str(caught.value)
        assert caught.value.exit_code == 2
        for _ in range(2):
            records = engine.sweep(score, "x=1,2", "y=0.25", name="s", on_change="new")
            assert [r.number for r in records] == [0, 1]
            assert {r.folder.parent.name for r in records} == {"s-2"}
        assert len(engine.sweep(score, "x=1,2,3", "y=0.25", name="s", on_change="new")) == 3
        assert len(engine.study("s").records()) == 2

    def test_the_same_command_without_a_name_resumes(self, engine: Any) -> None:
        runs: list[int] = []

        def task(config: Any) -> float:
            runs.append(config.x)
            return 1.0

        first = engine.sweep(task, "x=1,2", "y=3")
        assert engine.sweep(task, "x=1,2", "y=3")[0].folder == first[0].folder
        assert runs == [1, 2]
        other = engine.sweep(task, "x=1,2", "y=4")
        assert other[0].folder != first[0].folder
        assert runs == [1, 2, 1, 2]

    def test_what_varies_may_have_been_fixed_before(self, engine: Any) -> None:
        engine.sweep(score, "x=1", "y=0.5", name="s")
        records = engine.sweep(score, "x=1,2", "y=0.5", name="s")
        assert [r.overrides for r in records] == [(), ("x=2",)]

    def test_defaults_are_values_too(self, engine: Any) -> None:
        """`y=0.5` is what the config says anyway: another way to type the same point."""
        engine.sweep(score, "x=1,2", name="s")
        assert len(engine.sweep(score, "x=2,1", "y=0.5", name="s")) == 2


class Picky(App):
    def check(self, config: Any) -> None:
        if config.x == 13:
            raise ValueError("x=13 brings bad luck")


class TestChecks:
    def test_every_bad_point_is_told_before_anything_runs(self, engine: Any) -> None:
        runs: list[int] = []
        with pytest.raises(SweepError) as caught:
            engine.sweep(lambda c: runs.append(c.x), "x=1,2", "g=one,three", "+z.q=1,2", name="s")
        assert "three" in str(caught.value)
        assert "in 4 of 8 points: x=1 g=three +z.q=1; x=1 g=three +z.q=2; x=2 g=three +z.q=1 and 1 more" in str(
            caught.value
        )
        assert runs == []
        assert not engine.folder.exists()

    def test_all_problems_come_in_one_message(self, engine: Any) -> None:
        context, master = engine.context()
        space, fixed = parse(["x=1,13", "nokey=1,2"], None, context.config_loader)
        with pytest.raises(SweepError) as caught:
            check_points(list(space.grid()), space, fixed, Composer(context, master), Picky())
        assert len(caught.value.problems) == 1  # the key: in every point
        assert str(caught.value) == (
            "Could not override 'nokey'. To append to your config use +nokey=... [in every point]"
        )
        space, fixed = parse(["x=1,13", "g=one,nine"], None, context.config_loader)
        with pytest.raises(SweepError) as caught:
            check_points(list(space.grid()), space, fixed, Composer(context, master), Picky())
        assert len(caught.value.problems) == 2
        assert "x=13 brings bad luck [in 1 of 4 points: x=13 g=one]" in caught.value.problems

    def test_a_grid_too_large_to_check_is_refused_and_can_be_sampled(self, engine: Any) -> None:
        wide = "x=int(interval(0,4000000000))"
        with pytest.raises(SweepError, match=r"a grid of 4,000,000,001 points is more .* sweep\.sampler=random"):
            engine.sweep(score, wide, name="s")
        assert not engine.folder.exists()
        for n_trials in (2, 4):  # the second extends the first
            records = engine.sweep(score, wide, name="s", sampler="random", n_trials=n_trials)
            assert len({r.params["x"] for r in records}) == n_trials

    def test_an_infinite_space_is_checked_at_its_corners(self, engine: Any) -> None:
        from tinyrm.sweep.checking import sample

        context, master = engine.context()
        space, fixed = parse(["y=interval(0,1)", "x=int(interval(1,13))"], None, context.config_loader)
        points = sample(space, 16, 0)
        assert points[:4] == [("0.0", "1"), ("0.0", "13"), ("1.0", "1"), ("1.0", "13")]
        assert len(points) == 20
        with pytest.raises(SweepError, match="x=13 brings bad luck"):
            check_points(points, space, fixed, Composer(context, master), Picky())

    def test_a_thousand_points_are_composed_by_hydra_once(self, engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        from hydra._internal.config_loader_impl import ConfigLoaderImpl

        context, master = engine.context()
        real, calls = ConfigLoaderImpl.load_sweep_config, []

        def counted(self: Any, master: Any, overrides: list[str]) -> Any:
            calls.append(overrides)
            return real(self, master, overrides)

        monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", counted)
        space, fixed = parse(["x=range(0,250)", "g=one,two", "y=1,2"], None, context.config_loader)
        digests = check_points(list(space.grid()), space, fixed, Composer(context, master), App())
        assert len(set(digests)) == 1000
        assert calls == [["g=one"], ["g=two"]]
