"""TinyRM's own training on a real Slurm: a grid, a trial on several devices, and on several nodes, interrupted and not.

One process alone, and what else a cluster does to it: `python tests/bench/slurm_faults.py --app tinyrm`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tinyrm.sweep.outcome import TrialRecord
from tinyrm.sweep.storage import open_storage
from tinyrm.sweep.study import Study

ROOT = Path(__file__).resolve().parents[2]
# Two processes, 30 steps each.
TRIAL = [
    *("model=tiny", "adapter.rank=2", "freeze=1", "data.synthetic.train_pairs=60", "data.synthetic.dev_pairs=12"),
    *("data.synthetic.test_pairs=12", "prompt.max_tokens=96", "trainer.batch_pairs=1", "trainer.checkpoint_steps=5"),
    *("trainer.threads=1", "tracking=none", "hydra/launcher=slurm", "hydra.launcher.poll_s=0.5", "sweep.heartbeat_s=1"),
]
# The nodes of the tests' Slurm are names of this machine, which no name server knows.
HERE = "hydra.launcher.setup=['export MASTER_ADDR=127.0.0.1']"
# Nine short trainings.
GRID = [
    *("sweep.name=grid", "adapter.rank=2,4,8", "freeze=0,2,4", "model=tiny", "data.synthetic.train_pairs=12"),
    *("data.synthetic.dev_pairs=6", "data.synthetic.test_pairs=6", "prompt.max_tokens=96", "trainer.batch_pairs=4"),
    *("trainer.threads=1", "tracking=none"),
]
# In each job's shell: write down what this job was given, then wait until all four have, so that they begin together.
TOGETHER = """\
mkdir -p {folder}
echo "$SLURMD_NODENAME $CUDA_VISIBLE_DEVICES" > {folder}/.$SLURM_ARRAY_TASK_ID
mv {folder}/.$SLURM_ARRAY_TASK_ID {folder}/${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
until [ "$(ls {folder} | wc -l)" -ge 4 ]; do sleep 0.1; done
"""


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start a sweep of one trial."""
    return begin(folder, *TRIAL, "sweep.workers=1", *options)


def begin(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start a sweep."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run.py"), "-m", f"sweep.dir={folder}", *options],
        cwd=folder.parent,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for its end."""
    try:
        output, _ = process.communicate(timeout=900)
    finally:
        process.kill()
    assert process.returncode == 0, output


def results(trial: Path) -> list[bytes]:
    """What must not depend on where and how often a trial ran."""
    return [(trial / name).read_bytes() for name in ("checkpoints/best.safetensors", "predictions.parquet")]


def records(folder: Path, name: str) -> list[TrialRecord]:
    """The trials of a sweep in this folder, which is on a journal."""
    return Study(open_storage(f"journal:///{folder}/sweeps.journal", create=False), name, 10).records()


def point(trial: Path) -> tuple[int, int]:
    """Of the grid."""
    config = json.loads((trial / "run.json").read_text())["config"]
    return config["adapter"]["rank"], config["freeze"]


def test_a_grid_of_four_workers_on_two_nodes_comes_to_what_one_process_does(slurm: Any, tmp_path: Path) -> None:
    alone, cluster = begin(tmp_path / "alone", *GRID, "sweep.workers=1"), tmp_path / "cluster"
    (tmp_path / "together.sh").write_text(TOGETHER.format(folder=tmp_path / "given"), encoding="utf-8")
    setup = f"hydra.launcher.setup=['. {tmp_path}/together.sh']"
    options = ["hydra/launcher=slurm", "hydra.launcher.poll_s=0.5", "hydra.launcher.cpus_per_task=4", setup]
    try:
        finish(begin(cluster, *GRID, "sweep.workers=4", *options))
        finish(alone)
    finally:
        alone.kill()

    given = {path.name: path.read_text().split() for path in (tmp_path / "given").iterdir()}
    assert sorted(node for node, _ in given.values()) == ["node1", "node1", "node2", "node2"]
    assert len({(node, device) for node, device in given.values()}) == 4  # on a node each job sees another GPU
    trials = records(cluster, "grid")
    seen = {(r.worker.partition("@")[0], r.devices) for r in trials}
    assert seen == {(job, device) for job, (_, device) in given.items()}  # all four had trials
    assert [(r.number, r.state, r.attempt) for r in trials] == [(number, "complete", 1) for number in range(9)]

    assert len({results(cluster / "grid" / str(r.number))[0] for r in trials}) == 9  # else equal means nothing
    twins = {point(trial): trial for trial in (tmp_path / "alone" / "grid").glob("[0-9]")}
    for here in (cluster / "grid").glob("[0-9]"):  # which number a point gets depends on which worker comes to it
        there = twins.pop(point(here))
        assert json.loads((here / "metrics.json").read_text()) == json.loads((there / "metrics.json").read_text())
        assert results(here) == results(there)
    assert not twins


@pytest.fixture(scope="module")
def on_one_machine(slurm_session: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trial that trained on two devices of one node, undisturbed."""
    folder = tmp_path_factory.mktemp("one")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in slurm_session.environment.items():
            patch.setenv(name, value)
        finish(start(folder / "multirun", "sweep.name=s", "sweep.devices_per_trial=2"))
    return folder / "multirun" / "s" / "0"


def test_two_devices_of_a_node_train_one_trial(on_one_machine: Path) -> None:
    record = json.loads((on_one_machine / "run.json").read_text())
    assert (record["config"]["trainer"]["nodes"], record["config"]["trainer"]["devices"]) == (1, 2)
    assert record["state"] == "complete" and not record["training"]["resumed"]
    (trial,) = records(on_one_machine.parents[1], "s")
    assert len(set(trial.devices.split(","))) == 2  # as Slurm has given them


def test_two_nodes_interrupted_come_to_the_same(slurm: Any, tmp_path: Path, on_one_machine: Path) -> None:
    process = start(tmp_path / "multirun", "sweep.name=s", "sweep.nodes_per_trial=2", HERE)
    trial = tmp_path / "multirun" / "s" / "0"
    until = time.monotonic() + 200
    while not (trial / "checkpoints" / "last.ckpt").exists():
        assert time.monotonic() < until and process.poll() is None, "no checkpoint"
        time.sleep(0.02)
    ((job, (_, nodes)),) = slurm.jobs("--state=RUNNING").items()
    assert nodes == "node[1-2]"
    slurm.do("scancel", "--signal=USR2", job)
    finish(process)
    record = json.loads((trial / "run.json").read_text())
    assert record["state"] == "complete" and record["training"]["resumed"]
    assert (record["config"]["trainer"]["nodes"], record["config"]["trainer"]["devices"]) == (2, 1)
    assert "Restarts=1" in slurm.ask("scontrol", "show", "job", job)
    assert (trial / "ranks" / "1" / "run.log").is_file()
    assert results(trial) == results(on_one_machine)
