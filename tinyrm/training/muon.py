"""Muon for the matrices of the layers, AdamW for everything else, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn


class MuonAdamW(torch.optim.Optimizer):
    """Steps of :class:`torch.optim.Muon` (Jordan et al. 2024), scaled to the size of AdamW's (Liu et al. 2025,
    arXiv:2502.16982, section 2.2), so that one learning rate serves both.

    Args:
        matrices: what Muon trains, each (out, in).
        others: groups of parameters for AdamW, each with its `weight_decay`.
        lr, betas, eps, weight_decay, fused: as AdamW's; `weight_decay` is that of the matrices.
    """

    def __init__(
        self,
        matrices: Sequence[nn.Parameter],
        others: Sequence[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        fused: bool,
    ) -> None:
        muon = torch.optim.Muon(list(matrices), lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        adamw = torch.optim.AdamW(list(others), lr, betas=betas, eps=eps, fused=fused)
        self.parts: list[torch.optim.Optimizer] = [muon, adamw]
        super().__init__([*matrices, *(p for group in others for p in group["params"])], {"lr": lr})
        # Schedulers write in the groups: let them be those of the parts.
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]
