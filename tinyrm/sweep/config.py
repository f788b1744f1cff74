"""Every key of a sweep, its type and its default, in one place; and their registration with Hydra."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class SweepConfig:
    """What is searched, how, and with what."""

    # --- what
    name: str | None = None  # the same name again resumes or extends; null makes one of the question asked
    params: dict[str, Any] = field(default_factory=dict)  # key -> sweep in Hydra's grammar; the command line wins
    # overrides that move together, a list an arm: [["adapter=dora", "adapter.rank=8"], ["adapter=full"]], or by name
    arms: Any = None
    metrics: dict[str, str] = field(default_factory=dict)  # name -> maximize | minimize; empty: the app's own

    # --- how
    sampler: str = "auto"  # grid | random | tpe | gp | cmaes | qmc | nsga2; auto: grid if finite, else tpe
    sampler_options: dict[str, Any] = field(default_factory=dict)  # arguments of Optuna's sampler class
    n_trials: int | None = None  # at most so many of a grid; needed where points are sampled
    seed: int = 0  # of the sampler
    pruner: str = "none"  # none | median | percentile | successive_halving | hyperband | wilcoxon
    pruner_options: dict[str, Any] = field(default_factory=dict)  # arguments of Optuna's pruner class

    # --- with what
    workers: int | None = None  # null: one a device of this machine (or what the launcher says)
    devices_per_trial: int = 1  # each trial sees exactly these
    trials_per_device: int = 1  # share a device

    # --- where
    dir: str = "multirun"  # holds <name>/<number>/ for each trial
    storage: str = "${oc.env:SWEEP_STORAGE,sqlite:///${.dir}/sweeps.db}"  # sqlite:/// | journal:/// | postgresql://
    storage_patience_s: float = 300.0  # how long a storage may be away before workers give up

    # --- what happens when
    trial_timeout_min: float | None = None  # a trial that runs longer ends as timed_out
    # memory of a worker above this ends its trial as out_of_memory; pages of files it has mapped do not count
    trial_memory_gb: float | None = None
    max_retries: int = 2  # of a trial whose process died, from its last checkpoint
    retry_failed: bool = False  # on resume, run trials that failed for good once more, under new numbers
    dry_run: bool = False  # check every point, say what would run, and run nothing
    on_change: str = "refuse"  # the same name with other fixed overrides or code: refuse | new (a new name)
    lease_s: float = 60.0  # a worker not heard of for so long is taken for dead (at once, if it died on this machine)
    heartbeat_s: float = 5.0  # how often it is heard of, and how soon it hears of a stop
    check_points: int = 64  # points of an infinite space that are checked before anything runs, beside its corners


@dataclass
class PullSweeperConfig:
    """The node `hydra.sweeper`."""

    _target_: str = "hydra_plugins.pull.PullSweeper"
    settings: Any = field(default_factory=SweepConfig)  # Any: an app may point it at a node of its own, as `${sweep}`
    app: str | None = None  # dotted path of an object with the functions of `tinyrm.sweep.app.App`
    params: dict[str, Any] | None = None  # Hydra's own place for a sweep's parameters; joins settings.params


@dataclass
class LocalLauncherConfig:
    """The node `hydra.launcher`: processes on this machine."""

    _target_: str = "hydra_plugins.pull.LocalLauncher"
    workers: int | None = "${hydra.sweeper.settings.workers}"  # type: ignore[assignment]
    devices_per_trial: int = "${hydra.sweeper.settings.devices_per_trial}"  # type: ignore[assignment]
    trials_per_device: int = "${hydra.sweeper.settings.trials_per_device}"  # type: ignore[assignment]
    grace_s: float = 60.0  # on Ctrl-C: how long workers may take to write their checkpoints
