"""Hydra's side: the sweeper behind `-m`, its launchers, and the task that each worker's Hydra job runs.

A thin shell: what costs time to import is imported when a sweep begins.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from .config import (
    CLUSTER,
    ONE_MACHINE,
    LocalLauncherConfig,
    PullSweeperConfig,
    RayLauncherConfig,
    SlurmLauncherConfig,
    SweepConfig,
    on_cluster,
)
from .errors import SweepError, SweepInterrupted
from .leases import Host

if TYPE_CHECKING:
    from .outcome import TrialRecord
    from .processes import EarlyProcesses
    from .study import Study

log = logging.getLogger(__name__)


class PullSweeper(Sweeper):
    """Plans the study, starts workers by the configured launcher, and shows what they do.

    Args:
        settings: see :class:`SweepConfig`.
        app: dotted path of the application's :class:`App`.
        params: Hydra's own place for a sweep's parameters.
    """

    def __init__(self, settings: Any, app: str | None = None, params: dict[str, Any] | None = None) -> None:
        self._given, self._app, self._params = settings, app, params
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before :meth:`sweep`."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> list[TrialRecord]:
        """Run the sweep; give every trial.

        Raises:
            SweepError: what was asked cannot be run; TrialsFailedError where trials failed for good.
        """
        from .running import Run

        assert self.config is not None
        return Run(self.context, self.task, self.config, settings_of(self.config), self._app, self._params).sweep(
            arguments
        )


class LocalLauncher(Launcher):
    """Processes on this machine, each with devices of its own. See :mod:`.local`."""

    def __init__(self, workers: int | None, devices_per_trial: int, trials_per_device: int, grace_s: float) -> None:
        self._share = (workers, devices_per_trial, trials_per_device)
        self._grace_s = grace_s
        self._early: EarlyProcesses | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before :meth:`launch`."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def workers(self) -> int:
        """How many jobs run at once."""
        from .devices import slots

        return len(slots(*self._share))

    def prepare(self, count: int, modules: Sequence[str]) -> None:
        """Start processes for up to `count` jobs now; they import `modules`, until :meth:`launch` or :meth:`close`."""
        from .devices import slots
        from .processes import EarlyProcesses

        self._early = EarlyProcesses(slots(*self._share)[:count], modules)

    def close(self) -> None:
        """End what was prepared and not launched."""
        if self._early is not None:
            self._early.close()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and wait for them."""
        from .devices import slots
        from .local import job_configs, launch

        if isinstance(self.task, WorkerTask):
            self.task.host = Host(launcher=os.getpid())
        jobs = job_configs(self.context, self.config, job_overrides, initial_job_idx)
        return launch(jobs, slots(*self._share), self.context, self.task, self._grace_s, self._early)


