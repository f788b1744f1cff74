"""A trial's config and its job are what Hydra itself would have made of them."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from tinyrm.sweep.app import App, fingerprint
from tinyrm.sweep.composing import Composer, bare_copy, flatten
from tinyrm.sweep.job import run_as_job

FILES = {
    "config.yaml": """
defaults: [{db: mysql}, {db@spare: sqlite}, {model/head: linear}, _self_]
lr: 0.1
name: run
twice: ${name}-${name}
sizes: [1, 2]
table: {a: 1, b: {c: 2}}
nothing: null
when: ${now:%f}
out: ${hydra:runtime.output_dir}
hydra: {job: {config: {override_dirname: {exclude_keys: [name]}}}}
""",
    "db/mysql.yaml": "driver: mysql\nport: 1\n",
    "db/sqlite.yaml": "driver: sqlite\nfile: ${name}.db\n",
    "model/head/linear.yaml": "# @package model.head\nwidth: 1\n",
    "model/head/deep.yaml": "# @package model.head\nwidth: 4\nlayers: 2\n",
}
Setup = tuple[HydraContext, DictConfig]


class Notes(Callback):
    """What a job's callbacks were told."""

    told: list[tuple[str, Any]] = []  # noqa: RUF012 (Hydra makes the object)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        self.told.append(("start", (config.hydra.job.num, os.environ.get("SWEEP_TEST_VARIABLE"))))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        self.told.append(("end", (config.hydra.job.num, job_return.status)))


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Callable[..., Setup]]:
    for name, content in FILES.items():
        (tmp_path / "conf" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / name).write_text(content)
    setup_globals()

    def make(*overrides: str) -> Setup:
        with initialize_config_dir(str(tmp_path / "conf"), version_base="1.3", job_name="app"):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            master = hydra.compose_config(
                "config", list(overrides), RunMode.MULTIRUN, from_shell=False, with_log_configuration=False
            )
            return HydraContext(hydra.config_loader, Callbacks(master)), master

    yield make
    HydraConfig.instance().cfg = None


SAME = [
    [],
    ["lr=0.5"],
    ["lr=1e-3", "name=other"],
    ["name='a, b=c'"],
    ["db=sqlite"],
    ["db=sqlite", "db.file=x"],
    ["db@spare=mysql", "lr=2"],
    ["model/head=deep", "model.head.layers=7"],
    ["model/head=deep", "model.head={width:9}"],
    ["db={port:7}"],
    ["+x=1"],
    ["+x=1", "x=2"],
    ["+x={a:1}", "x.a=3"],
    ["lr=5", "++lr=3"],
    ["++lr=3", "lr=5"],
    ["++new.deep=[1,2]"],
    ["~table.b"],
    ["table.a=9", "~table.b"],
    ["~db@spare"],
    ["+db@third=mysql"],
    ["~model/head"],
    ["table={a:5}"],
    ["table={b:{c:null}}"],
    ["sizes=[]"],
    ["sizes=[3,{a:1},null,true]"],
    ["nothing={a:1}"],
    ["nothing=[1]"],
    ["lr=null", "lr=true"],
    ["lr=${sizes.0}"],
    ["name=${db.driver}"],
    ["name="],
    ["+home=${oc.env:HOME}"],
    ["hydra.job.chdir=true", "lr=3"],
    ["hydra.sweep.dir=elsewhere"],
]
WRONG = [
    ["lrr=1"],
    ["db.file=x"],
    ["table.b.d=1"],
    ["+lr=1"],
    ["~gone"],
    ["~lr=7"],
    ["db=oracle"],
    ["nodb@x=one"],
    ["lr"],
    ["lr=[1"],
    ["hydra.nothing=1"],
]


