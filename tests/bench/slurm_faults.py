"""What a sweep loses when a cluster does what clusters do; on a real Slurm of two nodes, started here.

    python tests/bench/slurm_faults.py                     # all of it, some 15 minutes
    python tests/bench/slurm_faults.py --app tinyrm        # the same with TinyRM's own training, some 20 minutes
    python tests/bench/slurm_faults.py --only grid requeue

`grid` runs 3 x 3 trials of model=tiny under hydra/launcher=slurm (4 workers on 2 nodes) and under `local`, and compares
every metric. The others disturb two workers: no trial may be lost or end twice, and what was computed twice is counted
in steps. `--app toy` runs 6 trials of 100 steps, a checkpoint after each; `--app tinyrm` 3 trainings of model=tiny, 100
steps, a checkpoint every 10, whose results must be those of an undisturbed run, byte by byte.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from slurm_parts.real import RealRig
from slurm_parts.rig import ROOT, Rig, module
from slurm_parts.toy import ToyRig

APPS: dict[str, type[Rig]] = {"toy": ToyRig, "tinyrm": RealRig}


def requeue(app: type[Rig], slurm: Any) -> None:
    """`scontrol requeue` in mid-trial: SIGTERM, then the job waits and runs again."""
    rig = app(slurm)
    slurm.do("scontrol", "requeue", next(iter(rig.running())))
    rig.finish("scontrol requeue")


def warned(app: type[Rig], slurm: Any) -> None:
    """The signal of a time limit or a preemption."""
    rig = app(slurm)
    slurm.do("scancel", "--signal=USR2", next(iter(rig.running())))
    rig.finish("warning signal")


def time_limit(app: type[Rig], slurm: Any) -> None:
    """A real time limit of two minutes, warned of 30 to 90 seconds before."""
    rig = app(slurm, "hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=30", slow=True)
    rig.finish("time limit, warned of")


def limit_reached(app: type[Rig], slurm: Any) -> None:
    """A real time limit of a minute without a warning: SIGTERM, and SIGKILL after KillWait (5 s)."""
    rig = app(slurm, "hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=0", slow=True)
    rig.finish("time limit, not warned of")


def preempted(app: type[Rig], slurm: Any) -> None:
    """A job of a higher partition takes both nodes for some seconds."""
    rig = app(slurm)
    slurm.do("sbatch", "-p", "high", "-N2", "--exclusive", "-t", "1", "-o", "/dev/null", "--wrap", "sleep 5")
    rig.finish("preemption")


def cancelled(app: type[Rig], slurm: Any) -> None:
    """One of two workers is cancelled."""
    rig = app(slurm)
    slurm.do("scancel", next(iter(rig.running())))
    rig.finish("scancel of one worker")


def killed(app: type[Rig], slurm: Any) -> None:
    """One worker's process is killed outright: nothing is written, nothing released."""
    rig = app(slurm)
    record = next(r for r in rig.records() if r.state == "running")
    os.kill(int(record.worker.split(":")[1]), signal.SIGKILL)
    rig.finish("kill -9 of one worker")


def node_down(app: type[Rig], slurm: Any) -> None:
    """A node is taken for lost."""
    rig = app(slurm)
    node = slurm.jobs()[next(iter(rig.running()))][1]
    slurm.do("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    rig.finish("node down")


def controller_down(app: type[Rig], slurm: Any) -> None:
    """slurmctld is away for 30 s."""
    rig = app(slurm)
    slurm.stop_controller()
    time.sleep(30)
    slurm.start_controller()
    rig.finish("slurmctld away 30 s")


def sweep_killed(app: type[Rig], slurm: Any) -> None:
    """The process that submitted is killed."""
    rig = app(slurm)
    os.killpg(rig.process.pid, signal.SIGKILL)
    rig.finish("the sweep's own process killed")


def grid(app: type[Rig], slurm: Any) -> None:
    """3 x 3 trials of model=tiny, 4 workers on 2 nodes, against `local`."""
    folder = Path(tempfile.mkdtemp(prefix="grid-"))
    common = [
        sys.executable,
        "run.py",
        "-m",
        "model=tiny",
        "adapter.rank=2,4,8",
        "freeze=0,2,4",
        "data.max_train_pairs=48",
    ]
    common += [
        "data.max_dev_pairs=48",
        "data.max_test_pairs=48",
        "trainer.threads=1",
        "tracking=none",
        "sweep.name=grid",
    ]
    common += [f"data.cache_dir={folder}/cache"]
    rows: dict[str, dict[str, dict[str, str]]] = {}
    workers: list[str] = []
    slurm_options = [
        "hydra/launcher=slurm",
        "sweep.workers=4",
        "hydra.launcher.cpus_per_task=4",
        "hydra.launcher.poll_s=1",
    ]
    for name, options in {"local": ["sweep.workers=1"], "slurm": slurm_options}.items():
        began = time.monotonic()
        done = subprocess.run(
            [*common, f"sweep.dir={folder}/{name}", *options], cwd=ROOT, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        with (folder / name / "grid" / "trials.csv").open() as file:
            rows[name] = {row["trial"]: row for row in csv.DictReader(file)}
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    from tinyrm.sweep.storage import open_storage
    from tinyrm.sweep.study import Study

    records = Study(open_storage(f"journal:///{folder}/slurm/sweeps.journal", create=False), "grid", 10).records()
    workers = sorted(
        {f"{r.worker.rpartition(':')[0].rpartition(':')[0]} CUDA_VISIBLE_DEVICES={r.devices}" for r in records}
    )
    timed = ("seconds", "worker", "device", "peak", "pairs_per_second", "attempt", "folder")
    compared = [c for c in rows["local"]["0"] if not any(word in c for word in timed)]
    differing = [
        (trial, column)
        for trial, row in rows["local"].items()
        for column in compared
        if row[column] != rows["slurm"][trial][column]
    ]
    told = {"grid": len(rows["slurm"]), "columns_compared": compared, "differing": differing, "workers": workers}
    print(json.dumps(told), flush=True)
    slurm.quiet(120)


PARTS = {
    f.__name__: f
    for f in (
        grid,
        requeue,
        warned,
        time_limit,
        limit_reached,
        preempted,
        cancelled,
        killed,
        node_down,
        controller_down,
        sweep_killed,
    )
}


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--app", choices=APPS, default="toy")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # no cluster is left behind
    cluster = module(ROOT / "tests" / "sweep" / "slurm_cluster.py").SlurmCluster()
    try:
        cluster.begin()
        os.environ.update(cluster.environment)
        for name in options.only:
            PARTS[name](APPS[options.app], cluster)
    finally:
        cluster.destroy()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
