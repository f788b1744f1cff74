"""Linear layers in 8-bit integers, for inference on a CPU: a quarter of the weights, and products in one instruction.

Weights have one scale an output row, activations one a token, taken when they come (dynamic quantization): what a row
of a batch gets does not depend on the rows beside it, as it would with one scale a tensor.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from tinyrm.model.net import RewardNet

_LEVELS = 127  # symmetric: -127 to 127
_CHUNK = 1024  # tokens quantized at once: they stay in the processor's cache until they are multiplied


class Int8Linear(nn.Module):
    """A linear layer whose product is made in int8 and summed in int32; input and output are float32.

    Args:
        linear: whose weight (out, in) is rounded: W ~ scale[:, None] * weight, at most half a step of 1/127 of the
            row's largest value away.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scale = _scale(weight)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.register_buffer("weight", (weight / scale).round_().to(torch.int8))
        self.register_buffer("scale", scale[:, 0])
        bias = torch.zeros(self.out_features) if linear.bias is None else linear.bias.detach().float()
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor, rows: slice = slice(None)) -> Tensor:
        """(..., in) -> (..., out), or only the output `rows`."""
        weight, scale, bias = self.weight[rows].t(), self.scale[rows], self.bias[rows]
        flat = x.reshape(-1, self.in_features)
        out = torch.empty(len(flat), len(scale))
        for start in range(0, len(flat), _CHUNK):
            part = slice(start, start + _CHUNK)
            own = _scale(flat[part])
            product = torch._int_mm((flat[part] / own).round_().to(torch.int8), weight)
            torch.addcmul(bias, product.float().mul_(own), scale, out=out[part])
        return out.view(*x.shape[:-1], len(scale))


def int8_net(net: RewardNet) -> RewardNet:
    """A copy of a merged net whose encoder layers multiply in int8; embeddings and head stay float32 and are shared."""
    shared = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
    quantized = copy.deepcopy(net, shared)
    for layer in quantized.family.layers_of(quantized.base_model):
        for parent in list(layer.modules()):
            for name, child in parent.named_children():
                if type(child) is nn.Linear:
                    setattr(parent, name, Int8Linear(child))
    return quantized.eval()


def can_multiply_int8() -> bool:
    """Whether this CPU sums int8 products in 32 bits; others do so in 16, which overflow."""
    probe = getattr(torch.cpu, "_is_vnni_supported", None)
    return probe is not None and bool(probe())


def _scale(values: Tensor) -> Tensor:
    """(n, d) -> (n, 1): the step that makes the largest value of each row 127."""
    return values.abs().amax(dim=1, keepdim=True).clamp_(min=torch.finfo(torch.float32).tiny).mul_(1 / _LEVELS)