class TestComposer:
    @pytest.mark.parametrize("overrides", SAME, ids=" ".join)
    def test_gives_what_hydra_gives(self, setup: Callable[..., Setup], overrides: list[str]) -> None:
        context, master = setup("hydra.verbose=false")
        _ = master.when  # a time is the same in every trial, once known
        expected = context.config_loader.load_sweep_config(master, overrides)
        composer = Composer(context, master)
        for _ in range(2):  # composed, and from what was kept
            config = composer.compose(overrides)
            assert OmegaConf.to_yaml(config) == OmegaConf.to_yaml(expected)
            assert config.when == master.when == expected.when
            assert OmegaConf.is_struct(config)
            assert config.hydra.job.override_dirname == expected.hydra.job.override_dirname
            config.lr = 77  # the caller may change it

    @pytest.mark.parametrize("overrides", WRONG, ids=" ".join)
    def test_complains_as_hydra_does(self, setup: Callable[..., Setup], overrides: list[str]) -> None:
        context, master = setup()
        with pytest.raises((HydraException, OmegaConfBaseException)) as expected:
            context.config_loader.load_sweep_config(master, overrides)
        composer = Composer(context, master)
        for _ in range(2):
            with pytest.raises(type(expected.value)) as caught:
                composer.compose(overrides)
            assert str(caught.value) == str(expected.value)
            assert type(caught.value.__cause__) is type(expected.value.__cause__)

    def test_a_typed_schema_checks_values(self, engine: Any) -> None:
        context, master = engine.context()
        overrides = ["hydra.sweeper.settings.seed=word"]
        with pytest.raises(HydraException) as expected:
            context.config_loader.load_sweep_config(master, overrides)
        with pytest.raises(type(expected.value)):
            Composer(context, master).compose(overrides)

    def test_hydra_composes_once_for_each_choice_of_groups(
        self, setup: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        context, master = setup()
        calls = []
        real = ConfigLoaderImpl.load_sweep_config

        def counted(self: ConfigLoaderImpl, master: DictConfig, overrides: list[str]) -> DictConfig:
            calls.append(overrides)
            return real(self, master, overrides)

        monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", counted)
        composer = Composer(context, master)
        for db in ("mysql", "sqlite"):
            for lr in range(50):
                assert composer.compose([f"+extra={lr}", f"lr={lr}", f"db={db}"]).lr == lr
        assert calls == [["db=mysql"], ["db=sqlite"]]

    def test_a_pickled_context_composes_the_same(self, setup: Callable[..., Setup]) -> None:
        context, master = setup()
        expected = Composer(context, master).compose(["lr=3", "db=sqlite"])
        import cloudpickle

        context, master = pickle.loads(cloudpickle.dumps((context, master)))  # noqa: S301
        got = Composer(context, master).compose(["lr=3", "db=sqlite"])
        assert OmegaConf.to_yaml(got) == OmegaConf.to_yaml(expected)


def run(task: Callable[[Any], Any], config: DictConfig, folder: Path, context: HydraContext) -> Any:
    return run_as_job(task, config, bare_copy(config), folder, int(folder.name), context)


class TestMeaning:
    def test_values_are_resolved_but_for_those_of_the_job(self, setup: Callable[..., Setup]) -> None:
        context, master = setup()
        config = Composer(context, master).compose(["name=z"])
        flat = flatten(config)
        del flat["when"]
        assert flat == {
            "db.driver": "mysql",
            "db.port": 1,
            "spare.driver": "sqlite",
            "spare.file": "z.db",
            "model.head.width": 1,
            "lr": 0.1,
            "name": "z",
            "twice": "z-z",
            "sizes": [1, 2],
            "table.a": 1,
            "table.b.c": 2,
            "nothing": None,
            "out": "${hydra:runtime.output_dir}",
        }

    def test_is_the_same_in_every_job(self, setup: Callable[..., Setup], tmp_path: Path) -> None:
        context, master = setup()
        composer = Composer(context, master)
        before = fingerprint(App().meaning(composer.compose(["lr=3", "when=1"])))
        inside = run(
            lambda _: fingerprint(App().meaning(composer.compose(["lr=3", "when=1"]))),
            composer.compose(["hydra/job_logging=none"]),
            tmp_path / "0",
            context,
        )
        assert inside == before
        assert fingerprint(App().meaning(composer.compose(["lr=4", "when=1"]))) != before

    def test_a_task_gets_a_config_of_its_own(self, setup: Callable[..., Setup]) -> None:
        context, master = setup()
        config = Composer(context, master).compose([])
        OmegaConf.set_readonly(config, True)
        bare = bare_copy(config)
        assert "hydra" not in bare
        assert OmegaConf.is_readonly(bare)
        assert "hydra" in config


class TestJob:
    def jobs(self, setup: Callable[..., Setup], folder: Path, task: Callable[[Any], Any], *overrides: str) -> list[Any]:
        """What Hydra's `run_job` gives, and what ours gives, each in a folder of its own."""
        context, master = setup(
            f"hydra.sweep.dir={folder}/theirs",
            "hydra.sweep.subdir=3",
            "+hydra.callbacks.notes._target_=notes_of_the_test.Notes",
            "+hydra.job.env_set={SWEEP_TEST_VARIABLE: here}",
        )
        Notes.told.clear()
        theirs = context.config_loader.load_sweep_config(master, list(overrides))
        with open_dict(theirs):
            theirs.hydra.job.num, theirs.hydra.job.id = 3, "3"
        done = run_job(task, theirs, "hydra.sweep.dir", "hydra.sweep.subdir", context)
        told, Notes.told[:] = list(Notes.told), []
        ours = run(task, Composer(context, master).compose(list(overrides)), folder / "ours" / "3", context)
        return [done.return_value, ours, told, list(Notes.told)]

    @pytest.fixture(autouse=True)
    def notes(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        import sys
        import types

        module = types.ModuleType("notes_of_the_test")
        module.Notes = Notes  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "notes_of_the_test", module)
        handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
        yield
        logging.getLogger().handlers[:], logging.getLogger().level = handlers, level

    @pytest.mark.parametrize("chdir", [True, False])
    def test_leaves_what_hydras_leaves(self, setup: Callable[..., Setup], tmp_path: Path, chdir: bool) -> None:
        def task(config: Any) -> dict[str, Any]:
            logging.getLogger("a.task").info("lr is %s", config.lr)
            hydra = HydraConfig.get()
            return {
                "num": hydra.job.num,
                "id": hydra.job.id,
                "dirname": hydra.job.override_dirname,
                "overrides": list(hydra.overrides.task),
                "mode": hydra.mode,
                "choices": dict(hydra.runtime.choices),
                "output": Path(hydra.runtime.output_dir).name,
                "out": Path(config.out).name,
                "variable": os.environ["SWEEP_TEST_VARIABLE"],
                "here": Path.cwd().name,
                "config": OmegaConf.to_yaml(config),
            }

        start = Path.cwd()
        overrides = ["lr=0.25", "name='ü: x'", "db=sqlite", f"hydra.job.chdir={chdir}"]
        theirs, ours, told_theirs, told_ours = self.jobs(setup, tmp_path, task, *overrides)
        assert ours == theirs
        assert ours["num"] == 3
        assert ours["dirname"] == "db=sqlite,lr=0.25"
        assert ours["here"] == ("3" if chdir else start.name)
        assert told_ours == told_theirs == [("start", (3, "here")), ("end", (3, JobStatus.COMPLETED))]
        assert Path.cwd() == start
        assert "SWEEP_TEST_VARIABLE" not in os.environ
        found = {}
        for whose in ("theirs", "ours"):
            folder = tmp_path / whose / "3"
            files = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
            assert sorted(files) == [".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml", "app.log"]
            assert "[a.task][INFO] - lr is 0.25" in files["app.log"].read_text()
            found[whose] = {k: yaml.safe_load(p.read_text()) for k, p in files.items() if k.endswith(".yaml")}
            hydra = found[whose][".hydra/hydra.yaml"]["hydra"]
            assert hydra.pop("help", None) or whose == "ours"
            hydra.pop("hydra_help", None)
            assert hydra["sweep"].pop("dir") == str(tmp_path / whose)
            assert hydra["runtime"].pop("output_dir") == str(folder)
        assert found["ours"] == found["theirs"]

    def test_a_task_that_raises(self, setup: Callable[..., Setup], tmp_path: Path) -> None:
        context, master = setup("+hydra.callbacks.notes._target_=notes_of_the_test.Notes")
        Notes.told.clear()
        handlers = logging.getLogger().handlers[:]

        def task(config: Any) -> None:
            raise KeyError("no")

        with pytest.raises(KeyError, match="no"):
            run(task, Composer(context, master).compose(["hydra.job.chdir=true"]), tmp_path / "1", context)
        assert Notes.told == [("start", (1, None)), ("end", (1, JobStatus.FAILED))]
        assert HydraConfig.instance().cfg is None
        assert logging.getLogger().handlers == handlers
        assert Path.cwd() != tmp_path / "1"
