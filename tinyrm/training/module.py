"""The LightningModule: model + adapter + freezing + objective, and nothing else."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from tinyrm.config import ObjectiveConfig, OptimizerConfig
from tinyrm.errors import NonFiniteLossError
from tinyrm.model import RewardNet, pairwise_loss
from tinyrm.prompting import TensorBatch


class TinyRM(L.LightningModule):
    """Trains a :class:`RewardNet` on preference pairs.

    A checkpoint holds the trained parameters only: the frozen ones are those of the backbone. Dropout is drawn anew for
    each batch from (seed, batch, process), so that a resumed run draws what an uninterrupted one would have.

    Args:
        net: the model.
        objective: label smoothing.
        optimizer: AdamW and schedule.
        steps: optimizer steps of the whole run, for the schedule.
        seed: of dropout.
        fused: AdamW in one kernel for all tensors; never with 16-bit gradients, which Lightning must unscale before it.
    """

    strict_loading = False

    def __init__(
        self,
        net: RewardNet,
        objective: ObjectiveConfig,
        optimizer: OptimizerConfig,
        *,
        steps: int,
        seed: int,
        fused: bool = True,
    ) -> None:
        super().__init__()
        self.net = net
        self.objective = objective
        self.both_orders = objective.orders == "both" and net.objective == "cloze"
        self.optimizer_config = optimizer
        self.steps = steps
        self.seed = seed
        self.fused = fused
        self.dev_log_odds: list[Tensor] = []  # of the evaluation that runs or ran last: (pairs of a batch,) each

    def training_step(self, batch: TensorBatch, batch_idx: int) -> Tensor:
        log_odds = self.net(batch)
        loss = pairwise_loss(log_odds, self.objective.label_smoothing)
        if self.both_orders:
            verdict = log_odds.view(2, -1).mean(dim=0)
            loss = (loss + pairwise_loss(verdict, self.objective.label_smoothing)) / 2
        if not torch.isfinite(loss):
            raise NonFiniteLossError(
                f"the training loss became {loss.item()} in step {self.global_step + 1}. Try a lower optimizer.lr, a "
                "longer optimizer.warmup_fraction or trainer.precision=32; the last good checkpoint is kept."
            )
        self.log("train/loss", loss, batch_size=len(log_odds), prog_bar=True)
        return loss

    def on_train_batch_start(self, batch: TensorBatch, batch_idx: int) -> None:
        torch.manual_seed(((self.seed * 1_000_003 + batch_idx) * 1_009 + self.global_rank) % 2**63)

    def on_validation_epoch_start(self) -> None:
        self.dev_log_odds = []

    def validation_step(self, batch: TensorBatch, batch_idx: int) -> None:
        scores = self.net(batch)
        both = scores.view(2 if self.net.objective == "cloze" else 1, -1)
        mean = both.mean(dim=0)
        right = (mean > 0).float() + 0.5 * (mean == 0).float()
        consistent = (both.sign() == both[0].sign()).all(dim=0).float()
        pairs = len(mean)
        self.dev_log_odds.append(mean.detach().float())
        shared: dict[str, Any] = {"on_epoch": True, "batch_size": pairs, "sync_dist": True}
        self.log("dev/accuracy", right.mean(), prog_bar=True, **shared)
        self.log("dev/loss", pairwise_loss(mean), **shared)
        self.log("dev/order_consistent", consistent.mean(), **shared)

    def configure_optimizers(self) -> Any:
        config = self.optimizer_config
        optimizer = torch.optim.AdamW(
            parameter_groups(self.net, config.weight_decay),
            lr=config.lr,
            betas=(config.beta1, config.beta2),
            eps=config.eps,
            fused=self.fused and self.trainer.precision != "16-mixed",
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_share(step, self.steps, config)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        # Lightning refuses to clip beside a fused optimizer, as if that had to unscale: it never gets scaled gradients.
        if gradient_clip_val:
            nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = {f"net.{name}" for name in self.net.trained_state()}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in trained}


def learning_rate_share(step: int, steps: int, config: OptimizerConfig) -> float:
    """Share of the peak learning rate at optimizer step `step` of `steps` (0-based), 0 to 1.

    Rises linearly over the first `warmup_fraction`, then falls to 0 linearly, along a half cosine, or not at all.
    """
    warmup = max(1, round(steps * config.warmup_fraction)) if config.warmup_fraction else 0
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    if config.schedule == "constant":
        return 1.0
    return 1 - done if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))


def parameter_groups(net: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trained parameters in two groups: matrices decay; biases, norms, DoRA magnitudes and embeddings do not."""
    embeddings = {id(p) for m in net.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    trained = [p for p in net.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.ndim >= 2 and id(p) not in embeddings]
    others = [p for p in trained if p.ndim < 2 or id(p) in embeddings]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
