"""Trials that train together: each comes, bit for bit, to what it comes to alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tinyrm import reuse
from tinyrm.config import compose, config_meaning
from tinyrm.errors import Interrupted
from tinyrm.experiment import run
from tinyrm.runs import read_record
from tinyrm.trial import ReportProgress, TinyRMApp, prepared

ROOT = Path(__file__).resolve().parents[1]
SMALL = [
    "model=tiny",
    "model.shape.num_hidden_layers=3",
    "freeze=2",
    "+model.shape.initializer_range=0.3",
    "model.dropout=0.1",
    "adapter.dropout=0.1",
    "optimizer.lr=1e-2",
    "prompt.max_tokens=96",
    "data.synthetic.train_pairs=24",
    "data.synthetic.dev_pairs=9",
    "data.synthetic.test_pairs=12",
    "trainer.batch_tokens=1024",
    "trainer.evaluations_per_epoch=2",
    "trainer.threads=1",
    "trainer.accelerator=cpu",
    "trainer.precision=32",
]
GRID = [["adapter.rank=2", "seed=0"], ["adapter.rank=2", "seed=1"], ["adapter.rank=4", "seed=0"]]


def test_weights_and_predictions_are_those_of_each_trial_alone(tmp_path: Path) -> None:
    common = [*SMALL, "speed.prefix=off", f"data.cache_dir={tmp_path}/cache"]
    arms = "[" + ",".join("[" + ",".join(f"'{o}'" for o in arm) + "]" for arm in GRID) + "]"
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "run.py"), "-m", *common, "hydra/launcher=basic", "sweep.name=s"),
            *("sweep.pack=3", f"sweep.arms={arms}"),
        ],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Trials 0, 1, 2 run together" in done.stderr + done.stdout
    reuse.clear()
    for number, arm in enumerate(GRID):
        alone = run(prepared(compose([*common, *arm])), tmp_path / "alone" / str(number), siblings=True)
        packed = tmp_path / "multirun" / "s" / str(number)
        for file in ("checkpoints/best.safetensors", "predictions.parquet", "metrics.json"):
            assert (packed / file).read_bytes() == (alone.folder / file).read_bytes(), (arm, file)
        record = read_record(packed)
        assert record is not None and record["dev"] == alone.record["dev"]


def test_what_may_be_packed_and_what_is_shared_are_keys_of_the_config() -> None:
    config = OmegaConf.structured(compose(SMALL))
    missing = object()
    for key in (*TinyRMApp.packable, *TinyRMApp.affinity):
        assert OmegaConf.select(config, key, default=missing) is not missing, key
    assert set(TinyRMApp.packable) <= set(config_meaning(compose(SMALL)))


class Line:
    """A Progress that asks its trial to stop after the first batch."""

    metric = "dev_accuracy"
    asked_to_stop = False

    def advance(self, fraction: float | None = None) -> None:
        self.asked_to_stop = True

    def report(self, value: float, step: int, samples: list[float]) -> None:
        """Nothing to prune by."""


def test_a_trial_that_is_asked_to_stop_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    config, line = compose([*SMALL, f"data.cache_dir={tmp_path}/cache"]), Line()
    whole = run(config, tmp_path / "whole")
    with pytest.raises(Interrupted, match="stopped by the sweep after optimizer step"):
        run(config, tmp_path / "cut", callbacks=[ReportProgress(line)])  # type: ignore[arg-type]
    again = run(config, tmp_path / "cut")
    assert again.record["training"]["resumed"]
    for file in ("checkpoints/best.safetensors", "predictions.parquet"):
        assert (again.folder / file).read_bytes() == (whole.folder / file).read_bytes()
