"""Training runs through the public door: reproducible, resumable, stoppable."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file

from tinyrm.config import TinyRMConfig, compose
from tinyrm.errors import ConfigError, Interrupted, NonFiniteLossError, StorageError
from tinyrm.evaluation.predictions import DEV_PREDICTIONS, read_predictions
from tinyrm.experiment import run
from tinyrm.runs import read_record
from tinyrm.training import BEST, LAST, History

SMALL = [
    "model=tiny",
    "model.shape.num_hidden_layers=2",
    "freeze=1",
    "model.dropout=0.1",
    "tracking=none",
    "data.synthetic.train_pairs=48",
    "data.synthetic.dev_pairs=12",
    "data.synthetic.test_pairs=12",
    "trainer.batch_tokens=600",
    "trainer.epochs=2",
    "trainer.evaluations_per_epoch=2",
    "trainer.accumulate=2",
    "trainer.checkpoint_steps=2",
    "trainer.accelerator=cpu",
]


def small(*more: str) -> TinyRMConfig:
    return compose([*SMALL, *more])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "merged" / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class At(Callback):
    """Does something after one batch."""

    def __init__(self, batch: int, action: Any) -> None:
        self.batch, self.action = batch, action

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == self.batch:
            self.action()


def die() -> None:
    raise RuntimeError("the power went out")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    run(small(f"data.cache_dir={folder}/cache"), folder / "run")
    return folder / "run"


def test_the_same_seed_gives_the_same_weights_and_another_does_not(tmp_path: Path, undisturbed: Path) -> None:
    run(small(), tmp_path / "again")
    run(small("seed=1"), tmp_path / "other")
    assert same(weights(tmp_path / "again"), weights(undisturbed))
    assert not same(weights(tmp_path / "other"), weights(undisturbed))


@pytest.mark.parametrize("batch", [0, 3, 5, 11, 12, 23])  # of 24; dev after every sixth
def test_a_crash_at_any_batch_then_resuming_ends_as_if_nothing_had_happened(
    tmp_path: Path, undisturbed: Path, batch: int
) -> None:
    with pytest.raises(RuntimeError, match="power"):
        run(small(), tmp_path, callbacks=[At(batch, die)])
    assert read_record(tmp_path)["state"] == "failed"  # type: ignore[index]
    run(small(), tmp_path)
    assert same(weights(tmp_path), weights(undisturbed))
    # Not only the best weights: the last step's, its optimizer's, and every evaluation on the way.
    last, expected = (torch.load(d / "checkpoints" / LAST, weights_only=True) for d in (tmp_path, undisturbed))
    assert same(last["state_dict"], expected["state_dict"])
    for moment, moment_expected in zip(
        last["optimizer_states"][0]["state"].values(), expected["optimizer_states"][0]["state"].values(), strict=True
    ):
        assert torch.equal(moment["exp_avg_sq"], moment_expected["exp_avg_sq"])
    ours, theirs = (History.read(d / "checkpoints") for d in (tmp_path, undisturbed))
    assert ours.evaluations == theirs.evaluations
    assert (ours.pairs, ours.tokens) == (theirs.pairs, theirs.tokens)
    assert (tmp_path / DEV_PREDICTIONS).read_bytes() == (undisturbed / DEV_PREDICTIONS).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_keeps_a_checkpoint_and_resuming_ends_the_same(
    tmp_path: Path, undisturbed: Path, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=number.name) as stopped:
        run(small(), tmp_path, callbacks=[At(2, lambda: os.kill(os.getpid(), number))])
    assert signal.getsignal(number) is before, "the handlers are put back"
    assert stopped.value.exit_code == 130
    assert read_record(tmp_path)["state"] == "interrupted"  # type: ignore[index]
    assert (tmp_path / "checkpoints" / LAST).is_file()
    result = run(small(), tmp_path)
    assert result.record["training"]["resumed"]
    assert same(weights(tmp_path), weights(undisturbed))


def test_a_loss_that_is_not_finite_ends_the_run_with_its_own_end(tmp_path: Path) -> None:
    config = small("optimizer.lr=1e20", "optimizer.warmup_fraction=0", "optimizer.clip_norm=0")
    with pytest.raises(NonFiniteLossError, match=r"loss became (nan|inf) in step \d+.*optimizer\.lr"):
        run(config, tmp_path)
    assert read_record(tmp_path)["state"] == "nonfinite"  # type: ignore[index]
    assert History.read(tmp_path / "checkpoints").end == "nonfinite"


def test_early_stopping_keeps_the_best(tmp_path: Path) -> None:
    result = run(small("optimizer.lr=1e-12", "trainer.patience=1", "trainer.epochs=4"), tmp_path)
    history = History.read(tmp_path / "checkpoints")
    assert history.end == "stopped_early"
    assert len(history.evaluations) == 2, "the second was no better than the first"
    assert history.best_step == history.evaluations[0]["step"]
    assert result.dev_accuracy == history.evaluations[0]["accuracy"]


def test_a_run_that_stopped_early_does_not_train_on_when_resumed(tmp_path: Path) -> None:
    config = small("optimizer.lr=1e-12", "trainer.patience=1", "trainer.epochs=4")
    run(config, tmp_path)
    before, kept = History.read(tmp_path / "checkpoints"), weights(tmp_path)
    run(config, tmp_path)
    after = History.read(tmp_path / "checkpoints")
    assert after.evaluations == before.evaluations
    assert after.end == "stopped_early"
    assert same(weights(tmp_path), kept)


def test_weights_that_diverge_between_two_losses_are_never_saved(tmp_path: Path) -> None:
    """The last step before an evaluation makes them infinite: no loss has seen it yet."""
    config = small("optimizer.lr=1e30", "optimizer.warmup_fraction=0", "optimizer.clip_norm=0", "trainer.accumulate=1")
    config.trainer.batch_pairs, config.trainer.evaluations_per_epoch, config.trainer.checkpoint_steps = 48, 1, 1
    config.adapter.kind, config.freeze = "full", 0
    with pytest.raises(NonFiniteLossError):
        run(config, tmp_path)
    assert read_record(tmp_path)["state"] == "nonfinite"  # type: ignore[index]
    for saved in (tmp_path / "checkpoints").glob("*.safetensors"):
        assert all(bool(torch.isfinite(v).all()) for v in load_file(saved).values())


def test_a_signal_during_the_last_evaluation_still_stops(tmp_path: Path, undisturbed: Path) -> None:
    last = History.read(undisturbed / "checkpoints").evaluations[-1]["step"]

    class OnLastEvaluation(Callback):
        def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.global_step == last:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        run(small(), tmp_path, callbacks=[OnLastEvaluation()])
    run(small(), tmp_path)
    assert same(weights(tmp_path), weights(undisturbed))


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="at once"):
        run(small("trainer.accumulate=4"), tmp_path, callbacks=[At(0, twice)])
    assert read_record(tmp_path)["state"] == "interrupted"  # type: ignore[index]


def test_data_that_changed_since_are_not_mixed_into_a_resumed_run(tmp_path: Path) -> None:
    def write(answer: str) -> None:
        rows = [{"prompt": f"q{i}", "chosen": f"{answer} {i}", "rejected": "no"} for i in range(60)]
        (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(row) for row in rows))

    config = small("data=jsonl", f"data.path={tmp_path}/pairs.jsonl")
    write("yes")
    with pytest.raises(RuntimeError, match="power"):
        run(config, tmp_path / "run", callbacks=[At(2, die)])
    write("maybe")
    with pytest.raises(ConfigError, match="data have changed"):
        run(config, tmp_path / "run")


def test_checkpoints_that_cannot_be_written_end_the_run_clearly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lightning as L

    def no_room(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(L.Trainer, "save_checkpoint", no_room)
    with pytest.raises(StorageError, match=r"last\.ckpt: no space left"):
        run(small(), tmp_path)
    assert not list((tmp_path / "checkpoints").glob("*.ckpt"))
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_two_processes_train_together_and_leave_one_model(tmp_path: Path) -> None:
    result = run(small("trainer.devices=2", "trainer.accumulate=1"), tmp_path)
    assert result.record["state"] == "complete"
    assert (tmp_path / "checkpoints" / BEST).is_file()
    history = History.read(tmp_path / "checkpoints")
    assert history.end == "complete"
    assert [e["epoch"] for e in history.evaluations] == [0.5, 1.0, 1.5, 2.0]
    # Each scored half of the dev pairs; what is kept has them all.
    assert history.best is not None
    dev = read_predictions(tmp_path / DEV_PREDICTIONS)
    assert len(dev) == 12
    assert (0.5 + 0.5 * np.sign(dev.log_odds)).mean() == pytest.approx(history.best["accuracy"])
    assert np.logaddexp(0, -dev.log_odds).mean() == pytest.approx(history.best["loss"], abs=1e-6)


@pytest.mark.parametrize(
    "settings", [("objective.orders=random",), ("objective.orders=both",), ("objective=bradley_terry",)]
)
def test_pairs_are_counted_once_whatever_the_rows(tmp_path: Path, settings: tuple[str, ...]) -> None:
    result = run(small(*settings), tmp_path)
    assert History.read(tmp_path / "checkpoints").pairs == 2 * 48
    assert result.record["padding"] <= 0.05


def test_devices_this_machine_lacks_are_refused_clearly(tmp_path: Path) -> None:
    many = ("trainer.accelerator=cuda", "trainer.devices=20", "trainer.accumulate=1", "trainer.evaluations_per_epoch=1")
    with pytest.raises(
        ConfigError, match=r"trainer\.accelerator=cuda trainer\.devices=20 cannot be had on this machine"
    ):
        run(small(*many), tmp_path)