class SlurmLauncher(Launcher):
    """Workers as Slurm jobs. See :mod:`.slurm`.

    Args:
        params: see :class:`SlurmLauncherConfig`.
    """

    detaches = True
    joins_nodes = True
    _MOST = 8  # workers, where neither sweep.workers nor max_workers says how many

    def __init__(self, **params: Any) -> None:
        self._params = {**params, "max_workers": params["max_workers"] or self._MOST}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before :meth:`launch`.

        Raises:
            SweepError: a command cannot leave to the shell what it takes from the environment.
        """
        from .shell import commands

        self.context, self.task, self.config = hydra_context, task_function, config
        # Hydra has resolved them: what was taken from the environment would stand in the job script.
        self._params["setup"], reads = commands(config, "hydra.launcher.setup")
        self._params["python"], more = commands(config, "hydra.launcher.python")
        self._reads = [*reads, *more]

    def workers(self) -> int:
        """The most jobs at once."""
        return int(self._params["max_workers"])

    def problems(self, settings: SweepConfig) -> list[str]:
        """What is wrong with the settings, as far as Slurm can say before anything is submitted."""
        from .slurm_checks import problems

        place = Path(settings.dir), settings.storage
        return problems(self._params, *place, settings.nodes_per_trial, self._reads, dry=settings.dry_run)

    def preview(self, count: int, folder: Path) -> str:
        """The script that would be submitted for `count` workers of the sweep in `folder`."""
        from .slurm import script
        from .slurm_client import scripts

        return script(self._params, scripts(folder), min(count, self.workers()))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Submit as many jobs as there are not yet; wait for the sweep unless it is to be left alone."""
        from .local import composed_hydra
        from .slurm import alive, submit, wait
        from .slurm_client import SlurmAway, scripts

        if not isinstance(self.task, WorkerTask):
            raise TypeError("hydra/launcher=slurm runs workers: it needs hydra/sweeper=pull")
        folder = scripts(Path(str(composed_hydra(self.context, self.config, job_overrides[0]).sweep.dir)))
        folder.mkdir(parents=True, exist_ok=True)
        study, settings = self.task.study(), settings_of(self.task.master)
        try:
            there = alive(folder)
        except SlurmAway as error:
            raise SweepError(f"Slurm does not answer ({error}); nothing was submitted.") from error
        wanted = job_overrides[: max(0, len(job_overrides) - len(there))]
        made = (
            submit(self._params, folder, self.context, self.config, self.task, wanted, initial_job_idx)
            if wanted
            else []
        )
        log.info(
            "%s jobs submitted%s%s; logs in %s",
            len(made),
            f" ({made[0].id} to {made[-1].id})" if made else "",
            f", {len(there)} were there before" if there else "",
            folder,
        )
        if not settings.detach:
            stops = self.task.stops
            look = partial(study.progress, stops)
            wait(folder, self._params["min_workers"], self._params["poll_s"], look, [*there, *made])
            if look()[0] and look()[1]:
                raise SweepInterrupted(f"sweep {self.task.name} was told to stop.")
        return []


