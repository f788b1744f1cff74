"""How a merged model scores pairs: what `evaluation.backend` comes to on this machine.

| backend   | computes                                                              | where        |
| --------- | --------------------------------------------------------------------- | ------------ |
| `auto`    | in training's precision on a GPU or where that was asked for; float32 | GPU, CPU     |
| `float32` | with torch                                                            | GPU, CPU     |
| `bf16`    | with torch, under autocast                                            | GPU, CPU     |
| `int8`    | the linear layers in int8, the rest in float32, with torch            | CPU          |
| `onnx`    | float32, with ONNX Runtime                                            | CPU          |
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tinyrm.config import TrainerConfig
from tinyrm.errors import ModelError
from tinyrm.model import OnnxNet, RewardNet, can_multiply_int8, int8_net, need_onnx
from tinyrm.prompting import EncodedPairs
from tinyrm.training import can_multiply_bf16

log = logging.getLogger(__name__)

_ON_CPU = ("int8", "onnx")


@dataclass(frozen=True)
class Backend:
    """What scores.

    Attributes:
        name: 'torch', 'int8' or 'onnx'.
        precision: Lightning's name of it; 'int8' is 32-true but for its linear layers.
        device: 'cpu' or 'cuda'.
    """

    name: str
    precision: str
    device: str

    def ready(self, net: RewardNet, pairs: EncodedPairs, cache_dir: str | Path) -> RewardNet | OnnxNet:
        """What to hand to :func:`tinyrm.evaluation.scoring.score`.

        Args:
            net: merged; it may be moved to the device, and is otherwise left as it is.
            pairs: what will be scored; at least one.
            cache_dir: where exported graphs are kept.

        Raises:
            ModelError: this model cannot be exported.
        """
        net = net.to(self.device)
        if self.name == "int8":
            return int8_net(net)
        if self.name == "onnx":
            shortest = int(np.argmin(pairs.lengths.max(axis=1)))  # which leaves room to check that length is free
            return OnnxNet(net, pairs.collate([shortest], [True])["passes"][0], cache_dir)
        return net


def check_backend(name: str) -> None:
    """Raise where `evaluation.backend=name` cannot be had here: before anything is trained.

    Raises:
        ModelError: a package is missing, or the processor lacks what it takes.
    """
    if name == "onnx":
        need_onnx()
    if name == "int8" and not can_multiply_int8():
        raise ModelError(
            "evaluation.backend=int8 needs a CPU with AVX512-VNNI, which this one lacks (its sums would overflow): use "
            "float32, bf16 or onnx."
        )


def choose_backend(name: str, trainer: TrainerConfig | None = None, trained: str = "32-true") -> Backend:
    """What `evaluation.backend=name` comes to.

    Args:
        trainer: of the run, whose accelerator and precision `auto` follows; None: any device, float32.
        trained: the precision that training had, in Lightning's words.

    Raises:
        ModelError: see :func:`check_backend`.
    """
    check_backend(name)
    config = TrainerConfig() if trainer is None else trainer
    on_gpu = name not in _ON_CPU and config.accelerator != "cpu" and torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    if name in _ON_CPU:
        return Backend(name, "32-true", device)
    if name == "bf16":
        if not on_gpu and not can_multiply_bf16():
            log.warning("evaluation.backend=bf16: this CPU emulates bf16, slower than float32.")
        return Backend("torch", "bf16-mixed", device)
    # What is reported must not depend on whether this CPU has bf16, unless it was asked for.
    as_trained = trainer is not None and name == "auto" and (on_gpu or config.precision != "auto")
    return Backend("torch", trained if as_trained else "32-true", device)
