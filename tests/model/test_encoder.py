"""Layer by layer, and in the last one for one position a row, comes to what the whole model comes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tinyrm.config import SpeedConfig
from tinyrm.model import RewardNet, merged_net, pairwise_loss

FAMILIES = ("bert", "roberta", "modernbert")
WHOLE = SpeedConfig(dora="peft", last_layer="whole")

NetMaker = Callable[..., RewardNet]


def compare(short: RewardNet, whole: RewardNet, batch: dict[str, Any], plain: dict[str, Any] | None = None) -> None:
    """The same log-odds, loss and gradient of every trained tensor; `plain`: what `whole` is given, if not the same."""
    short, whole = short.double(), whole.double()  # in float32 a difference of two rewards has few digits left
    one, other = short(batch), whole(batch if plain is None else plain)
    assert other.abs().max() > 1e-4  # or nothing would be compared
    torch.testing.assert_close(one, other, atol=1e-7, rtol=1e-6)
    trained = [name for name, p in short.named_parameters() if p.requires_grad]
    assert trained == [name for name, p in whole.named_parameters() if p.requires_grad]
    parameters = [dict(net.named_parameters()) for net in (short, whole)]
    losses = [pairwise_loss(one), pairwise_loss(other)]
    torch.testing.assert_close(*losses, atol=1e-7, rtol=1e-6)
    gradients = [
        torch.autograd.grad(loss, [known[n] for n in trained], allow_unused=True)
        for loss, known in zip(losses, parameters, strict=True)
    ]
    total = torch.stack([g.norm() for g in gradients[1] if g is not None]).norm()  # some gradients are 0 but for noise
    for name, a, b in zip(trained, *gradients, strict=True):
        if b is None or a is None:  # what the head does not read: the vocabulary matrix in places, BERT's pooler, ...
            assert a is None and b is None, name
        else:
            assert float((a - b).norm()) <= 1e-6 * float(b.norm()) + 1e-7 * float(total), name


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["dora", "lora", "full"])
@pytest.mark.parametrize("objective", ["cloze", "bradley_terry"])
@pytest.mark.parametrize("family", FAMILIES)
def test_one_position_of_the_last_layer_is_enough(
    family: str, objective: str, kind: str, attention: str, make_net: NetMaker, make_backbone: Any, make_batch: Any
) -> None:
    nets = []
    for speed in (SpeedConfig(), WHOLE):
        backbone = make_backbone(family)
        backbone.config._attn_implementation = attention
        nets.append(make_net(backbone, objective, kind=kind, freeze=0 if kind == "full" else 1, speed=speed))
    assert [net.runner is None for net in nets] == [False, True]
    assert nets[0].base_model.config._attn_implementation == attention
    batch = make_batch(backbone, objective)
    compare(*nets, batch)
    rows = batch["passes"][0]
    assert family != "modernbert" or rows["input_ids"].shape[1] > 33  # beyond the sliding window


@pytest.mark.parametrize("freeze", [1, 2, 3])
@pytest.mark.parametrize("objective", ["cloze", "bradley_terry"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_output_of_the_frozen_layers_stands_for_the_tokens(
    family: str, objective: str, freeze: int, make_net: NetMaker, make_backbone: Any, make_batch: Any
) -> None:
    backbone = make_backbone(family)
    net, whole = (make_net(family, objective, freeze=freeze, speed=speed) for speed in (SpeedConfig(), WHOLE))
    batch, net = make_batch(backbone, objective), net.double()
    passes = []
    for rows in batch["passes"]:
        hidden = net.prefix(rows)
        assert hidden.shape == (*rows["input_ids"].shape, 32)
        assert not hidden.requires_grad
        deeper = net.prefix({"hidden": shallow(net, rows, 1), "attention_mask": rows["attention_mask"]}, start=1)
        torch.testing.assert_close(deeper, hidden, atol=1e-6, rtol=1e-5)
        garbage = hidden.masked_fill(rows["attention_mask"][..., None] == 0, 7.0)  # padding is nobody's business
        kept = {k: v for k, v in rows.items() if k in ("attention_mask", "mask_position")}
        passes.append({"hidden": garbage, **kept})
    compare(net, whole, {**batch, "passes": passes}, batch)


def shallow(net: RewardNet, rows: dict[str, Any], depth: int) -> torch.Tensor:
    runner = net.runner
    assert runner is not None
    return runner.run(rows, 0, depth)


@pytest.mark.parametrize("bias", [True, False])
def test_biases_of_modernbert(bias: bool, make_net: NetMaker, make_backbone: Any, make_batch: Any) -> None:
    shape = {"attention_bias": bias, "mlp_bias": bias, "norm_bias": bias, "classifier_bias": bias}
    backbone = make_backbone("modernbert", **shape)
    nets = [make_net(backbone, speed=speed) for speed in (SpeedConfig(), WHOLE)]
    compare(*nets, make_batch(backbone, "cloze"))


def test_what_reads_every_position_is_run_whole(make_net: NetMaker, make_backbone: Any, make_batch: Any) -> None:
    backbone = make_backbone("modernbert", classifier_pooling="mean")
    net = make_net(backbone, "bradley_terry")
    assert net.runner is None
    assert make_net(backbone, "cloze").runner is not None
    assert make_net("deberta-v2").runner is None  # a family of which no way layer by layer is known
    assert net(make_batch(backbone, "bradley_terry")).shape == (3,)


def test_in_half_precision_it_is_as_near_as_the_whole_model(make_net: NetMaker, make_batch: Any) -> None:
    for family in FAMILIES:
        short, whole = (make_net(family, speed=speed) for speed in (SpeedConfig(), WHOLE))
        batch = make_batch(2 if family == "bert" else 0, "cloze")
        with torch.no_grad():
            exact = whole(batch)
            with torch.autocast("cpu", torch.bfloat16):
                off = [(net(batch) - exact).abs().max().item() for net in (short, whole)]
        assert off[0] < 3 * off[1] + 1e-3


def test_compiled_layers_give_the_same(make_net: NetMaker, make_backbone: Any, make_batch: Any) -> None:
    """Needs a C++ compiler, as `speed.compile` does on a CPU."""
    backbone = make_backbone("bert")
    quick, plain = (make_net(backbone, kind="full", speed=speed) for speed in (SpeedConfig(compile=True), WHOLE))
    layers = backbone.family.layers_of(quick.base_model)
    assert [layer._compiled_call_impl is not None for layer in layers] == [False, True, True]
    compare(quick, plain, make_batch(backbone, "cloze"))
    torch.testing.assert_close(
        merged_net(quick)(make_batch(backbone, "cloze")), quick(make_batch(backbone, "cloze")), atol=1e-6, rtol=1e-5
    )
