"""Running a model over pairs: log-odds in both orders."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from tinyrm.model import OnnxNet, RewardNet, SharedPrefix
from tinyrm.prompting import EncodedPairs, to_device
from tinyrm.training import FrozenStore, ScoreStream
from tinyrm.types import PairScores


def score(
    net: RewardNet | OnnxNet,
    pairs: EncodedPairs,
    *,
    batch_tokens: int,
    precision: str = "32-true",
    progress: bool = False,
    frozen: FrozenStore | None = None,
    shared: SharedPrefix | None = None,
) -> PairScores:
    """Score every pair in both orders, with the model on the device where it is.

    Args:
        net: of :meth:`Backend.ready`, or any other; in eval mode here, whatever it was.
        pairs: n encoded pairs.
        batch_tokens: tokens of one batch.
        precision: Lightning's name of it; 'bf16-mixed' and '16-mixed' run under autocast.
        progress: show a bar on stderr.
        frozen: take the output of the frozen layers from a store, where other runs score the same pairs.
        shared: what it shares in memory with nets that score the same pairs beside it, to which it passes the turn.
    """
    stream = ScoreStream(pairs, batch_tokens)
    chosen_first = np.zeros(len(pairs))
    chosen_second = np.zeros(len(pairs))
    device = net.device
    net.eval()
    if frozen is not None and isinstance(net, RewardNet):
        reads = stream.frozen_reads()
        stream.prefix = frozen.fill(net, reads, precision=precision, context=lambda: _autocast(device, precision))
    passes = shared.of(net, precision) if shared is not None and isinstance(net, RewardNet) else None
    shown = track(stream, "scoring", len(stream), console=Console(stderr=True), disable=not progress)
    with torch.inference_mode(), _autocast(device, precision):
        # Read at the end: what a GPU has been given last is not waited for while the next batch is made.
        scored = []
        for batch in shown:
            if passes is None:
                scored.append(net(to_device(batch, device)))
            else:
                scored.append(net(passes.attach(to_device(passes.named(batch), device))))
            if shared is not None:
                shared.pass_on()
    for indices, log_odds in zip(stream.batches, scored, strict=True):
        both = log_odds.double().cpu().numpy().reshape(stream.orders, -1)
        chosen_first[indices], chosen_second[indices] = both[0], both[-1]
    return PairScores(chosen_first, chosen_second, pairs.truncated, pairs.lengths.sum(axis=1))


@contextlib.contextmanager
def _autocast(device: torch.device, precision: str) -> Iterator[None]:
    dtypes = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    if precision not in dtypes:
        yield
        return
    with torch.autocast(device.type, dtypes[precision]):
        yield
