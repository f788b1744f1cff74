"""What a sweep loses when a cluster does what clusters do; on a real Slurm of two nodes, started here.

    python tests/bench/slurm_faults.py                     # all of it, some 8 minutes
    python tests/bench/slurm_faults.py --only grid requeue

`grid` runs 3 x 3 trials of model=tiny under hydra/launcher=slurm (4 workers on 2 nodes) and under `local`, and compares
every metric. The others disturb two workers that run 6 trials of 100 steps, a checkpoint after each: no trial may be
lost or end twice, and what was computed twice is counted in steps.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = "hydra.sweeper.settings"
STEPS, TRIALS = 100, 6


def module(path: Path) -> Any:
    """A file of the tests, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = found
    spec.loader.exec_module(found)
    return found


def until(true: Callable[[], Any], what: str, timeout: float = 240) -> Any:
    """Wait until it is true."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        try:
            found = true()
        except Exception:
            found = None
        if found:
            return found
        time.sleep(0.2)
    raise SystemExit(f"{what}: not within {timeout} s")


class Rig:
    """The toy app of the tests, in a folder of its own, under a Slurm that can be disturbed."""

    def __init__(self, slurm: Any, *options: str) -> None:
        self.slurm = slurm
        self.toy = module(ROOT / "tests" / "sweep" / "conftest.py").Toy(
            Path(tempfile.mkdtemp(prefix="faults-")) / "app"
        )
        self.began = time.monotonic()
        given = ["hydra/launcher=slurm", f"{SETTINGS}.name=s", f"{SETTINGS}.workers=2", f"{SETTINGS}.lease_s=10"]
        given += [f"{SETTINGS}.heartbeat_s=1", "hydra.launcher.poll_s=1", "hydra.launcher.cpus_per_task=5", *options]
        if not any("timeout_min" in option for option in options):
            given.append("hydra.launcher.timeout_min=60")
        self.process = self.toy.start(*given, "x=1,2,3", "y=0,1", f"seconds={STEPS * 0.05}", "hold=null")
        until(
            lambda: len(self.running()) == 2 and all(done > 20 for done in self.running().values()),
            "two trials at work",
        )

    def records(self) -> Any:
        """The trials so far."""
        from tinyrm.sweep.storage import open_storage
        from tinyrm.sweep.study import Study

        return Study(
            open_storage(f"journal:///{self.toy.folder}/multirun/sweeps.journal", create=False), "s", 10
        ).records()

    def running(self) -> dict[str, int]:
        """Job -> steps done, of trials that run."""
        found = {}
        for record in self.records():
            if record.state == "running":
                found[record.worker.partition("@")[0]] = int((record.folder / "checkpoint").read_text().split()[0])
        return found

    def finish(self, name: str) -> None:
        """Wait for the end of the sweep, and say what it cost."""
        output, _ = self.process.communicate(timeout=300)
        killed = self.process.returncode == -signal.SIGKILL
        if killed:
            until(lambda: len(self.records()) == TRIALS and all(r.finished for r in self.records()), "the end")
        elif self.process.returncode:
            raise SystemExit(output)
        records = self.records()
        starts = [line.split() for line in self.toy.notes.read_text().splitlines() if line.startswith("begin")]
        worked = sum(int(r.info["steps"]) for r in records)
        print(
            json.dumps(
                {
                    "fault": name,
                    "complete": f"{sum(r.state == 'complete' for r in records)}/{TRIALS}",
                    "ended_twice": sum(n > 1 for n in self.toy.noted("end").values()),
                    "work_exact": [r.info["work"] for r in records] == [x * STEPS for x in (1, 1, 2, 2, 3, 3)],
                    "attempts_beyond_first": len(starts) - TRIALS,
                    "went_on_from_step": sorted(int(s[2]) for s in starts if int(s[2])),
                    "restarted_from_0": sum(n - 1 for n in Counter(s[1] for s in starts if s[2] == "0").values()),
                    "steps": worked,
                    "seconds": round(time.monotonic() - self.began, 1),
                    "jobs": sorted(state for state, _ in self.slurm.jobs().values()),
                }
            ),
            flush=True,
        )
        self.slurm.quiet(120)


def requeue(slurm: Any) -> None:
    """`scontrol requeue` in mid-trial: SIGTERM, then the job waits and runs again."""
    rig = Rig(slurm)
    slurm.do("scontrol", "requeue", next(iter(rig.running())))
    rig.finish("scontrol requeue")


def warned(slurm: Any) -> None:
    """The signal of a time limit or a preemption."""
    rig = Rig(slurm)
    slurm.do("scancel", "--signal=USR2", next(iter(rig.running())))
    rig.finish("warning signal")


def time_limit(slurm: Any) -> None:
    """A real time limit of one minute, warned 50 seconds before."""
    rig = Rig(slurm, "hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=50")
    rig.finish("time limit")


def preempted(slurm: Any) -> None:
    """A job of a higher partition takes both nodes for some seconds."""
    rig = Rig(slurm)
    slurm.do("sbatch", "-p", "high", "-N2", "--exclusive", "-t", "1", "-o", "/dev/null", "--wrap", "sleep 5")
    rig.finish("preemption")


def cancelled(slurm: Any) -> None:
    """One of two workers is cancelled."""
    rig = Rig(slurm)
    slurm.do("scancel", next(iter(rig.running())))
    rig.finish("scancel of one worker")


def killed(slurm: Any) -> None:
    """One worker's process is killed outright: nothing is written, nothing released."""
    rig = Rig(slurm)
    record = next(r for r in rig.records() if r.state == "running")
    os.kill(int(record.worker.split(":")[1]), signal.SIGKILL)
    rig.finish("kill -9 of one worker")


def node_down(slurm: Any) -> None:
    """A node is taken for lost."""
    rig = Rig(slurm)
    node = slurm.jobs()[next(iter(rig.running()))][1]
    slurm.do("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    rig.finish("node down")


def controller_down(slurm: Any) -> None:
    """slurmctld is away for 30 s."""
    rig = Rig(slurm)
    slurm.stop_controller()
    time.sleep(30)
    slurm.start_controller()
    rig.finish("slurmctld away 30 s")


def sweep_killed(slurm: Any) -> None:
    """The process that submitted is killed."""
    rig = Rig(slurm)
    os.killpg(rig.process.pid, signal.SIGKILL)
    rig.finish("the sweep's own process killed")


def grid(slurm: Any) -> None:
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
    for f in (grid, requeue, warned, time_limit, preempted, cancelled, killed, node_down, controller_down, sweep_killed)
}


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    cluster = module(ROOT / "tests" / "sweep" / "slurm_cluster.py").SlurmCluster()
    try:
        cluster.begin()
        os.environ.update(cluster.environment)
        for name in options.only:
            PARTS[name](cluster)
    finally:
        cluster.destroy()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