class RayLauncher(Launcher):
    """Workers as tasks of a Ray cluster. See :mod:`.ray_cluster`.

    Args:
        params: see :class:`RayLauncherConfig`.
    """

    def __init__(self, **params: Any) -> None:
        self._params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before :meth:`launch`."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def workers(self) -> int:
        """How many fit into the cluster at once."""
        from .ray_cluster import room

        return room(self._params)

    def problems(self, settings: SweepConfig) -> list[str]:
        """What is wrong with the settings."""
        from .ray_cluster import problems

        return problems(self._params, Path(settings.dir), settings.storage, dry=settings.dry_run)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and wait for them."""
        from .local import job_configs
        from .ray_cluster import launch

        jobs = job_configs(self.context, self.config, job_overrides, initial_job_idx)
        return launch(self._params, jobs, self.context, self.task)


class WorkerTask:
    """What a worker's Hydra job runs in the place of the application's main function.

    Attributes:
        task: the application's main function.
        context: Hydra's.
        master: the config Hydra composed for the sweep.
        name: of the sweep.
        app: dotted path of the application's :class:`App`.
        stops: how often the sweep had been told to stop by now: a worker that starts later hears of the next one.
        host: where it runs: here, until it is pickled for another process.
        workers: how many are started.
    """

    def __init__(
        self, task: TaskFunction, context: HydraContext, master: DictConfig, name: str, app: str | None, stops: int
    ) -> None:
        self.task, self.context, self.master, self.name, self.app = task, context, master, name, app
        self.stops = stops
        self.host = Host(here=True)
        self.failed_here = 0  # trials that this process has run and that ended as they should not
        self.workers = 1

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "host": replace(self.host, here=False)}

    def __call__(self, config: DictConfig) -> int:
        """Work until nothing is left; give how many trials were finished."""
        from .app import load_app
        from .composing import Composer
        from .devices import VISIBLE
        from .leases import WorkerId
        from .running import finish_if_last
        from .worker import Worker

        settings, study = settings_of(self.master), self.study()
        composer, team = Composer(self.context, self.master), None
        if settings.nodes_per_trial > 1:
            from .team import Team, follow
            from .watch import last_words

            sweep = Path(study.header()["folder"])
            team = Team.here(sweep)
            if team.rank:
                follow(team, self.task, composer, sweep)
            last_words.append(team.dismiss)
        identity = WorkerId.here(os.environ.get(VISIBLE, "cpu") or "cpu")
        app = load_app(self.app)
        worker = Worker(
            *(self.task, study, composer, settings, app, identity),
            stops=self.stops,
            host=self.host,
            team=team,
            workers=self.workers,
        )
        try:
            finished = worker.run()
        finally:
            if team is not None:
                team.dismiss()
        finish_if_last(study, app)
        self.failed_here = worker.failed
        return finished

    def study(self) -> Study:
        """The sweep, its storage opened anew."""
        from .storage import reopen_storage
        from .study import Study

        settings = settings_of(self.master)
        storage = reopen_storage(settings.storage, settings.storage_patience_s)
        return Study(storage, self.name, settings.storage_patience_s)


def settings_of(config: DictConfig) -> SweepConfig:
    """The sweep's settings out of a composed config, interpolations resolved; files of storages from where it began.

    Raises:
        SweepError: `sweep.storage` is none.
    """
    from .storage import absolute

    node = config.hydra.sweeper.settings
    plain = OmegaConf.merge(OmegaConf.structured(SweepConfig), OmegaConf.create(OmegaConf.to_container(node)))
    plain._set_parent(None)
    resolved = OmegaConf.to_object(plain)
    assert isinstance(resolved, SweepConfig)
    if resolved.storage == "auto":
        resolved.storage = (CLUSTER if on_cluster(config) else ONE_MACHINE).format(dir=resolved.dir)
    # A worker may run elsewhere: with hydra.job.chdir Hydra changes into its folder.
    resolved.storage = absolute(resolved.storage, Path(config.hydra.runtime.cwd))
    return resolved


def register(group: str | None = None) -> None:
    """Make `hydra/sweeper=pull` and `hydra/launcher=local | slurm | ray` known to Hydra. Safe to call again.

    Hydra looks for plugins in the package `hydra_plugins` (and runs every module it finds there, some twice); one that
    lives elsewhere is put into its table by name.

    Args:
        group: keep the settings in a config group of this name (its schema is stored as `group/schema`), for an
            application whose users type `group.name=x`; else they are typed as `hydra.sweeper.settings.name=x`. The
            schemas of the launchers for clusters are then `slurm_schema` and `ray_schema`, for files `slurm` and `ray`.
    """
    for plugin in (PullSweeper, LocalLauncher, SlurmLauncher, RayLauncher):
        known = Plugins.instance()
        known.register(plugin)
        known.class_name_to_class[f"hydra_plugins.pull.{plugin.__name__}"] = plugin
    store = ConfigStore.instance()
    settings = OmegaConf.structured(SweepConfig)
    for free in ("params", "metrics", "sampler_options", "pruner_options"):  # whose keys are the user's own
        OmegaConf.set_struct(settings[free], False)
    here = PullSweeperConfig(settings=settings if group is None else f"${{{group}}}")
    store.store(group="hydra/sweeper", name="pull", node=here, provider="pull")
    launchers = {"local": LocalLauncherConfig, "slurm": SlurmLauncherConfig, "ray": RayLauncherConfig}
    for name, schema in launchers.items():
        node = OmegaConf.structured(schema)
        for free in ("additional_parameters", "resources", "init", "runtime_env"):
            if free in node:
                OmegaConf.set_struct(node[free], False)
        # An application with groups of its own has a file for each of the cluster's, which begins with the schema.
        stored = name if group is None or name == "local" else f"{name}_schema"
        store.store(group="hydra/launcher", name=stored, node=node, provider="pull")
    if group is not None:
        store.store(group=group, name="schema", node=settings, provider="pull")
