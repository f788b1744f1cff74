"""DoRA at the cost of LoRA: the norm of the adapted weight without the adapted weight.

DoRA (Liu et al. 2024, arXiv:2402.09353, eq. 5) scales each output row of the adapted weight V = W + sBA to a trained
magnitude m: y = m / ||V|| * xV' + b, where the norm counts as a constant (its section 4.3). PEFT makes V anew in every
forward pass, an `out x in` matrix. Here its squared norm comes from the low-rank identity

    ||W + sBA||^2 = ||W||^2 + 2s <W A', B> + s^2 <B (A A'), B>      (each row by itself)

with ||W||^2 kept, and the output from two fused operations: z = (xW' + b) + s (xA')B', y = (m / ||V||) (z - b) + b.

Parameters are PEFT's own, so that checkpoints, merging and everything else stay as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora.layer import Linear as LoraLinear
from peft.tuners.lora.variants import DoraLinearVariant
from torch import Tensor, nn
from torch.nn import functional as F

from tinyrm.model.int8 import Int8Linear

WHOLE = slice(None)


class FastDora(DoraLinearVariant):  # type: ignore[misc]
    """How one layer's adapter is applied. With dropout on the adapter's input it falls back to PEFT's way."""

    def __init__(self) -> None:
        self._squares: tuple[Any, Tensor] | None = None  # of the frozen weight, and what it was when they were taken

    def forward(self, module: LoraLinear, active_adapter: str, x: Tensor, result: Tensor, **kwargs: Any) -> Tensor:
        """The adapted output (..., out) from the base layer's `result` (..., out) for `x` (..., in)."""
        if _drops(module, active_adapter):
            plain: Tensor = DoraLinearVariant.forward(module, active_adapter, x, result, **kwargs)
            return plain
        return self.apply(module, active_adapter, x, result, WHOLE)

    def apply(self, module: LoraLinear, name: str, x: Tensor, result: Tensor, rows: slice) -> Tensor:
        """The same for some of the output rows, which `result` (..., len(rows)) holds."""
        low = F.linear(x, module.lora_A[name].weight)
        up = module.lora_B[name].weight[rows]
        z = torch.addmm(result.flatten(0, -2), low.flatten(0, -2), up.T, alpha=module.scaling[name])
        scale = self.scale(module, name)[rows].to(z.dtype)
        bias = module.get_base_layer().bias
        scaled = z * scale if bias is None else torch.addcmul((bias[rows] * (1 - scale)).to(z.dtype), z, scale)
        return scaled.reshape(result.shape)

    def scale(self, module: LoraLinear, name: str) -> Tensor:
        """(out,) magnitude over norm, in float32 or better; the gradient goes to the magnitude alone."""
        weight: Tensor = module.get_base_layer().weight
        factor, dtype = module.scaling[name], torch.promote_types(weight.dtype, torch.float32)
        device = "cpu" if weight.is_meta else weight.device.type  # a net without numbers has no autocast of its own
        with torch.no_grad(), torch.autocast(device, enabled=False):
            down, up = module.lora_A[name].weight.to(dtype), module.lora_B[name].weight.to(dtype)
            cross = (torch.mm(weight, down.T.to(weight.dtype)).to(dtype) * up).sum(dim=1)
            low_rank = (torch.mm(up, torch.mm(down, down.T)) * up).sum(dim=1)
            squared = self._squared(weight) + 2 * factor * cross + factor**2 * low_rank
            norm = squared.clamp_min_(torch.finfo(dtype).tiny).sqrt_()  # rounding may take a row of zeros below 0
        scale: Tensor = module.lora_magnitude_vector[name].weight.to(dtype) / norm
        return scale

    def _squared(self, weight: Tensor) -> Tensor:
        """(out,) squared norm of each row of the frozen weight, taken again where it is not what it was."""
        version = 0 if weight.is_inference() else weight._version
        state = (weight.data_ptr(), version, weight.shape, weight.dtype, weight.device)
        if self._squares is None or self._squares[0] != state:
            wide = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
            self._squares = (state, wide.square().sum(dim=1))
        return self._squares[1]

    def __getstate__(self) -> dict[str, Any]:
        return {"_squares": None}  # a copy's weight lies elsewhere


def use_fast_dora(model: PeftModel) -> int:
    """Let every DoRA layer of a kind we know be computed the fast way (in place); give how many there are."""
    found = 0
    for module in model.modules():
        if isinstance(module, LoraLinear) and _known(module):
            for name, variant in module.lora_variant.items():
                if type(variant) is DoraLinearVariant:
                    module.lora_variant[name] = FastDora()
                    found += 1
    return found


def linear_rows(module: nn.Module, x: Tensor, rows: slice) -> Tensor:
    """Some of the output rows of a linear layer, adapted, quantized or neither, for `x` (..., in): (..., len(rows)).

    The others are not computed where that can be helped.
    """
    if type(module) is nn.Linear:
        return _rows_of(module, x, rows)
    if isinstance(module, Int8Linear):
        return module.forward(x, rows)
    if isinstance(module, LoraLinear) and _known(module) and not module.merged and not module.disable_adapters:
        active = [name for name in module.active_adapters if name in module.lora_A]
        if len(active) == 1 and not _drops(module, active[0]):
            (name,) = active
            variant = module.lora_variant.get(name)
            result = _rows_of(module.get_base_layer(), x, rows)
            if isinstance(variant, FastDora):
                return variant.apply(module, name, x, result, rows)
            if variant is None:
                change = F.linear(F.linear(x, module.lora_A[name].weight), module.lora_B[name].weight[rows])
                return result + change * float(module.scaling[name])
    whole: Tensor = module(x)
    return whole[..., rows]


def _rows_of(layer: nn.Linear, x: Tensor, rows: slice) -> Tensor:
    return F.linear(x, layer.weight[rows], None if layer.bias is None else layer.bias[rows])


def _known(module: LoraLinear) -> bool:
    base = module.get_base_layer()
    plain = type(base) is nn.Linear and not module.fan_in_fan_out and not any(module.lora_bias.values())
    return plain and base.weight.is_floating_point()


def _drops(module: LoraLinear, name: str) -> bool:
    return bool(module.training) and not isinstance(module.lora_dropout[name], nn.Identity)
