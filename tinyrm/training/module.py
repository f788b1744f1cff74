"""The LightningModule: model + adapter + freezing + objective, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinyrm.config import ObjectiveConfig, OptimizerConfig
from tinyrm.model import RewardNet, SharedPasses, pairwise_loss
from tinyrm.prompting import TensorBatch
from tinyrm.training.trained import TrainedModule


class TinyRM(TrainedModule):
    """Trains a :class:`RewardNet` on preference pairs.

    Args:
        net: the model.
        objective: orders of presentation, label smoothing.
        optimizer, steps, seed, fused: see :class:`TrainedModule`.
    """

    unit = "pairs"
    reported = ("accuracy", "loss", "order_consistent")
    shown = "accuracy"

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
        super().__init__(net, optimizer, steps=steps, seed=seed, fused=fused)
        self.objective = objective
        self.both_orders = objective.orders == "both" and net.objective == "cloze"
        self.passes: SharedPasses | None = None  # of the frozen layers, where other nets are trained beside this one
        self._dev_batches: list[Tensor] = []  # of the evaluation that runs or ran last: (orders, pairs of a batch) each

    def training_step(self, batch: TensorBatch, batch_idx: int) -> Tensor:
        log_odds = self.net(self._attached(batch))
        loss = pairwise_loss(log_odds, self.objective.label_smoothing)
        if self.both_orders:
            verdict = log_odds.view(2, -1).mean(dim=0)
            loss = (loss + pairwise_loss(verdict, self.objective.label_smoothing)) / 2
        self.checked(loss)
        self.log("train/loss", loss, batch_size=len(log_odds), prog_bar=True)
        return loss

    def on_before_batch_transfer(self, batch: TensorBatch, dataloader_idx: int) -> TensorBatch:
        return batch if self.passes is None else self.passes.named(batch)

    def _attached(self, batch: TensorBatch) -> TensorBatch:
        return batch if self.passes is None else self.passes.attach(batch)

    def count(self, batch: TensorBatch) -> dict[str, int]:
        rows_per_pair = 1 if "sign" in batch and not self.both_orders else 2
        tokens = sum(int(rows["attention_mask"].sum()) for rows in batch["passes"])
        return {"pairs": len(batch["unsort"]) // rows_per_pair, "tokens": tokens}

    def judge(self, evaluation: dict[str, float]) -> float:
        return evaluation["accuracy"]

    def on_validation_epoch_start(self) -> None:
        self._dev_batches = []

    def validation_step(self, batch: TensorBatch, batch_idx: int) -> None:
        scores = self.net(self._attached(batch))
        both = scores.view(2 if self.net.objective == "cloze" else 1, -1)
        mean = both.mean(dim=0)
        right = (mean > 0).float() + 0.5 * (mean == 0).float()
        consistent = (both.sign() == both[0].sign()).all(dim=0).float()
        pairs = len(mean)
        self._dev_batches.append(both.detach().float())
        shared: dict[str, Any] = {"on_epoch": True, "batch_size": pairs, "sync_dist": True}
        self.log("dev/accuracy", right.mean(), prog_bar=True, **shared)
        self.log("dev/loss", pairwise_loss(mean), **shared)
        self.log("dev/order_consistent", consistent.mean(), **shared)

    def dev_log_odds(self) -> Tensor:
        """(orders, dev pairs) log-odds that the chosen response is better, of the evaluation of dev that ran last.

        In the order of the dev split, whatever the batches; 2 orders (chosen first, chosen second), or 1 where each
        response is read alone. As training computes: in its precision, with the adapter beside the weights. Every
        process takes part, and all get the whole.
        """
        stream: Any = self.trainer.val_dataloaders
        values = torch.zeros(stream.orders, len(stream.pairs), device=self.device)
        if self._dev_batches:  # a process among many may have had none
            mine = torch.from_numpy(np.concatenate(stream.batches)).to(self.device)
            values[:, mine] = torch.cat(self._dev_batches, dim=1)
        return torch.as_tensor(self.trainer.strategy.reduce(values, reduce_op="sum")).cpu()

    def kept_with_best(self) -> dict[str, Tensor]:
        return {"dev_log_odds": self.dev_log_odds()}
