"""What every module that we train has: an optimizer with its schedule, dropout by batch, small checkpoints."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor, nn

from tinyrm.config import OptimizerConfig
from tinyrm.errors import ConfigError, NonFiniteLossError
from tinyrm.prompting import TensorBatch, to_device
from tinyrm.training.muon import MuonAdamW


class TrainedModule(L.LightningModule):
    """A net with `trained_state()`, trained by AdamW or Muon.

    A checkpoint holds the trained parameters only: the frozen ones are those of the backbone. Dropout is drawn anew for
    each batch from (seed, batch, process), so that a resumed run draws what an uninterrupted one would have.

    Attributes:
        unit: what its speed is told in, the name of one of the two numbers of :meth:`count`.
        reported: the metrics of an evaluation of dev that its history keeps, each logged as `dev/<name>`
            where there is something to measure.
        shown: the one of them that a progress bar shows.

    Args:
        net: the model.
        optimizer: AdamW and schedule.
        steps: optimizer steps of the whole run, for the schedule.
        seed: of dropout.
        fused: AdamW in one kernel for all tensors; never with 16-bit gradients, which Lightning must unscale before it.
    """

    strict_loading = False
    unit: ClassVar[str] = "pairs"
    reported: ClassVar[tuple[str, ...]] = ("loss",)
    shown: ClassVar[str] = "loss"

    def __init__(
        self, net: nn.Module, optimizer: OptimizerConfig, *, steps: int, seed: int, fused: bool = True
    ) -> None:
        super().__init__()
        self.net: Any = net
        self.optimizer_config = optimizer
        self.steps = steps
        self.seed = seed
        self.fused = fused

    @abstractmethod
    def count(self, batch: dict[str, Any]) -> dict[str, int]:
        """How many `pairs` and `tokens` (padding not counted) a training batch holds."""

    @abstractmethod
    def judge(self, evaluation: dict[str, float]) -> float:
        """How good an evaluation is: the weights of the best one are kept."""

    def kept_with_best(self) -> dict[str, Tensor]:
        """What to keep of an evaluation of dev beside its weights, should it be the best. Every process takes part."""
        return {}

    def checked(self, loss: Tensor) -> Tensor:
        """The loss.

        Raises:
            NonFiniteLossError: it is NaN or infinite.
        """
        if not torch.isfinite(loss):
            raise NonFiniteLossError(
                f"the training loss became {loss.item()} in step {self.global_step + 1}. Try a lower optimizer.lr, a "
                "longer optimizer.warmup_fraction or trainer.precision=32; the last good checkpoint is kept."
            )
        return loss

    def transfer_batch_to_device(self, batch: TensorBatch, device: torch.device, dataloader_idx: int) -> TensorBatch:
        return to_device(batch, device)

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        torch.manual_seed(((self.seed * 1_000_003 + batch_idx) * 1_009 + self.global_rank) % 2**63)

    def configure_optimizers(self) -> Any:
        config = self.optimizer_config
        fused = self.fused and self.trainer.precision != "16-mixed"
        optimizer = make_optimizer(parameter_groups(self.net, config.weight_decay), config, fused=fused)
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


def make_optimizer(groups: list[dict[str, Any]], config: OptimizerConfig, *, fused: bool) -> torch.optim.Optimizer:
    """The optimizer of `optimizer.kind` for :func:`parameter_groups`."""
    settings: dict[str, Any] = {"lr": config.lr, "betas": (config.beta1, config.beta2), "eps": config.eps}
    if config.kind == "adamw":
        return torch.optim.AdamW(groups, fused=fused, **settings)
    if not hasattr(torch.optim, "Muon"):
        raise ConfigError(f"optimizer.kind=muon needs torch 2.9 or newer; this is {torch.__version__}.")
    matrices = [p for group in groups for p in group["params"] if p.ndim == 2 and group["decays"]]
    held = {id(p) for p in matrices}
    others = [{**group, "params": [p for p in group["params"] if id(p) not in held]} for group in groups]
    others = [group for group in others if group["params"]]
    return MuonAdamW(matrices, others, weight_decay=config.weight_decay, fused=fused, **settings)


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
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": weight_decay, "decays": True},
        {"params": others, "weight_decay": 0.0, "decays": False},
    ]
    return [group for group in groups if group["params"]]
