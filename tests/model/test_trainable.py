"""Exactly what is trained, for every family, objective, adapter and depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import nn

from tinyrm.model import RewardNet, count_parameters, pairwise_loss

FAMILIES = ("bert", "roberta", "deberta-v2", "modernbert")
OBJECTIVES = ("cloze", "bradley_terry")
KINDS = ("dora", "lora", "full", "none")
LAYERS = 3

_ATTENTION = ("attention.output.dense", "intermediate.dense", "output.dense")
LAYER_PATH = {
    "bert": "bert.encoder.layer",
    "roberta": "roberta.encoder.layer",
    "deberta-v2": "deberta.encoder.layer",
    "modernbert": "model.layers",
}
LINEARS = {
    "bert": ("attention.self.query", "attention.self.key", "attention.self.value", *_ATTENTION),
    "roberta": ("attention.self.query", "attention.self.key", "attention.self.value", *_ATTENTION),
    "deberta-v2": ("attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj", *_ATTENTION),
    "modernbert": ("attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo"),
}


def both(*names: str) -> set[str]:
    return {f"{name}.{part}" for name in names for part in ("weight", "bias")}


HEADS = {
    ("bert", "cloze"): both("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
    ("bert", "bradley_terry"): both("bert.pooler.dense", "classifier"),
    ("roberta", "cloze"): both("lm_head.dense", "lm_head.layer_norm"),
    ("roberta", "bradley_terry"): both("classifier.dense", "classifier.out_proj"),
    ("deberta-v2", "cloze"): both("lm_predictions.lm_head.dense", "lm_predictions.lm_head.LayerNorm"),
    ("deberta-v2", "bradley_terry"): both("pooler.dense", "classifier"),
    ("modernbert", "cloze"): {"head.dense.weight", "head.norm.weight"},
    ("modernbert", "bradley_terry"): {"head.dense.weight", "head.norm.weight"} | both("classifier"),
}
# What stands between the last layer and the head: of no layer, so `full` trains it at any depth.
AFTER_LAYERS = {"modernbert": {"model.final_norm.weight"}}


def plain(name: str) -> str:
    for prefix in ("model.base_model.model.", "model."):
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            break
    return name.replace(".modules_to_save.default", "").replace(".default", "").replace(".base_layer", "")


def trained(net: RewardNet) -> set[str]:
    return {plain(name) for name, parameter in net.named_parameters() if parameter.requires_grad}


def in_layers(name: str, family: str, numbers: range) -> bool:
    return any(name.startswith(f"{LAYER_PATH[family]}.{n}.") for n in numbers)


def expected(net: RewardNet, family: str, objective: str, kind: str, freeze: int) -> set[str]:
    head = HEADS[family, objective]
    if kind == "none":
        return head
    if kind == "full":
        every = {plain(name) for name, _ in net.named_parameters()}
        if freeze == 0:
            return every
        layers = {name for name in every if in_layers(name, family, range(freeze, LAYERS))}
        assert layers or freeze == LAYERS
        return layers | head | AFTER_LAYERS.get(family, set())
    parts = ["lora_A.weight", "lora_B.weight", *(["lora_magnitude_vector.weight"] if kind == "dora" else [])]
    return head | {
        f"{LAYER_PATH[family]}.{layer}.{linear}.{part}"
        for layer in range(freeze, LAYERS)
        for linear in LINEARS[family]
        for part in parts
    }


@pytest.mark.parametrize("freeze", [0, 1, LAYERS])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("family", FAMILIES)
def test_exactly_these_are_trained_and_each_gets_a_gradient(
    family: str, objective: str, kind: str, freeze: int, make_net: Callable[..., RewardNet], make_batch: Any
) -> None:
    net = make_net(family, objective, freeze=freeze, kind=kind)
    assert trained(net) == expected(net, family, objective, kind, freeze)
    net.train()
    types = int(getattr(net.base_model.config, "type_vocab_size", 0) or 0)
    pairwise_loss(net(make_batch(types, objective))).backward()
    for name, parameter in net.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        # A constant added to both rewards changes nothing; a key's bias is lost in the softmax.
        if not plain(name).endswith("bias"):
            assert parameter.grad.any(), name
    number = sum(parameter.numel() for parameter in net.parameters() if parameter.requires_grad)
    assert count_parameters(net)[0] == number


@pytest.mark.parametrize("kind", ["dora", "full"])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("family", FAMILIES)
def test_without_the_head(family: str, objective: str, kind: str, make_net: Callable[..., RewardNet]) -> None:
    net = make_net(family, objective, freeze=1, kind=kind, train_head=False, stir=False)
    assert trained(net) == expected(net, family, objective, kind, 1) - HEADS[family, objective]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_vocabulary_matrix_is_the_embeddings_and_keeps_still(
    family: str, make_net: Callable[..., RewardNet]
) -> None:
    for kind, freeze in (("dora", 0), ("dora", 1), ("full", 1), ("none", 0)):
        net = make_net(family, freeze=freeze, kind=kind, stir=False)
        assert not net.base_model.get_input_embeddings().weight.requires_grad
        vocabulary = [p for _, p in net.named_parameters() if 30_522 in p.shape]
        assert len(vocabulary) == 2  # the one matrix, counted once, and its bias
        assert not any(parameter.requires_grad for parameter in vocabulary)


@pytest.mark.parametrize("family", FAMILIES)
def test_targets(family: str, make_net: Callable[..., RewardNet]) -> None:
    target = LINEARS[family][0].rpartition(".")[2]
    net = make_net(family, freeze=2, kind="lora", targets=[target], train_head=False, stir=False)
    assert trained(net) == {f"{LAYER_PATH[family]}.2.{LINEARS[family][0]}.lora_{x}.weight" for x in "AB"}


def test_scale_and_rank(make_net: Callable[..., RewardNet]) -> None:
    for alpha, scale in ((None, 2.0), (6.0, 1.5)):
        net = make_net("bert", rank=4, alpha=alpha, stir=False)
        assert isinstance(net.model, PeftModel)
        query: Any = net.base_model.get_submodule("bert.encoder.layer.1.attention.self.query")
        assert query.scaling == {"default": scale}
        assert query.lora_A["default"].weight.shape == (4, 32)
        assert query.use_dora == {"default": True}


def test_deberta_with_a_convolution(make_backbone: Any, make_net: Callable[..., RewardNet]) -> None:
    """DeBERTa-v2-xlarge adds a convolution to the first layer's output: frozen with the embeddings."""
    backbone = make_backbone("deberta-v2", conv_kernel_size=3, conv_act="gelu")
    net = make_net(backbone, freeze=1, kind="full", stir=False)
    assert any("encoder.conv." in name for name, _ in net.named_parameters())
    assert trained(net) == expected(net, "deberta-v2", "cloze", "full", 1)


@pytest.mark.parametrize("kind", ["dora", "full"])
@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_modules_stay_in_eval_mode(
    family: str, kind: str, make_backbone: Any, make_net: Any, make_batch: Any
) -> None:
    backbone = make_backbone(family, dropout=0.5)
    net = make_net(backbone, freeze=2, kind=kind)
    net.train()
    layers = backbone.family.layers_of(net.base_model)
    for module in (*backbone.family.embeddings_of(net.base_model), *layers[:2]):
        assert not any(inner.training for inner in module.modules())
    assert all(inner.training for inner in layers[2].modules())

    frozen: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        frozen.append((output[0] if isinstance(output, tuple) else output).detach())

    layers[1].register_forward_hook(keep)
    batch = make_batch(backbone, "cloze")
    batch["passes"] = batch["passes"][:1]
    batch["unsort"], batch["sign"] = torch.arange(1), batch["sign"][:1]
    whole = [net(batch) for _ in range(2)]
    assert torch.equal(*frozen)  # a constant, dropout or not
    assert not torch.equal(*whole)
    net.eval()
    assert not any(inner.training for inner in net.modules())
