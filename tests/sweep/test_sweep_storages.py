"""One contract, which every storage keeps: what is claimed, by whom, and what becomes of it."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from tinyrm.sweep import End, SweepError
from tinyrm.sweep.leases import WorkerId
from tinyrm.sweep.outcome import Outcome
from tinyrm.sweep.planning import settle
from tinyrm.sweep.storage import open_storage
from tinyrm.sweep.study import Claim, Orders, Study, Wait

FORK = multiprocessing.get_context("fork")
LONG = 1000.0


def claim(study: Study, worker: WorkerId, lease_s: float = LONG, max_retries: int = 2) -> Claim:
    found = study.claim(worker, lease_s=lease_s, max_retries=max_retries)
    assert isinstance(found, Claim), found
    return found


def complete(study: Study, held: Claim, value: float = 1.0) -> bool:
    outcome = Outcome(End.COMPLETE, fingerprint=" ".join(sorted(held.overrides or ())), values={"value": value})
    return study.finish(held, outcome, [value])


def elsewhere(name: str = "far") -> WorkerId:
    """A worker on another machine, where nobody can see whether its process lives."""
    return WorkerId(name, "another machine", 1, "1")


def drain(study: Study, worker: WorkerId) -> list[Claim]:
    """Work until nothing is left."""
    done = []
    while True:
        found = study.claim(worker, lease_s=LONG, max_retries=2)
        if isinstance(found, Wait):
            time.sleep(0.02)
        elif found is None:
            return done
        else:
            assert complete(study, found, float(found.number))
            done.append(found)


def in_process(action: Callable[[], None]) -> None:
    """Run `action` in a forked process, which then is gone."""
    process = FORK.Process(target=action)
    process.start()
    process.join(60)
    assert process.exitcode == 0


class TestEveryStorage:
    def test_points_are_claimed_in_the_order_of_the_plan(self, world: Any) -> None:
        settled = world.ask("a=1,2", "b=x,y", "c=7")
        assert (settled.new, settled.kept, settled.equal) == (4, 0, 0)
        claims = drain(settled.study, WorkerId.here())
        assert [c.overrides for c in claims] == [
            ("a=1", "b=x"),
            ("a=1", "b=y"),
            ("a=2", "b=x"),
            ("a=2", "b=y"),
        ]
        assert [c.number for c in claims] == [0, 1, 2, 3]
        assert [c.slot.fixed for c in claims] == [("c=7",)] * 4
        assert [t.params for t in settled.study.trials()] == [
            {"a": 1, "b": "x"},
            {"a": 1, "b": "y"},
            {"a": 2, "b": "x"},
            {"a": 2, "b": "y"},
        ]
        records = settled.study.records()
        assert [(r.state, r.values, r.attempt) for r in records] == [
            ("complete", {"value": float(n)}, 1) for n in range(4)
        ]
        assert settled.study.unstarted() == 0

    def test_many_threads_and_processes_claim_each_point_once(self, world: Any, tmp_path: Path) -> None:
        study = world.ask("a=range(0,40)").study

        def work() -> None:
            mine = Study(open_storage(world.url, create=False), "s", 10)
            with ThreadPoolExecutor(3) as pool:
                found = list(pool.map(lambda _: drain(mine, WorkerId.here()), range(3)))
            lines = [f"{c.number} {c.params['a']}" for claims in found for c in claims]
            (tmp_path / f"claims.{os.getpid()}").write_text("\n".join(lines))

        workers = [FORK.Process(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        assert [w.exitcode for w in workers] == [0, 0, 0]
        lines = [line for path in tmp_path.glob("claims.*") for line in path.read_text().splitlines()]
        assert sorted(lines) == sorted(f"{n} {n}" for n in range(40))  # each once, none lost
        assert [(t.number, t.params["a"], t.value) for t in study.trials()] == [(n, n, float(n)) for n in range(40)]

    def test_a_lease_that_runs_out_is_taken_over(self, world: Any) -> None:
        study = world.ask("a=1,2").study
        first = claim(study, elsewhere(), lease_s=0.3)
        assert study.heartbeat(first, 0.5, lease_s=0.3, stops=0) == Orders()
        assert [(r.state, r.fraction, r.alive) for r in study.records()] == [("running", 0.5, True)]
        other = WorkerId.here()
        assert claim(study, other).number == 1  # not yet
        time.sleep(0.35)
        assert not study.records()[0].alive
        taken = claim(study, replace(other, name="other"))
        assert (taken.number, taken.attempt, taken.deaths, taken.overrides) == (0, 2, 1, ("a=1",))
        assert study.heartbeat(first, 0.9, lease_s=1, stops=0) == Orders(lost=True)
        assert not complete(study, first, 5.0)  # the one who took it over counts
        assert study.trials()[0].state == TrialState.RUNNING
        assert complete(study, taken, 7.0)
        assert not complete(study, first, 5.0)
        assert study.trials()[0].value == 7.0

    def test_a_held_lease_is_waited_for(self, world: Any) -> None:
        study = world.ask("a=1").study
        held = claim(study, elsewhere())
        assert study.claim(WorkerId.here(), lease_s=1, max_retries=2) == Wait(1)
        complete(study, held)
        assert study.claim(WorkerId.here(), lease_s=1, max_retries=2) is None

    def test_the_trial_of_a_process_that_is_gone_is_taken_at_once(self, world: Any) -> None:
        study = world.ask("a=1,2").study

        def die() -> None:
            claim(Study(open_storage(world.url, create=False), "s", 10), WorkerId.here(), lease_s=LONG)
            os._exit(0)

        in_process(die)
        assert [(r.number, r.state, r.alive) for r in study.records()] == [(0, "running", False)]
        taken = claim(study, WorkerId.here())
        assert (taken.number, taken.attempt, taken.deaths) == (0, 2, 1)

    def test_a_trial_whose_workers_keep_dying_ends_as_killed(self, world: Any) -> None:
        study = world.ask("a=1,2").study
        for attempt in (1, 2, 3):
            held = claim(study, elsewhere(f"w{attempt}"), lease_s=-1, max_retries=2)
            assert (held.number, held.attempt) == (0, attempt)
        assert claim(study, elsewhere("w4"), max_retries=2).number == 1
        record = study.records()[0]
        assert record.state == "killed"
        assert record.message == "its process died 3 times, the last one was w3 (sweep.max_retries=2)"
        assert record.failed

    def test_a_released_trial_waits_and_is_claimed_again(self, world: Any) -> None:
        study = world.ask("a=1,2").study
        first = claim(study, WorkerId.here())
        study.release(first)
        assert [r.state for r in study.records()] == ["waiting"]
        assert not complete(study, first)  # no longer its own
        again = claim(study, WorkerId.here())
        assert (again.number, again.attempt, again.deaths) == (0, 2, 0)  # stopping is not dying
        study.release(first)  # late: another's now
        assert [r.state for r in study.records()] == ["running"]

    def test_telling_twice_is_harmless(self, world: Any) -> None:
        study = world.ask("a=1").study
        held = claim(study, WorkerId.here())
        assert complete(study, held, 3.0)
        assert complete(study, held, 4.0)  # told before; the answer was lost
        assert study.trials()[0].value == 3.0

    def test_ends_are_recorded_as_optuna_knows_them(self, world: Any) -> None:
        study = world.ask("a=range(0,8)").study
        for end in End:
            held = claim(study, WorkerId.here())
            study.finish(held, Outcome(end, message=f"why {end}", traceback="line 1\nline 2"), [1.0])
        assert [r.state for r in study.records()] == [str(end.value) for end in End]
        assert [r.message for r in study.records()] == [f"why {end}" for end in End]
        assert [t.state for t in study.trials()] == [
            TrialState.COMPLETE,
            TrialState.PRUNED,
            *[TrialState.FAIL] * 6,
        ]

    def test_orders_reach_the_workers(self, world: Any) -> None:
        study = world.ask("a=1,2,3").study
        held = claim(study, WorkerId.here())
        before = study.stops()
        assert study.stop() == 1
        assert study.heartbeat(held, None, lease_s=LONG, stops=before) == Orders(stop_sweep=True)
        assert study.heartbeat(held, None, lease_s=LONG, stops=study.stops()) == Orders()
        assert study.stop_trial(0) == "running"
        assert study.heartbeat(held, None, lease_s=LONG, stops=study.stops()) == Orders(stop_trial=True)
        study.release(held)
        assert study.stop_trial(0) == "waiting"
        assert study.records()[0].state == "stopped"
        assert study.stop_trial(0) == "stopped"
        assert claim(study, WorkerId.here()).number == 1
        with pytest.raises(SweepError, match=r"sweep 's' has no trial 9 \(there are: 0 to 1\)"):
            study.stop_trial(9)

    def test_more_values_extend_the_grid(self, world: Any) -> None:
        drain(world.ask("a=1,2", "b=x,y").study, WorkerId.here())
        before = [
            (t.number, t.params, t.value, t.datetime_complete) for t in world.ask("a=1,2", "b=x,y").study.trials()
        ]
        settled = world.ask("a=1,2,16", "b=x,z,y")
        assert (settled.new, settled.kept, settled.there, settled.equal) == (5, 4, 4, 0)
        claims = drain(settled.study, WorkerId.here())
        assert [(c.number, *(c.overrides or ())) for c in claims] == [
            (4, "a=1", "b=z"),
            (5, "a=2", "b=z"),
            (6, "a=16", "b=x"),
            (7, "a=16", "b=z"),
            (8, "a=16", "b=y"),
        ]
        after = [(t.number, t.params, t.value, t.datetime_complete) for t in settled.study.trials()]
        assert after[:4] == before
        assert [t.params["b"] for t in settled.study.trials()] == list("xyxyzzxzy")
        again = world.ask("a=1,2,16", "b=x,z,y")
        assert (again.new, again.kept, again.study.unstarted()) == (0, 9, 0)
        fewer = world.ask("a=16,1", "b=x,y")
        assert (fewer.new, fewer.kept) == (0, 9)

    def test_fractions_extend_whole_numbers(self, world: Any) -> None:
        drain(world.ask("a=1,2").study, WorkerId.here())
        study = world.ask("a=1,2,0.5").study
        drain(study, WorkerId.here())
        assert [t.params["a"] for t in study.trials()] == [1, 2, 0.5]
        loaded = optuna.load_study(study_name="s", storage=study.storage.optuna)
        assert [t.params["a"] for t in loaded.trials] == [1, 2, 0.5]

    def test_a_parameter_does_not_change_its_kind(self, world: Any) -> None:
        drain(world.ask("a=1,2").study, WorkerId.here())
        with pytest.raises(SweepError, match=r"a is recorded as .*IntDistribution.* use another sweep.name"):
            world.ask("a=1,2,null")
        assert world.ask("a=1,2").new == 0  # as it was

    def test_a_sampler_goes_on_with_more_choices(self, world: Any) -> None:
        study = world.ask("a=x,y", sampler="random", n_trials=3).study
        live = Study(open_storage(world.url, create=False), "s", 10)  # a worker that goes on all the while
        for _ in range(3):
            self.sampled(live)
        if world.url.startswith("journal"):
            with pytest.raises(SweepError, match=r"a journal cannot take more choices of a: use another sweep.name"):
                world.ask("a=x,y,z", sampler="random", n_trials=30)
            return
        before = [t.params["a"] for t in study.trials()]
        study = world.ask("a=x,y,z", sampler="random", n_trials=30).study
        for number in range(27):
            self.sampled(live if number < 13 else study)
        chosen = [t.params["a"] for t in study.trials()]
        assert chosen[:3] == before
        assert set(chosen) == {"x", "y", "z"}
        assert study.claim(WorkerId.here(), lease_s=1, max_retries=2) is None  # exactly 30

    def sampled(self, study: Study) -> str:
        """Claim a point, let the sampler choose, finish it; give the value."""
        held = claim(study, WorkerId.here())
        search = study.optuna_study(optuna.samplers.RandomSampler(seed=held.number), optuna.pruners.NopPruner())
        trial = optuna.trial.Trial(search, held.trial_id)
        texts = [d.suggest(trial) for d in held.slot.space.dimensions]
        study.describe(held, held.slot.space.overrides(texts))
        assert complete(study, held)
        return texts[0]

    def test_arms_extend_under_a_sampler(self, world: Any) -> None:
        two = {"small": ["x=1", "y=2"], "large": ["x=5"]}
        study = world.ask(arms=two, sampler="random", n_trials=6).study
        for _ in range(3):
            self.sampled(study)
        if world.url.startswith("journal"):
            with pytest.raises(SweepError, match="a journal cannot take more choices of arm"):
                world.ask(arms={"huge": ["x=9"], **two}, sampler="random", n_trials=20)
            return
        study = world.ask(arms={"huge": ["x=9"], **two}, sampler="random", n_trials=20).study
        for _ in range(17):  # the three points planned before come first
            self.sampled(study)
        overrides = {r.params["arm"]: r.overrides for r in study.records()}
        assert overrides == {"small": ("x=1", "y=2"), "large": ("x=5",), "huge": ("x=9",)}

    def test_failed_trials_run_once_more_when_asked(self, world: Any) -> None:
        study = world.ask("a=1,2,3").study
        for end in (End.FAILED, End.COMPLETE, End.STOPPED):
            study.finish(claim(study, WorkerId.here()), Outcome(end, fingerprint=f"{end}"), [1.0])
        assert world.ask("a=1,2,3").new == 0
        settled = world.ask("a=1,2,3", retry_failed=True)
        assert settled.new == 1
        held = claim(settled.study, WorkerId.here())
        assert (held.number, held.overrides, held.params) == (3, ("a=1",), {"a": 1})
        assert world.ask("a=1,2,3", retry_failed=True).new == 0  # it is on its way
        settled.study.finish(held, Outcome(End.FAILED))
        settled = world.ask("a=1,2,3", retry_failed=True)
        assert settled.new == 1
        held = claim(settled.study, WorkerId.here())
        assert (held.number, held.overrides) == (4, ("a=1",))
        assert complete(settled.study, held)
        assert world.ask("a=1,2,3", retry_failed=True).new == 0  # came right at last
        assert world.ask("a=1,2,3,4").new == 1

    def test_n_trials_of_a_grid_counts_points_not_repetitions(self, world: Any) -> None:
        study = world.ask("a=range(0,10)", n_trials=2).study
        for _ in range(2):
            study.finish(claim(study, WorkerId.here()), Outcome(End.FAILED))
        drain(world.ask("a=range(0,10)", n_trials=2, retry_failed=True).study, WorkerId.here())
        settled = world.ask("a=range(0,10)", n_trials=5)
        assert settled.new == 3
        assert [c.params["a"] for c in drain(settled.study, WorkerId.here())] == [2, 3, 4]

    def test_two_calls_at_once_add_the_points_once(self, world: Any, tmp_path: Path) -> None:
        start = time.time() + 0.3

        def ask() -> None:
            other = type(world)(world.url, tmp_path / "multirun")
            time.sleep(max(0.0, start - time.time()))
            (tmp_path / f"new.{os.getpid()}").write_text(str(other.ask("a=range(0,6)").new))

        callers = [FORK.Process(target=ask) for _ in range(3)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(60)
        assert [c.exitcode for c in callers] == [0, 0, 0]
        assert sorted(p.read_text() for p in tmp_path.glob("new.*")) == ["0", "0", "6"]
        study = Study(world.storage, "s", 10)
        assert study.plan().total == 6
        assert len(drain(study, WorkerId.here())) == 6

    def test_equal_points_run_once(self, world: Any) -> None:
        asked = world.question("a=1,2,3", fingerprints=("p", "q", "p"))
        settled = settle(world.storage, "s", asked, 10)
        assert (settled.new, settled.there, settled.equal) == (2, 0, 1)
        assert [c.params["a"] for c in drain(settled.study, WorkerId.here())] == [1, 2]
        more = settle(world.storage, "s", replace(asked, fingerprints=("p", "q", "r")), 10)
        assert (more.new, more.there, more.equal) == (1, 2, 0)
        assert [c.params["a"] for c in drain(more.study, WorkerId.here())] == [3]

    def test_an_equal_config_is_found(self, world: Any) -> None:
        study = world.ask("a=1,2,3").study
        complete(study, claim(study, WorkerId.here()), 2.5)
        study.finish(claim(study, WorkerId.here()), Outcome(End.FAILED, fingerprint="a=2"))
        found = study.same_as("a=1")
        assert found is not None
        assert (found[0], found[1].values, found[2]) == (0, {"value": 2.5}, [2.5])
        assert study.same_as("a=2") is None  # failed
        assert study.same_as("a=3") is None

    def test_it_opens_in_optuna_as_it_is(self, world: Any) -> None:
        study = world.ask("a=1,2", "b=x,y", metrics={"value": "maximize", "cost": "minimize"}).study
        for number in range(3):
            held = claim(study, WorkerId.here())
            study.finish(held, Outcome(End.COMPLETE, values={"value": 1.0, "cost": 2.0}), [float(number), 2.0])
        loaded = optuna.load_study(study_name="s", storage=open_storage(world.url, create=False).optuna)
        assert loaded.metric_names == ["value", "cost"]
        assert [d.name for d in loaded.directions] == ["MAXIMIZE", "MINIMIZE"]
        assert [(t.params, t.values) for t in loaded.trials] == [
            ({"a": 1, "b": "x"}, [0.0, 2.0]),
            ({"a": 1, "b": "y"}, [1.0, 2.0]),
            ({"a": 2, "b": "x"}, [2.0, 2.0]),
        ]
        assert loaded.trials[0].distributions == {"a": IntDistribution(1, 2), "b": CategoricalDistribution(("x", "y"))}
        assert [t.number for t in loaded.best_trials] == [2]
        assert list(loaded.trials_dataframe()["params_a"]) == [1, 1, 2]

    def test_it_opens_in_the_dashboard_as_it_is(self, world: Any) -> None:
        from bottle import Bottle  # type: ignore[import-untyped]
        from optuna_dashboard import wsgi

        drain(world.ask("a=1,2", "b=x,y").study, WorkerId.here())
        drain(world.ask("a=1,2,3.5", "b=x,y,z").study, WorkerId.here())
        app = wsgi(open_storage(world.url, create=False).optuna)
        assert isinstance(app, Bottle)
        studies = self.get(app, "/api/studies")["study_summaries"]
        assert [s["study_name"] for s in studies] == ["s"]
        detail = self.get(app, f"/api/studies/{studies[0]['study_id']}", "after=0")
        told = [
            (t["number"], t["state"], {p["name"]: p["param_external_value"] for p in t["params"]}, t["values"])
            for t in detail["trials"]
        ]
        points = ["1x", "1y", "2x", "2y", "1z", "2z", "3.5x", "3.5y", "3.5z"]
        assert [(n, s, v) for n, s, _, v in told] == [(n, "Complete", [float(n)]) for n in range(9)]
        assert [(float(p["a"]), p["b"]) for _, _, p, _ in told] == [(float(p[:-1]), p[-1]) for p in points]

    def get(self, app: Any, path: str, query: str = "") -> Any:
        """The JSON of a page."""
        import io
        import json

        told: list[str] = []
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "x",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "wsgi.url_scheme": "http",
        }
        body = b"".join(app(environ, lambda status, headers, exc_info=None: told.append(status)))
        assert told == ["200 OK"], body
        return json.loads(body)

    def test_a_change_is_refused(self, world: Any) -> None:
        drain(world.ask("a=1,2", "b=1").study, WorkerId.here())
        with pytest.raises(SweepError) as caught:
            world.ask("a=1,2", "b=5")
        assert "fixed: b=1 -> b=5" in str(caught.value)
        with pytest.raises(SweepError, match="the code that decides results has changed: code"):
            world.ask("a=1,2", "b=1", identity={"code": "2"})
        with pytest.raises(SweepError, match=r"sweep.metrics: \{'value': 'maximize'\} -> \{'value': 'minimize'\}"):
            world.ask("a=1,2", "b=1", metrics={"value": "minimize"})
        for _ in range(2):  # the first makes it, the second goes on with it
            settled = world.ask("a=1,2", "b=5", on_change="new")
            assert settled.study.name == "s-2"
        assert (settled.new, world.ask("a=1,2", "b=1", on_change="new").study.name) == (0, "s")

    def test_a_study_half_made_is_made(self, world: Any) -> None:
        """Its maker died between two writes."""
        from optuna.study import StudyDirection

        world.storage.optuna.create_new_study([StudyDirection.MAXIMIZE], "s")
        assert world.ask("a=1,2").new == 2

    def test_a_study_of_another_program_is_left_alone(self, world: Any) -> None:
        other = optuna.create_study(study_name="s", storage=world.storage.optuna)
        other.add_trial(optuna.trial.create_trial(value=1.0))
        with pytest.raises(SweepError, match=r"'s' .* another program"):
            world.ask("a=1,2")
        assert len(other.trials) == 1

    def test_names_are_told_apart(self, world: Any) -> None:
        world.ask("a=1,2", name="lora")
        with pytest.raises(SweepError, match=r"there is no sweep 'lorra' in .* Did you mean 'lora'"):
            Study(world.storage, "lorra", 10)
        for bad in ("../up", "a/b", ".hidden", ""):
            with pytest.raises(SweepError, match="names a folder"):
                world.ask("a=1", name=bad or " ")

    def test_a_folder_of_another_storage_is_not_reused(self, world: Any) -> None:
        (world.folder / "s" / "0").mkdir(parents=True)
        with pytest.raises(SweepError, match=r"holds trials, but .* knows no sweep 's'"):
            world.ask("a=1")

    def test_the_lock_keeps_threads_apart_and_may_be_entered_again(self, world: Any) -> None:
        inside: list[str] = []

        def enter(name: str) -> None:
            with world.storage.lock("s"), world.storage.lock("s"):
                inside.append(f"{name} in")
                time.sleep(0.05)
                inside.append(f"{name} out")

        threads = [threading.Thread(target=enter, args=(n,)) for n in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert len(inside) == 6
        assert all(inside[i].split()[0] == inside[i + 1].split()[0] for i in (0, 2, 4))


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_more_values_widen_the_recorded_kinds(world: Any) -> None:
    drain(world.ask("a=1,2", "b=x,y").study, WorkerId.here())
    study = world.ask("a=1,2.5", "b=z,x").study
    drain(study, WorkerId.here())
    kinds = {t.number: t.distributions for t in study.trials()}
    whole = {"a": FloatDistribution(1.0, 2.5), "b": CategoricalDistribution(("x", "y", "z"))}
    assert [k for k in kinds.values() if k != whole] == []
