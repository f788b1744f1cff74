"""What a model costs before there is one: parameters and operations, counted on a model without numbers.

The net of a config is built on torch's `meta` device, where a tensor has a shape and no content, and its own passes run
there under torch's counter (2 operations a multiply-add; matrix products and attention, which is nearly all). So frozen
layers, adapters, and a last layer that reads one position are counted as they are really computed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tinyrm.config import TinyRMConfig
from tinyrm.model.adapters import count_parameters
from tinyrm.model.backbone import Backbone, find_backbone, new_model
from tinyrm.model.net import RewardNet, build_net

_ROWS = 8  # of a counted pass: what an optimizer step costs whatever its batch (DoRA's norms) is shared by them


@dataclass(frozen=True)
class Costs:
    """Of the net of one config.

    Attributes:
        trained, parameters: how many.
        prefix: operations a row of the frozen layers, forward.
        forward: operations a row of the whole net, forward.
        backward: operations a row of the backward pass.
        stored: bytes a token that the frozen layers' output takes in a store, in float32.
    """

    trained: int
    parameters: int
    prefix: float
    forward: float
    backward: float
    stored: int

    @property
    def train(self) -> float:
        """Operations a row of training, forward and backward."""
        return self.forward + self.backward


def shape_backbone(config: TinyRMConfig) -> Backbone:
    """The backbone of a config as far as its `model.shape` tells, without weights and without the hub.

    Raises:
        ModelError: of an unknown family.
    """
    model = config.model
    if model.shape and model.source in ("hub", "random"):
        return find_backbone(replace(model, source="random", path=None, revision=None))
    return find_backbone(model)


def random_net(config: TinyRMConfig, backbone: Backbone) -> RewardNet:
    """The net of a config with random weights: its shape, for what it costs."""
    return build_net(
        new_model(backbone, config.objective.kind),
        backbone.family,
        objective=config.objective.kind,
        freeze=config.freeze,
        adapter=config.adapter,
        verbalizers=(0, 1),
        seed=0,
        speed=config.speed,
    )


def net_without_numbers(config: TinyRMConfig, backbone: Backbone) -> RewardNet:
    """The same on the `meta` device."""
    with torch.device("meta"):
        return random_net(config, backbone)


def rows_of(net: RewardNet, rows: int, length: int, device: str) -> dict[str, Tensor]:
    """A forward pass of rows of one length, all of them token 0."""
    passed = {
        "input_ids": torch.zeros(rows, length, dtype=torch.long, device=device),
        # Its content decides how attention is called: on the CPU, where it has one.
        "attention_mask": torch.ones(rows, length, dtype=torch.long, device="cpu" if device == "meta" else device),
    }
    if net.objective == "cloze":
        passed["mask_position"] = torch.full((rows,), length - 1, dtype=torch.long, device=device)
    return passed


def costs(config: TinyRMConfig, length: int, backbone: Backbone | None = None) -> Costs:
    """What the net of a config costs for rows of `length` tokens."""
    net = net_without_numbers(config, backbone or shape_backbone(config))
    rows = rows_of(net, _ROWS, length, "meta")
    net.train()
    with FlopCounterMode(display=False) as counter:
        scores = net.scores(rows).sum()
        forward = counter.get_total_flops() / _ROWS
        torch.autograd.backward(scores)
        whole = counter.get_total_flops() / _ROWS
    prefix = 0.0
    if net.freeze and net.runner is not None:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.prefix(rows)
        prefix = counter.get_total_flops() / _ROWS
    trained, parameters = count_parameters(net)
    hidden = int(net.base_model.config.hidden_size)
    return Costs(trained, parameters, prefix, forward, whole - forward, 4 * hidden if config.freeze else 0)
