"""What the tests of the sweep engine share: a toy Hydra app in a folder of its own, run as a person would."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import setup_globals
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from tinyrm.sweep import add_commands, register, run_command
from tinyrm.sweep.outcome import TrialRecord
from tinyrm.sweep.planning import Question, Settled, settle
from tinyrm.sweep.space import parse
from tinyrm.sweep.storage import open_storage
from tinyrm.sweep.study import Study

TOY = Path(__file__).parent / "toy"


class Toy:
    """The toy app, copied into `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(TOY, folder, dirs_exist_ok=True)
        self.notes = folder / "runs.txt"

    def command(self, *overrides: str) -> list[str]:
        """What a person would type."""
        return [sys.executable, "app.py", "-m", f"runs={self.notes}", *overrides]

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment without devices of the machine that runs the tests."""
        kept = {k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES", "SWEEP_STORAGE")}
        return {**kept, "CUDA_VISIBLE_DEVICES": "", "HYDRA_FULL_ERROR": "1", **variables}

    def start(self, *overrides: str, **variables: str) -> subprocess.Popen[str]:
        """Start a sweep in a process group of its own."""
        return subprocess.Popen(
            self.command(*overrides),
            cwd=self.folder,
            env=self.environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *overrides: str, timeout: float = 120, **variables: str) -> tuple[int, str]:
        """Run a sweep to its end: exit code and output."""
        process = self.start(*overrides, **variables)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return process.returncode, output

    def noted(self, what: str) -> Counter[int]:
        """How often each trial noted `begin` or `end`."""
        if not self.notes.exists():
            return Counter()
        lines = (line.split() for line in self.notes.read_text().splitlines())
        return Counter(int(fields[1]) for fields in lines if fields[0] == what)


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "app")


class Engine:
    """The engine in this process, with the toy app's config and any task: no process is started.

    Args:
        folder: of its sweeps.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def context(self, *overrides: str) -> tuple[HydraContext, DictConfig]:
        """Hydra's context, and the config it composes for `-m` with these overrides."""
        with initialize_config_dir(str(TOY / "conf"), version_base="1.3", job_name="app"):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            master = hydra.compose_config(
                "config", list(overrides), run_mode=RunMode.MULTIRUN, from_shell=False, with_log_configuration=False
            )
            return HydraContext(hydra.config_loader, Callbacks(master)), master

    def sweep(self, task: Callable[[Any], Any], *overrides: str, **settings: object) -> list[TrialRecord]:
        """What `-m` does, with one worker in this process, or with the launcher given in `overrides`."""
        given = [f"hydra.sweeper.settings.{key}={value}" for key, value in {"dir": self.folder, **settings}.items()]
        return self._run(task, *given, *overrides)

    def typed(self, task: Callable[[Any], Any], *overrides: str) -> list[TrialRecord]:
        """The same in an app whose users type `sweep.name=x`; see the fixture `grouped`."""
        return self._run(task, "+sweep=schema", *(o for o in overrides if o != "+sweep=schema"))

    def command(self, task: Callable[[Any], Any], *words: str) -> list[TrialRecord]:
        """`sweep resume ...` and the like, in such an app; the trials of a sweep that it ran again."""
        parser = argparse.ArgumentParser()
        add_commands(parser.add_subparsers())
        found: list[TrialRecord] = []
        run_command(parser.parse_args(["sweep", *words]), lambda typed: found.extend(self.typed(task, *typed[1:])))
        return found

    def _run(self, task: Callable[[Any], Any], *overrides: str) -> list[TrialRecord]:
        quiet = ["hydra/hydra_logging=none", "hydra/job_logging=none"]
        launcher = [] if any(o.startswith("hydra/launcher") for o in overrides) else ["hydra/launcher=basic"]
        context, master = self.context(*quiet, *launcher, *overrides)
        sweeper = Plugins.instance().instantiate_sweeper(config=master, hydra_context=context, task_function=task)
        setup_globals()
        typed = OmegaConf.to_container(master.hydra.overrides.task, resolve=False)  # as Hydra itself does
        found: list[TrialRecord] = sweeper.sweep(typed)
        return found

    def study(self, name: str) -> Study:
        """One of its sweeps."""
        return Study(open_storage(f"sqlite:///{self.folder}/sweeps.db", create=False), name, 10)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.delenv("SWEEP_STORAGE", raising=False)
    register()
    return Engine(tmp_path / "multirun")


@pytest.fixture
def grouped(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine whose settings have a config group of their own, called in the folder where its sweeps are."""
    engine.folder.parent.mkdir(exist_ok=True)
    monkeypatch.chdir(engine.folder.parent)
    register(group="sweep")
    yield engine
    register()


def _module(name: str) -> Any:
    """A file beside this one, as a module."""
    spec = importlib.util.spec_from_file_location(f"sweep_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["sqlite", "journal", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres").database(f"t{uuid4().hex[:12]}"))
    return f"{request.param}:///{tmp_path}/studies.{request.param}"


class World:
    """A storage and what is asked of it.

    Args:
        url: of the storage.
        folder: of the sweeps.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.storage = open_storage(url)

    def ask(self, *arguments: str, name: str = "s", **rest: Any) -> Settled:
        """One call of a sweep, as far as the plan."""
        return settle(self.storage, name, self.question(*arguments, **rest), 10)

    def question(self, *arguments: str, sampler: str = "grid", arms: Any = None, **rest: Any) -> Question:
        """What such a call asks."""
        space, fixed = parse(arguments, arms, None)  # type: ignore[arg-type]
        points = [" ".join(sorted([*fixed, *space.overrides(p)])) for p in space.grid()] if sampler == "grid" else []
        made = Question(
            space=space,
            fixed=tuple(fixed),
            sampler=sampler,
            n_trials=None,
            fingerprints=tuple(points),
            meaning={"fixed": " ".join(fixed)},
            identity={"code": "1"},
            metrics=rest.pop("metrics", None) or {"value": "maximize"},
            command=arguments,
            program="python run.py",
            folder=self.folder,
        )
        return replace(made, **rest)


@pytest.fixture
def world(url: str, tmp_path: Path) -> World:
    return World(url, tmp_path / "multirun")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A real PostgreSQL server: see postgres.py."""
    server = _module("postgres").Postgres()
    try:
        yield server.begin()
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def slurm_session() -> Iterator[Any]:
    """A real Slurm: see slurm_cluster.py. Where its programs are not installed the tests are skipped, but not in CI."""
    module = _module("slurm_cluster")
    if module.missing():
        told = f"no {', '.join(module.missing())} here (apt-get install munge slurmctld slurmd slurm-client)"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    cluster = module.SlurmCluster()
    try:
        yield cluster.begin()
    finally:
        cluster.destroy()


@pytest.fixture
def slurm(slurm_session: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The same, which this process and what it starts will find; no job is left after the test."""
    for name, value in slurm_session.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm_session
    slurm_session.quiet()
