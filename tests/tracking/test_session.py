"""What a run tells W&B where there is no key, how it ends there, and what it never tells."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import Callback

from tinyrm.config import check, compose
from tinyrm.errors import ConfigError
from tinyrm.evaluation.metrics import wilson
from tinyrm.experiment import run
from tinyrm.sweep import TrialPruned

ROOT = Path(__file__).resolve().parents[2]
Reader = Callable[[Path], list[Any]]
KEY = "k" * 24 + "0123456789abcdef"
PASSWORD = "hunter2-and-more"
pytestmark = pytest.mark.usefixtures("no_key")


def test_a_run_is_offline_without_a_key_and_says_so_once(
    small: list[str], tmp_path: Path, told: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "tinyrm.tracking"):
        first = run(compose([*small, "tracking.model=true", "tracking.tags=[a,b]"]), tmp_path / "run")
        run(compose([*small, "seed=1"]), tmp_path / "other")
    said = [r.message for r in caplog.records if "W&B" in r.message]
    assert len(said) == 1
    assert "there is no key" in said[0]
    (wrote,) = told(tmp_path / "run")
    assert wrote.file.parent.name.startswith("offline-run-")
    assert (wrote.run.job_type, list(wrote.run.tags), wrote.exit_code) == ("train", ["a", "b"], 0)
    assert wrote.config["adapter"]["rank"] == 16
    assert wrote.config["config_hash"] == first.record["config_hash"]
    for section, measures in first.evaluation.sections.items():
        kept = [wrote.summary[f"test/{section}/{name}"] for name in ("accuracy", "low", "high", "n")]
        accuracy = measures.accuracy
        assert kept == [accuracy.value, accuracy.low, accuracy.high, accuracy.n]
        assert wrote.summary[f"test/{section}/longer_wins"] == measures.longer_wins.value
        assert wrote.summary[f"test/{section}/order_consistent"] == measures.order_consistent.value
    assert wrote.summary["test/overall/accuracy"] == first.evaluation.overall.accuracy.value
    low = wilson(12 * first.dev_accuracy, 12).low
    assert (wrote.summary["dev/accuracy"], wrote.summary["dev/low"]) == (first.dev_accuracy, pytest.approx(low))
    assert wrote.summary["parameters/trained"] == first.record["parameters"]["trained"]
    assert wrote.summary["pairs_per_second"] == first.record["throughput"]["pairs_per_second"]
    assert wrote.summary["seconds/train"] == first.record["seconds"]["train"]
    losses = [row["train/loss"] for row in wrote.history if "train/loss" in row]
    assert len(losses) == len({row["trainer/global_step"] for row in wrote.history if "train/loss" in row}) > 1
    (artifact,) = wrote.artifacts
    assert (artifact.type, len(artifact.manifest.contents) > 1) == ("model", True)
    assert (tmp_path / "run" / "curves" / "0" / "metrics.csv").is_file()


class Ends(Callback):
    """Ends training at its first step."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_train_batch_end(self, *args: Any) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "state", "exit_code"),
    [
        (TrialPruned("pruned at step 1 with 0.5"), "pruned", 0),
        (RuntimeError(f"no answer from postgresql://me:{PASSWORD}@host/db"), "failed", 1),
    ],
)
def test_how_a_run_ended_and_why_stands_beside_its_name(
    small: list[str], tmp_path: Path, told: Reader, error: Exception, state: str, exit_code: int
) -> None:
    with pytest.raises(type(error)):
        run(compose(small), tmp_path, callbacks=[Ends(error)])
    (wrote,) = told(tmp_path)
    assert (wrote.summary["state"], wrote.exit_code) == (state, exit_code)
    assert wrote.summary["reason"] == str(error).replace(PASSWORD, "***")
    assert "test/overall/accuracy" not in wrote.summary


def test_every_attempt_of_a_run_has_its_id(small: list[str], tmp_path: Path, told: Reader) -> None:
    with pytest.raises(RuntimeError):
        run(compose(small), tmp_path, callbacks=[Ends(RuntimeError("first"))])
    run(compose(small), tmp_path)
    first, second = told(tmp_path)
    assert first.run.run_id == second.run.run_id
    assert (first.exit_code, second.exit_code) == (1, 0)


def test_trials_are_grouped_and_numbered_and_nothing_secret_is_kept(
    small: list[str], tmp_path: Path, told: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real sweep with an offline W&B, a key in the environment, passwords where people put them and in an error."""
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("".join(f'{{"prompt": "Say {i}", "chosen": "{i}.", "rejected": "no"}}\n' for i in range(60)))
    notes = f"https://me:{PASSWORD}@host/notes"
    planted = {"WANDB_MODE": "offline", "WANDB_API_KEY": KEY, "SERVICE_PASSWORD": PASSWORD, "NOTES": notes}
    for name, value in planted.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "run.py"), "-m", "sweep.name=ranks", "adapter.rank=2,4", *small),
            *("data=jsonl", f"data.path={pairs}", "hydra/launcher=basic", "tracking.model=true"),
            *("tracking.tags=['${oc.env:NOTES}']", "+hydra.job.env_set.COPY_PASSWORD=${oc.env:SERVICE_PASSWORD}"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    trials = [told(tmp_path / "multirun" / "ranks" / str(number))[0] for number in (0, 1)]
    assert [t.run.run_group for t in trials] == ["ranks", "ranks"]
    assert [t.run.display_name for t in trials] == ["ranks-0", "ranks-1"]
    assert [(t.config["sweep"], t.config["trial"], t.config["attempt"]) for t in trials] == [
        ("ranks", n, 1) for n in (0, 1)
    ]
    assert [t.config["adapter"]["rank"] for t in trials] == [2, 4]
    assert trials[0].run.run_id != trials[1].run.run_id
    assert [t.artifacts[0].name for t in trials] == ["ranks-model", "ranks-model"]
    written = [f for f in (tmp_path / "multirun").rglob("wandb/**/*") if f.is_file()]
    assert len(written) > 4
    everything = [f for f in tmp_path.rglob("*") if f.is_file()]  # the study's database and the report among them
    assert {"sweeps.db", "report.html", "hydra.yaml", "multirun.yaml"} <= {f.name for f in everything}
    for secret in (KEY.encode(), PASSWORD.encode()):
        assert [f for f in everything if secret in f.read_bytes()] == []
        assert secret.decode() not in done.stdout + done.stderr


def test_nothing_touches_the_network_without_a_key(small: list[str], tmp_path: Path, listener: Any) -> None:
    """W&B's address and every proxy lead to a server of the test."""
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), listener.url)
    environment = {**os.environ, **proxies, "WANDB_BASE_URL": listener.url, "NO_PROXY": "", "no_proxy": ""}
    command = [sys.executable, str(ROOT / "run.py"), *small, f"hydra.run.dir={tmp_path}/run"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert listener.connections == 0


def test_a_missing_model_is_refused_beforehand(small: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"tracking\.model=true has nothing to keep"):
        check(compose([*small, "tracking.model=true", "trainer.save_model=none"]))


def test_with_wandb_disabled_nothing_is_left(small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run(compose(small), tmp_path)
    assert not (tmp_path / "wandb").exists()
    assert (tmp_path / "curves" / "0" / "metrics.csv").is_file()
