"""Every key of a sweep, its type and its default, in one place; and their registration with Hydra."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf

# Storages that `storage: auto` stands for: of workers on one machine, and of those on several (SQLite's locks do not
# hold over network file systems).
ONE_MACHINE, CLUSTER = "sqlite:///{dir}/sweeps.db", "journal:///{dir}/sweeps.journal"
_CLUSTER_LAUNCHERS = ("SlurmLauncher", "RayLauncher")  # hydra-submitit-launcher's class has the first name too


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
    devices_per_trial: int = 1  # each trial sees exactly these of a machine
    nodes_per_trial: int = 1  # machines a trial trains on, with devices_per_trial of each (hydra/launcher=slurm)
    trials_per_device: int = 1  # share a device
    pack: int = 1  # a worker runs up to so many trials together, in turn, where they may share a process; see the app
    detach: bool = False  # return once workers are submitted, and do not wait for them (hydra/launcher=slurm)

    # --- where
    dir: str = "multirun"  # holds <name>/<number>/ for each trial
    # sqlite:/// | journal:/// | postgresql:// | grpc://; auto: ONE_MACHINE or CLUSTER, by the launcher
    storage: str = "${oc.env:SWEEP_STORAGE,auto}"
    storage_patience_s: float = 300.0  # how long a storage may be away before workers give up

    # --- what happens when
    trial_timeout_min: float | None = None  # a trial that runs longer (in a pack: its own turns) ends as timed_out
    # memory of a worker above this ends its trial as out_of_memory (a pack goes back, its trials run one by one); pages
    # of files it has mapped do not count
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


@dataclass
class SlurmLauncherConfig:
    """The node `hydra.launcher`: workers as Slurm jobs. Keys of hydra-submitit-launcher mean what they mean there."""

    _target_: str = "hydra_plugins.pull.SlurmLauncher"

    # --- how many
    max_workers: int | None = "${hydra.sweeper.settings.workers}"  # type: ignore[assignment]  # jobs in the array; null: 8
    # while the sweep's own process runs: with fewer jobs queued or running, new ones are submitted, up to max_workers
    min_workers: int = 1
    array_parallelism: int = 256  # jobs of one array that run at once

    # --- what each job asks for; a worker is one job
    nodes: int = "${hydra.sweeper.settings.nodes_per_trial}"  # type: ignore[assignment]
    # A worker is one process, which starts those that a trial on several devices needs; with several nodes it is one
    # process a device, which Slurm starts.
    tasks_per_node: int = 1
    devices_per_trial: int = "${hydra.sweeper.settings.devices_per_trial}"  # type: ignore[assignment]
    gpus_per_node: int | None = "${hydra.sweeper.settings.devices_per_trial}"  # type: ignore[assignment]  # 0: none
    cpus_per_task: int | None = None
    mem_gb: int | None = None  # of each node
    timeout_min: int = 60  # a worker's, not a trial's: it is requeued, and goes on from the checkpoint
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    gres: str | None = None  # in place of gpus_per_node
    cpus_per_gpu: int | None = None
    gpus_per_task: int | None = None
    mem_per_gpu: str | None = None
    mem_per_cpu: str | None = None
    comment: str | None = None
    name: str = "${hydra.job.name}"  # of the job
    additional_parameters: dict[str, Any] = field(default_factory=dict)  # of sbatch: {mail-user: me@x, exclusive: true}

    # --- what happens when
    signal_delay_s: int = 120  # the warning before the time limit: a checkpoint must be written within it
    max_num_timeout: int = (
        100  # how often one worker is requeued: after warnings, and where its process must be replaced
    )

    # --- how it starts
    setup: list[str] | None = None  # shell commands before the worker: module load, source a venv, export
    python: str | None = None  # what starts Python, as in "apptainer exec --nv image.sif python"; null: this one
    srun_args: list[str] | None = None
    stderr_to_stdout: bool = True
    poll_s: float = 5.0  # how often Slurm is asked for the jobs' states


@dataclass
class RayLauncherConfig:
    """The node `hydra.launcher`: workers as tasks of a Ray cluster."""

    _target_: str = "hydra_plugins.pull.RayLauncher"
    address: str | None = None  # null: a Ray of its own on this machine; auto | HOST:PORT | ray://HOST:PORT
    max_workers: int | None = "${hydra.sweeper.settings.workers}"  # type: ignore[assignment]  # null: all that fit
    num_gpus: float | None = (
        None  # of each worker, may be a fraction; null: devices_per_trial / trials_per_device, if any
    )
    num_cpus: float = 1.0  # of each worker
    devices_per_trial: int = "${hydra.sweeper.settings.devices_per_trial}"  # type: ignore[assignment]
    trials_per_device: int = "${hydra.sweeper.settings.trials_per_device}"  # type: ignore[assignment]
    resources: dict[str, float] = field(default_factory=dict)  # custom ones of the cluster that each worker takes
    init: dict[str, Any] = field(default_factory=dict)  # further arguments of ray.init
    runtime_env: dict[str, Any] = field(default_factory=dict)  # of the workers: {pip: [...], env_vars: {...}}
    max_restarts: int = 100  # of a worker whose process or node died


def on_cluster(config: DictConfig) -> bool:
    """Whether the launcher of a composed config may start workers on several machines."""
    target = str(OmegaConf.select(config, "hydra.launcher._target_"))
    return target.rpartition(".")[2] in _CLUSTER_LAUNCHERS
