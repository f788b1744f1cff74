"""An experiment as a trial: what a sweep is told, what counts as the same, and what its pruner sees."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from tinyrm import trial
from tinyrm.config import TinyRMConfig, compose
from tinyrm.errors import ConfigError
from tinyrm.experiment import ExperimentResult, run
from tinyrm.sweep.storage import open_storage
from tinyrm.sweep.study import Study
from tinyrm.trial import TinyRMApp, result_of

ROOT = Path(__file__).resolve().parents[1]
SMALL = [
    "model=tiny",
    "data.synthetic.train_pairs=24",
    "data.synthetic.dev_pairs=12",
    "data.synthetic.test_pairs=9",
    "prompt.max_tokens=96",
    "trainer.threads=1",
]


def composed(*overrides: str, pack: int = 1) -> DictConfig:
    config = OmegaConf.structured(compose([*SMALL, *overrides]))
    OmegaConf.set_struct(config, False)
    config.sweep = {"devices_per_trial": 1, "nodes_per_trial": 1, "pack": pack}
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    folder = tmp_path_factory.mktemp("trial")
    return run(compose([*SMALL, f"data.cache_dir={folder}/cache"]), folder / "run")


def test_metrics_come_from_dev_and_the_test_is_only_reported(finished: ExperimentResult) -> None:
    result = result_of(finished, compose(SMALL))
    assert result.values["dev_accuracy"] == finished.dev_accuracy
    assert result.values["trained_parameters"] == finished.record["parameters"]["trained"]
    low, high = result.intervals["dev_accuracy"]
    assert low < finished.dev_accuracy < high
    assert result.info["dev_pairs"] == 12
    assert result.info["test_accuracy"] == finished.evaluation.overall.accuracy.value
    assert not any(name.startswith("test") for name in result.values)


def test_configs_that_compute_the_same_mean_the_same() -> None:
    app = TinyRMApp()
    same = ["trainer.progress=off", "trainer.save_model=none", "tracking=none"]
    assert app.meaning(composed()) == app.meaning(composed(*same))
    changed = app.meaning(composed("adapter.rank=4"))
    before = app.meaning(composed())
    assert {k for k in changed if changed[k] != before[k]} == {"adapter.rank"}


def test_an_impossible_config_is_refused() -> None:
    with pytest.raises(ConfigError, match="freeze=9 is more than the"):
        TinyRMApp().check(composed("freeze=9"))
    with pytest.raises(ConfigError, match=r"sweep\.pack=2: trials that run together train in one process each"):
        TinyRMApp().check(composed("trainer.devices=2", "trainer.accelerator=cpu", pack=2))


def test_comments_and_docstrings_are_not_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "tinyrm"
    (package / "model").mkdir(parents=True)
    module = package / "model" / "net.py"
    monkeypatch.setattr(trial, "__file__", str(package / "trial.py"))
    for name in ("experiment.py", "pretraining.py", "reuse.py", "warmup.py"):
        (package / name).write_text("")

    def hashed(text: str) -> str:
        module.write_text(text)
        trial._code.cache_clear()
        try:
            return TinyRMApp().identity()["tinyrm.model.net"]
        finally:
            trial._code.cache_clear()

    first = hashed('"""What it is."""\ndef f(x):\n    """Doc."""\n    return x\n')
    assert hashed("def f(x):  # as before\n    return x\n") == first
    assert hashed("def f(x):\n    return x + 1\n") != first


def test_the_code_that_decides_results_is_all_there() -> None:
    modules = set(TinyRMApp().identity())
    assert {"tinyrm.model.net", "tinyrm.training.module", "tinyrm.experiment", "tinyrm.data.load"} <= modules
    assert not any(m.startswith(("tinyrm.sweep", "tinyrm.report", "tinyrm.cli")) for m in modules)
    assert {"tinyrm.warmup", "tinyrm.pretraining"} <= modules
    assert "tinyrm.evaluation.scoring" in modules and "tinyrm.evaluation.effects" not in modules  # reads results only
    assert not modules & {f"tinyrm.evaluation.{name}" for name in ("bag", "calibration", "probes")}


class Line:
    """A Progress that keeps what it is told."""

    metric = "dev_accuracy"
    asked_to_stop = False

    def __init__(self) -> None:
        self.reports: list[tuple[float, int, list[float]]] = []
        self.fractions: list[float] = []

    def advance(self, fraction: float | None = None) -> None:
        self.fractions += [] if fraction is None else [fraction]

    def report(self, value: float, step: int, samples: list[float]) -> None:
        self.reports.append((value, step, samples))


def trained(config: TinyRMConfig, folder: Path) -> Line:
    line: Any = Line()
    run(config, folder, callbacks=[trial.ReportProgress(line)])
    return line


def test_the_pruner_sees_every_dev_pair_in_the_order_of_the_split(tmp_path: Path) -> None:
    base = [*SMALL, f"data.cache_dir={tmp_path}/cache", "trainer.evaluations_per_epoch=2", "trainer.batch_pairs=4"]
    base.append("trainer.precision=32")
    one = trained(compose(base), tmp_path / "one")
    assert [step for _, step, _ in one.reports] == [1, 2]
    assert one.fractions == sorted(one.fractions)
    assert one.fractions[-1] == 1
    small_batches = trained(compose([*base, "trainer.batch_tokens=192", "optimizer.lr=1e-9"]), tmp_path / "two")
    whole_batches = trained(compose([*base, "optimizer.lr=1e-9"]), tmp_path / "three")
    for (value, _, a), (_, _, b) in zip(small_batches.reports, whole_batches.reports, strict=True):
        assert len(a) == 12
        assert a == pytest.approx(b, abs=1e-5)
        assert sum(x > -math.log(2) for x in a) / 12 == pytest.approx(value, abs=1e-6)


def test_a_trial_that_does_worse_than_the_first_is_pruned(tmp_path: Path) -> None:
    """A learning rate of 1 takes MiniLM to log 2 at once, one of 1e-9 leaves it at 0.717: pruned at its first look."""
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "run.py"), "-m", *SMALL, "hydra/launcher=basic", "sweep.name=s"),
            *("trainer.evaluations_per_epoch=2", "trainer.batch_pairs=4", "optimizer.lr=1.0,1e-9", "model=minilm"),
            *("sweep.pruner=median", "sweep.pruner_options={n_startup_trials: 1}"),
            "sweep.metrics={dev_loss: minimize}",
        ],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    study = Study(open_storage(f"sqlite:///{tmp_path}/multirun/sweeps.db", create=False), "s", 10)
    assert [r.state for r in study.records()] == ["complete", "pruned"]
    assert [list(t.intermediate_values) for t in study.trials()] == [[1, 2], [1]]
    assert '"state": "pruned"' in (tmp_path / "multirun" / "s" / "1" / "run.json").read_text()
