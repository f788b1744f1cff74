"""What `evaluation.backend` comes to, and that every way of scoring comes to the same verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tinyrm.config import ModelConfig, TrainerConfig, compose
from tinyrm.config.rules import BACKENDS
from tinyrm.errors import ModelError
from tinyrm.evaluation import backends
from tinyrm.evaluation.backends import Backend, check_backend, choose_backend
from tinyrm.evaluation.scoring import score
from tinyrm.model import Backbone, RewardNet, find_backbone, load_weights, merged_net
from tinyrm.model.adapters import Trainable
from tinyrm.prompting import EncodedPairs, Layout, to_device, tokenize
from tinyrm.types import PreferencePair

ASKED = TrainerConfig(precision="bf16")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    return find_backbone(ModelConfig(id="small", source="random", shape={"model_type": "bert", **shape}))


@pytest.fixture(scope="module", params=["cloze", "bradley_terry"])
def objective(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def net(objective: str, backbone: Backbone) -> RewardNet:
    model = load_weights(backbone, objective, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return merged_net(RewardNet(Trainable(model, model, ()), backbone.family, objective, (100, 200)))


@pytest.fixture(scope="module")
def pairs(objective: str, backbone: Backbone) -> EncodedPairs:
    layout = Layout.of(objective, compose().prompt, backbone.tokenizer, backbone.segment_types)
    made = [
        PreferencePair(str(n), f"What is {n}?", "It is " * (1 + n % 5), "No. " * (1 + n % 7), "s", "s", "t")
        for n in range(20)
    ]
    return layout.bind(tokenize(made, backbone.tokenizer, spaced=layout.spaced))


@pytest.mark.parametrize(("name", "near"), [("float32", 0.0), ("bf16", 0.25), ("int8", 0.25), ("onnx", 1e-4)])
def test_every_backend_comes_to_nearly_the_same(
    name: str, near: float, net: RewardNet, pairs: EncodedPairs, tmp_path: Path
) -> None:
    before = {key: value.clone() for key, value in net.state_dict().items()}
    plain = score(net, pairs, batch_tokens=500)
    chosen = choose_backend(name, TrainerConfig(accelerator="cpu"))
    found = score(chosen.ready(net, pairs, tmp_path), pairs, batch_tokens=500, precision=chosen.precision)
    spread = np.std(plain.log_odds)
    assert spread > 1e-3
    assert np.abs(found.log_odds - plain.log_odds).max() <= near * spread
    assert name == "float32" or (found.log_odds != plain.log_odds).any()  # it is another way
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not list(tmp_path.glob("*")) or name == "onnx"


@pytest.mark.parametrize(
    ("name", "trainer", "on_gpu", "expected"),
    [
        ("auto", TrainerConfig(), False, ("torch", "32-true", "cpu")),
        ("auto", ASKED, False, ("torch", "bf16-mixed", "cpu")),
        ("auto", TrainerConfig(), True, ("torch", "bf16-mixed", "cuda")),
        ("auto", TrainerConfig(accelerator="cpu"), True, ("torch", "32-true", "cpu")),
        ("auto", None, False, ("torch", "32-true", "cpu")),
        ("float32", ASKED, True, ("torch", "32-true", "cuda")),
        ("float32", ASKED, False, ("torch", "32-true", "cpu")),
        ("bf16", TrainerConfig(precision="32"), True, ("torch", "bf16-mixed", "cuda")),
        ("bf16", TrainerConfig(precision="32"), False, ("torch", "bf16-mixed", "cpu")),
        ("int8", ASKED, True, ("int8", "32-true", "cpu")),
        ("onnx", ASKED, True, ("onnx", "32-true", "cpu")),
    ],
)
def test_what_a_name_comes_to(
    name: str, trainer: TrainerConfig | None, on_gpu: bool, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: on_gpu)
    monkeypatch.setattr(backends, "can_multiply_int8", lambda: True)
    assert choose_backend(name, trainer, "bf16-mixed") == Backend(*expected)


def test_a_saved_model_is_scored_in_float32_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for on_gpu, device in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda on_gpu=on_gpu: on_gpu)
        assert choose_backend("auto") == Backend("torch", "32-true", device)


def test_what_this_machine_lacks_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BACKENDS:
        check_backend(name)
    monkeypatch.setattr(backends, "can_multiply_int8", lambda: False)
    with pytest.raises(ModelError, match="int8 needs a CPU with AVX512-VNNI, which this one lacks"):
        check_backend("int8")


def test_bf16_that_is_emulated_is_said_to_be_slow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for native, told in ((True, False), (False, True)):
        monkeypatch.setattr(backends, "can_multiply_bf16", lambda native=native: native)
        choose_backend("bf16", TrainerConfig(accelerator="cpu"))
        assert ("emulates bf16" in caplog.text) == told


def test_a_batch_goes_to_a_gpu_from_pinned_memory(monkeypatch: pytest.MonkeyPatch, pairs: EncodedPairs) -> None:
    """Without a GPU: what is asked of torch."""
    batch, asked = pairs.collate([0, 1], [True, False]), []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: asked.append("pinned") or self)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *a, **k: asked.append((a[0].type, k["non_blocking"])) or self)
    tensors = sum(isinstance(v, torch.Tensor) for part in (batch, *batch["passes"]) for v in part.values())
    moved: dict[str, Any] = to_device(batch, torch.device("cuda"))
    assert asked == ["pinned", ("cuda", True)] * tensors
    assert moved.keys() == batch.keys()
    assert [rows.keys() for rows in moved["passes"]] == [rows.keys() for rows in batch["passes"]]
    asked.clear()
    to_device(batch, torch.device("cpu"))
    assert asked == [("cpu", False)] * tensors
