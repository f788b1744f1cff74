"""Every shortcut together, and the store of the frozen layers in a run: the results of the plain way."""

from __future__ import annotations

import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tinyrm.config import SpeedConfig, TinyRMConfig, compose
from tinyrm.errors import Interrupted
from tinyrm.evaluation.predictions import read_predictions
from tinyrm.experiment import ExperimentResult, run
from tinyrm.model import PrefixStore, RewardNet, build_net, find_backbone, load_weights
from tinyrm.model.rowstore import DATA
from tinyrm.training import FrozenStore
from tinyrm.training.frozen import FrozenReads

SMALL = [
    "model=tiny",
    "model.shape.num_hidden_layers=3",
    "freeze=2",
    "tracking=none",
    "data.synthetic.train_pairs=48",
    "data.synthetic.dev_pairs=12",
    "data.synthetic.test_pairs=12",
    "trainer.batch_tokens=1024",
    "trainer.epochs=2",
    "trainer.evaluations_per_epoch=2",
    "trainer.accelerator=cpu",
    "trainer.precision=32",
    # Weights that say something, and steps that do not blow up what is 0 but for rounding.
    "+model.shape.initializer_range=0.3",
    "optimizer.eps=1e-2",
    "optimizer.lr=1e-2",
]
MODERNBERT = ["model.shape.model_type=modernbert", "+model.shape.local_attention=64"]


def small(*more: str) -> TinyRMConfig:
    return compose([*SMALL, *more])


def numbers(node: Any) -> list[float]:
    if isinstance(node, dict):
        return [n for key in sorted(node) for n in numbers(node[key])]
    return [float(node)] if isinstance(node, int | float) else []


