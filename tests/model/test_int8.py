"""Layers in int8: what the arithmetic says, for each row by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from tinyrm.model import RewardNet, int8_net, merged_net
from tinyrm.model.dora import linear_rows
from tinyrm.model.int8 import Int8Linear

NetMaker = Callable[..., RewardNet]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tokens", [1, 7, 1024, 2500])
def test_a_layer_computes_what_it_says(tokens: int, bias: bool) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(48, 40, bias=bias), torch.randn(tokens, 48) * torch.rand(tokens, 1)
    found = Int8Linear(linear)(x).double()
    step_w = linear.weight.detach().double().abs().amax(dim=1) / 127
    step_x = x.double().abs().amax(dim=1) / 127
    rounded = (linear.weight.detach().double() / step_w[:, None]).round() * step_w[:, None]
    expected = (x.double() / step_x[:, None]).round() * step_x[:, None] @ rounded.T
    expected += linear.bias.detach().double() if bias else 0
    # A value halfway between two steps may go either way.
    near = (found - expected).abs() <= 1e-5 + step_x[:, None] * rounded.abs().amax(dim=1)
    assert near.all()
    assert ((found - expected).abs() < 1e-5).double().mean() > 0.95
    whole = linear(x).detach().double()
    assert (found - whole).abs().max() < 0.03 * whole.std() * 48**0.5


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    torch.manual_seed(0)
    layer, x = Int8Linear(nn.Linear(32, 24)), torch.randn(5, 9, 32)
    loud = torch.cat([x, 1000 * x])
    assert torch.equal(layer(loud)[:5], layer(x))
    assert torch.equal(layer(x[2]), layer(x)[2])
    assert torch.equal(layer(torch.zeros(2, 32)), layer.bias.expand(2, 24))


def test_some_of_the_output_rows() -> None:
    torch.manual_seed(0)
    layer, x = Int8Linear(nn.Linear(32, 24)), torch.randn(5, 9, 32)
    for rows in (slice(0, 8), slice(8, 24)):
        assert torch.equal(linear_rows(layer, x, rows), layer(x)[..., rows])


@pytest.mark.parametrize("objective", ["cloze", "bradley_terry"])
@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2", "modernbert"])
def test_a_net_stays_near_and_the_original_as_it_was(
    family: str, objective: str, make_net: NetMaker, make_backbone: Any, make_batch: Any
) -> None:
    net, batch = merged_net(make_net(family, objective)), make_batch(make_backbone(family), objective)
    with torch.no_grad():
        expected = net(batch)
        found = int8_net(net)
        assert 0 < (found(batch) - expected).abs().max() < 0.1 * expected.abs().max()
        assert torch.equal(net(batch), expected)
    plain = [sum(type(m) is nn.Linear for m in layer.modules()) for layer in net.family.layers_of(net.base_model)]
    layers = found.family.layers_of(found.base_model)
    assert [sum(isinstance(m, Int8Linear) for m in layer.modules()) for layer in layers] == plain
    assert not any(type(m) is nn.Linear for layer in layers for m in layer.modules())
    held = {p.data_ptr() for p in net.parameters()}
    assert all(p.data_ptr() in held for p in found.parameters()), "what is not quantized is not copied"
