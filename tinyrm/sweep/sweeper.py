"""Hydra's side: the sweeper behind `-m`, the `local` launcher, and the task that each worker's Hydra job runs.

A thin shell: what costs time to import is imported when a sweep begins.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from .config import LocalLauncherConfig, PullSweeperConfig, SweepConfig
from .leases import Host

if TYPE_CHECKING:
    from .outcome import TrialRecord
    from .processes import EarlyProcesses

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
    """

    def __init__(
        self, task: TaskFunction, context: HydraContext, master: DictConfig, name: str, app: str | None, stops: int
    ) -> None:
        self.task, self.context, self.master, self.name, self.app = task, context, master, name, app
        self.stops = stops
        self.host = Host(here=True)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "host": replace(self.host, here=False)}

    def __call__(self, config: DictConfig) -> int:
        """Work until nothing is left; give how many trials were finished."""
        from .app import load_app
        from .composing import Composer
        from .devices import VISIBLE
        from .leases import WorkerId
        from .running import finish_if_last
        from .storage import reopen_storage
        from .study import Study
        from .worker import Worker

        settings = settings_of(self.master)
        storage = reopen_storage(settings.storage, settings.storage_patience_s)
        study = Study(storage, self.name, settings.storage_patience_s)
        identity = WorkerId.here(os.environ.get(VISIBLE, "cpu") or "cpu")
        composer = Composer(self.context, self.master)
        app = load_app(self.app)
        finished = Worker(self.task, study, composer, settings, app, identity, self.stops, self.host).run()
        finish_if_last(study, app)
        return finished


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
    # A worker may run elsewhere: with hydra.job.chdir Hydra changes into its folder.
    resolved.storage = absolute(resolved.storage, Path(config.hydra.runtime.cwd))
    return resolved


def register(group: str | None = None) -> None:
    """Make `hydra/sweeper=pull` and `hydra/launcher=local` known to Hydra. Safe to call again.

    Hydra looks for plugins in the package `hydra_plugins` (and runs every module it finds there, some twice); one that
    lives elsewhere is put into its table by name.

    Args:
        group: keep the settings in a config group of this name (its schema is stored as `group/schema`), for an
            application whose users type `group.name=x`; else they are typed as `hydra.sweeper.settings.name=x`.
    """
    for plugin in (PullSweeper, LocalLauncher):
        known = Plugins.instance()
        known.register(plugin)
        known.class_name_to_class[f"hydra_plugins.pull.{plugin.__name__}"] = plugin
    store = ConfigStore.instance()
    settings = OmegaConf.structured(SweepConfig)
    for free in ("params", "metrics", "sampler_options", "pruner_options"):  # whose keys are the user's own
        OmegaConf.set_struct(settings[free], False)
    here = PullSweeperConfig(settings=settings if group is None else f"${{{group}}}")
    store.store(group="hydra/sweeper", name="pull", node=here, provider="pull")
    store.store(group="hydra/launcher", name="local", node=LocalLauncherConfig, provider="pull")
    if group is not None:
        store.store(group=group, name="schema", node=settings, provider="pull")