def compare(fast: ExperimentResult, plain: ExperimentResult) -> None:
    """Weights, log-odds and metrics of two finished runs."""
    states = [load_file(r.folder / "checkpoints" / "best.safetensors") for r in (fast, plain)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[1].items():
        torch.testing.assert_close(states[0][name], value, atol=2e-5, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")
    odds = [read_predictions(r.folder / "predictions.parquet").scores.log_odds for r in (fast, plain)]
    assert abs(odds[1]).max() > 0.1
    assert abs(odds[0] - odds[1]).max() < 1e-4 * abs(odds[1]).max()
    metrics = [numbers(json.loads((r.folder / "metrics.json").read_text())) for r in (fast, plain)]
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-6)
    assert fast.record["dev"]["loss"] == pytest.approx(plain.record["dev"]["loss"], abs=1e-6)


@pytest.mark.parametrize("orders", ["both", "random"])
@pytest.mark.parametrize("objective", ["cloze", "bradley_terry"])
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_a_short_training_ends_as_the_plain_one(family: str, objective: str, orders: str, tmp_path: Path) -> None:
    asked = [f"objective={objective}", f"objective.orders={orders}", *(MODERNBERT if family == "modernbert" else [])]
    fast = run(small(*asked, "speed.prefix=on"), tmp_path / "fast")
    plain = run(small(*asked, "speed=plain"), tmp_path / "plain")
    compare(fast, plain)
    stored = sum(p.stat().st_size for p in Path(os.environ["TINYRM_CACHE"]).glob(f"prefix/*/*{DATA}"))
    assert stored > 72 * 50 * 32 * 4  # train, dev and test pairs of some fifty tokens


@pytest.mark.parametrize("dtype", ["32", "bf16"])
def test_what_the_cache_holds_decides_no_bit(dtype: str, tmp_path: Path) -> None:
    """Nothing stored before, all of it, the layer below, or other rows: the same weights."""

    def weights(name: str, cache: str, *more: str) -> dict[str, torch.Tensor]:
        asked = ["speed.prefix=on", f"speed.prefix_dtype={dtype}", f"data.cache_dir={tmp_path / cache}", *more]
        result = run(small(*asked), tmp_path / name)
        return load_file(result.folder / "checkpoints" / "best.safetensors")

    first = weights("first", "one")
    weights("shallow", "two", "freeze=1", "data.max_train_pairs=20")
    weights("fewer", "two", "data.max_train_pairs=10")
    for name, cache in (("again", "one"), ("from below", "two"), ("anew", "three")):
        again = weights(name, cache)
        assert all(torch.equal(first[key], again[key]) for key in first), name


@pytest.mark.parametrize("damage", ["data", "index", "both gone", "full"])
def test_a_store_that_fails_costs_time_only(damage: str, tmp_path: Path) -> None:
    cache = Path(os.environ["TINYRM_CACHE"])
    before = run(small("speed.prefix=on"), tmp_path / "before")
    for data in cache.glob(f"prefix/*/*{DATA}"):
        if damage == "data":
            data.write_bytes(bytes(data.stat().st_size))
        elif damage == "index":
            data.with_suffix(".index").write_bytes(b"rubbish")
        else:
            data.unlink()
            data.with_suffix(".index").unlink()
    limit = ["speed.prefix_gb=1e-5"] if damage == "full" else []
    compare(run(small("speed.prefix=on", *limit), tmp_path / "after"), before)


def reads(net: RewardNet, times: int) -> FrozenReads:
    ids = torch.randint(1000, 2000, (4, 12), generator=torch.Generator().manual_seed(0))
    return FrozenReads(lambda: [{"input_ids": ids, "attention_mask": torch.ones_like(ids)}], 48, 48 * times)


def made(hidden: int = 32, freeze: int = 1) -> RewardNet:
    shape = {"model_type": "bert", "hidden_size": hidden, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = small(f"freeze={freeze}")
    config.model.shape = {**shape, "intermediate_size": 4 * hidden}
    backbone = find_backbone(config.model)
    return build_net(
        load_weights(backbone, "cloze", seed=0),
        backbone.family,
        objective="cloze",
        freeze=freeze,
        adapter=config.adapter,
        verbalizers=(1037, 1038),
        seed=0,
    )


@pytest.mark.parametrize(
    ("prefix", "hidden", "times", "shared", "stored"),
    [
        ("auto", 256, 2, False, True),
        ("auto", 256, 1, False, False),  # read once: nothing is gained
        ("auto", 256, 1, True, True),  # but others follow
        ("auto", 32, 2, True, False),  # computed as fast as it is read
        ("on", 32, 1, False, True),
        ("off", 256, 9, True, False),
    ],
)
def test_when_it_is_stored(
    prefix: str, hidden: int, times: int, shared: bool, stored: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    net = made(hidden)
    frozen = FrozenStore(SpeedConfig(prefix=prefix), tmp_path, shared)
    context: Any = torch.no_grad
    store = frozen.fill(net, reads(net, times), precision="32-true", context=context)
    assert isinstance(store, PrefixStore) == stored
    assert bool(list(tmp_path.glob(f"prefix/*/*{DATA}"))) == stored
    assert ("Storing the output of the 1 frozen layers: 48 tokens" in caplog.text) == stored
    assert ("computed as fast as it is read" in caplog.text) == (hidden == 32 and prefix == "auto")
    if stored:
        caplog.clear()
        assert frozen.fill(net, reads(net, times), precision="32-true", context=context) is not None
        assert "Storing" not in caplog.text  # all there


def test_what_is_too_large_is_not_even_looked_at(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    net = made()

    def never() -> Any:
        raise AssertionError("rows were made")

    frozen = FrozenStore(SpeedConfig(prefix="on", prefix_gb=1e-6), tmp_path, True)
    found = frozen.fill(net, FrozenReads(never, 48, 96), precision="32-true", context=torch.no_grad)
    assert found is None
    assert "would take 0.0 MB, speed.prefix_gb=1e-06: not stored" in caplog.text


def test_on_says_where_it_cannot_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = made()
    net.whole = True
    frozen = FrozenStore(SpeedConfig(prefix="on"), tmp_path)
    assert frozen.fill(net, reads(net, 9), precision="32-true", context=torch.no_grad) is None
    assert "speed.prefix=on: this model is only run whole" in caplog.text


def test_without_a_frozen_layer_there_is_nothing_to_store(tmp_path: Path) -> None:
    net = made(freeze=0)
    frozen = FrozenStore(SpeedConfig(prefix="on"), tmp_path, True)
    assert frozen.fill(net, reads(net, 9), precision="32-true", context=torch.no_grad) is None


def test_a_signal_while_it_is_filled_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, rows = PrefixStore._computed, []

    def slow(self: PrefixStore, batch: Any) -> Any:
        rows.append(len(batch))
        if len(rows) == 10:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(self, batch)

    monkeypatch.setattr(PrefixStore, "_computed", slow)
    with pytest.raises(Interrupted, match="stopped by SIGTERM before the first step"):
        run(small("speed.prefix=on"), tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "interrupted"
    assert len(rows) == 10
    run(small("speed.prefix=on"), tmp_path / "run")  # goes on, with the ten rows
    whole = 2 * (48 + 12 + 12)
    assert len(rows) == whole
