"""Running a model over pairs: log-odds in both orders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from tinyrm.model import RewardNet
from tinyrm.prompting import EncodedPairs, TensorBatch
from tinyrm.training import FrozenStore, ScoreStream
from tinyrm.types import PairScores


def score(
    net: RewardNet,
    pairs: EncodedPairs,
    *,
    batch_tokens: int,
    precision: str = "32-true",
    progress: bool = False,
    frozen: FrozenStore | None = None,
) -> PairScores:
    """Score every pair in both orders, with the model on the device where it is.

    Args:
        net: in eval mode here, whatever it was.
        pairs: n encoded pairs.
        batch_tokens: tokens of one batch.
        precision: Lightning's name of it; 'bf16-mixed' and '16-mixed' run under autocast.
        progress: show a bar on stderr.
        frozen: take the output of the frozen layers from a store, where other runs score the same pairs.
    """
    stream = ScoreStream(pairs, batch_tokens)
    chosen_first = np.zeros(len(pairs))
    chosen_second = np.zeros(len(pairs))
    device = next(net.parameters()).device
    net.eval()
    if frozen is not None:
        reads = stream.frozen_reads()
        stream.prefix = frozen.fill(net, reads, precision=precision, context=lambda: _autocast(device, precision))
    shown = track(stream, "scoring", len(stream), console=Console(stderr=True), disable=not progress)
    with torch.inference_mode(), _autocast(device, precision):
        for indices, batch in zip(stream.batches, shown, strict=True):
            both = net(_to(batch, device)).double().cpu().numpy().reshape(stream.orders, -1)
            chosen_first[indices], chosen_second[indices] = both[0], both[-1]
    return PairScores(chosen_first, chosen_second, pairs.truncated, pairs.lengths.sum(axis=1))


def _to(batch: TensorBatch, device: torch.device) -> TensorBatch:
    moved: TensorBatch = {key: value.to(device) for key, value in batch.items() if key != "passes"}
    moved["passes"] = [{key: value.to(device) for key, value in rows.items()} for rows in batch["passes"]]
    return moved


@contextlib.contextmanager
def _autocast(device: torch.device, precision: str) -> Iterator[None]:
    dtypes = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    if precision not in dtypes:
        yield
        return
    with torch.autocast(device.type, dtypes[precision]):
        yield
