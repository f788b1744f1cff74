"""Every YAML in sweeps/ says which question it answers, and runs: one trial, a few steps, on the smallest model."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))
SMALL = [
    "data.synthetic.train_pairs=36",
    "data.synthetic.dev_pairs=6",
    "data.synthetic.test_pairs=6",
    "trainer.batch_pairs=1",
    "prompt.max_tokens=160",
    "hydra/launcher=basic",
    "sweep.n_trials=1",
]


def test_they_are_the_named_ones() -> None:
    assert {p.stem for p in SWEEPS} == {
        "adapters",
        "backbones",
        "demo",
        "dora_rank",
        "freeze",
        "hyperband",
        "multi_objective",
        "paper",
        "prompts",
        "tpe",
    }


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_it_says_its_question(path: Path) -> None:
    first, second = path.read_text(encoding="utf-8").splitlines()[:2]
    assert first == "# @package _global_"
    assert second.startswith("# ")


@pytest.mark.parametrize("name", sorted(p.stem for p in (ROOT / "sweeps" / "slurm").glob("*.yaml")))
def test_each_for_a_cluster_prints_its_job_script_anywhere(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "run.py", "-m", "model=tiny", "adapter.rank=4,8", *SMALL[:5], "hydra/launcher=slurm"]
    command += [f"+sweeps/slurm={name}", f"sweep.dir={tmp_path}", "sweep.dry_run=true", f"data.cache_dir={tmp_path}"]
    environment = {**os.environ, "PATH": str(Path(sys.executable).parent)}  # no Slurm needed
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "#SBATCH --array=0-1%2\n" in done.stdout and "#SBATCH --partition=" in done.stdout
    assert f"#SBATCH --gpus-per-node={2 if name == 'node8' else 1}\n" in done.stdout


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    own_model = "model=" in path.read_text(encoding="utf-8")
    small = SMALL if own_model else ["model=tiny", "model.shape.num_hidden_layers=14", *SMALL]  # as deep as nano
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "-m", f"+sweeps={path.stem}", *small],
        cwd=tmp_path,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "multirun" / path.stem / "trials.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    assert [row["state"] for row in rows] == ["complete"]
    assert 0 <= float(rows[0]["metrics.dev_accuracy"]) <= 1
