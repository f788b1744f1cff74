"""The schedule, the parameter groups and what a checkpoint holds."""

from __future__ import annotations

import pytest
import torch

from tinyrm.config import AdapterConfig, ModelConfig, ObjectiveConfig, OptimizerConfig
from tinyrm.model import RewardNet, build_net, find_backbone, load_weights
from tinyrm.training import TinyRM
from tinyrm.training.trained import learning_rate_share, parameter_groups

SHAPE = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def net(kind: str = "dora", freeze: int = 1) -> RewardNet:
    backbone = find_backbone(ModelConfig(id="t", source="random", shape=SHAPE))
    model = load_weights(backbone, "cloze", seed=0)
    adapter = AdapterConfig(kind=kind, rank=2)
    return build_net(
        model, backbone.family, objective="cloze", freeze=freeze, adapter=adapter, verbalizers=(1037, 1038), seed=0
    )


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ("linear", [0.5, 1.0, 1.0, 0.875, 0.75, 0.5, 0.125]),
        ("cosine", [0.5, 1.0, 1.0, 0.9619397662556434, 0.8535533905932737, 0.5, 0.038060233744356575]),
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_schedule_rises_then_falls(schedule: str, shares: list[float]) -> None:
    config = OptimizerConfig(schedule=schedule, warmup_fraction=0.2)  # 2 of 10 steps
    assert [learning_rate_share(s, 10, config) for s in (0, 1, 2, 3, 4, 6, 9)] == pytest.approx(shares)


def test_schedule_without_warm_up_starts_at_the_peak() -> None:
    assert learning_rate_share(0, 10, OptimizerConfig(warmup_fraction=0)) == 1.0


def test_only_matrices_decay() -> None:
    groups = parameter_groups(net("full", freeze=0), 0.1)
    assert [g["weight_decay"] for g in groups] == [0.1, 0.0]
    assert all(p.ndim == 2 for p in groups[0]["params"])
    embedding = max(p.numel() for p in groups[1]["params"])
    assert embedding == 30522 * 16, "embeddings are matrices that do not decay"


def test_groups_hold_every_trained_parameter_once() -> None:
    model = net()
    grouped = [id(p) for g in parameter_groups(model, 0.1) for p in g["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_a_checkpoint_holds_the_trained_parameters_only() -> None:
    module = TinyRM(net(), ObjectiveConfig(), OptimizerConfig(), steps=10, seed=0)
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    trained = {f"net.{name}" for name, p in module.net.named_parameters() if p.requires_grad}
    assert set(checkpoint["state_dict"]) == trained
    assert sum(v.numel() for v in checkpoint["state_dict"].values()) < 4000


def test_dropout_is_drawn_from_seed_and_batch() -> None:
    module = TinyRM(net(), ObjectiveConfig(), OptimizerConfig(), steps=10, seed=5)
    draws = []
    for batch in (0, 1, 0):
        module.on_train_batch_start({}, batch)
        draws.append(torch.rand(3).tolist())
    assert draws[0] == draws[2] != draws[1]
