"""A forward and backward pass: DoRA beside LoRA and PEFT's DoRA, and training's FLOP/s beside those of plain GEMMs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from tinyrm.model import RewardNet, pairwise_loss

from .setup import Size, start

KINDS = {
    "lora": ("adapter=lora",),
    "dora": ("adapter=dora",),
    "dora, PEFT's": ("adapter=dora", "speed.dora=peft"),
    "full": ("adapter=full", "speed=plain"),
}
_ROWS = 16


def step_times(size: Size, data: str | None) -> dict[str, Any]:
    """Milliseconds of a step of each kind (the fastest of several, by turns), and FLOP/s of full finetuning.

    Every layer is trained; a batch holds 16 rows of one length, so that nothing is padded.
    """
    nets, passes = {}, None
    for name, overrides in KINDS.items():
        begun = start(size, data, "freeze=0", "adapter.rank=16", *overrides)
        nets[name] = begun.base.net(begun.config).train()
        if passes is None:
            lengths = begun.train.lengths[:, 0]
            middle = int(abs(lengths - lengths.mean()).argmin())  # a pair of average length
            passes = begun.train.collate([middle] * _ROWS, [True] * _ROWS)
    assert passes is not None
    best = dict.fromkeys(nets, float("inf"))
    for turn in range(size.repeats + 1):  # the first warms up
        for name, net in nets.items():
            seconds = seconds_of(lambda net=net: step(net, passes))  # type: ignore[misc]
            best[name] = min(best[name], seconds) if turn else best[name]
    with FlopCounterMode(display=False) as counter:
        step(nets["full"], passes)
    achieved = counter.get_total_flops() / best["full"]
    tokens = int(passes["passes"][0]["attention_mask"].sum())
    peak = _gemm(nets["full"], tokens, size.repeats)
    return {
        "ms": {name: 1000 * seconds for name, seconds in best.items()},
        "tokens": tokens,
        "gflops": achieved / 1e9,
        "gemm_gflops": peak / 1e9,
        "share": achieved / peak,
    }


def step(net: RewardNet, batch: dict[str, Any]) -> None:
    """Forward and backward."""
    net.zero_grad(set_to_none=True)
    pairwise_loss(net(batch)).backward()


def seconds_of(action: Callable[[], Any]) -> float:
    """Of one call."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _gemm(net: RewardNet, tokens: int, repeats: int) -> float:
    """FLOP/s of plain matrix products of the shapes of one layer: forward, and both products of the backward pass."""
    layer = net.family.layers_of(net.base_model)[0]
    operations, seconds = 0, 0.0
    for module in layer.modules():
        if not isinstance(module, torch.nn.Linear):
            continue
        width, out = module.in_features, module.out_features
        for rows, inner, columns in ((tokens, width, out), (tokens, out, width), (width, tokens, out)):
            a, b = torch.randn(rows, inner), torch.randn(inner, columns)
            torch.mm(a, b)
            seconds += min(seconds_of(lambda a=a, b=b: torch.mm(a, b)) for _ in range(2 * repeats))  # type: ignore[misc]
            operations += 2 * rows * inner * columns
    return operations / seconds
