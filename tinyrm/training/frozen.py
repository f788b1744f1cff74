"""Whether to store the output of the frozen layers for a run, and doing so."""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tinyrm.config import SpeedConfig
from tinyrm.model import PrefixStore, RewardNet
from tinyrm.model.prefix import bytes_of_a_token, operations_per_byte
from tinyrm.model.rowstore import amount

log = logging.getLogger(__name__)

_TIMES_READ = 1.25  # that a stored token must be, on average: below, what is saved is not worth the disk
# Operations that computing a byte must take for reading it to be several times as fast: on a CPU a core computes some
# 50 GFLOP/s and reads 1 GB/s or more; a GPU computes hundreds of TFLOP/s and is sent a few GB/s. Decided by numbers of
# the config alone: a choice by the clock would make one run round otherwise than the next.
_OPERATIONS_PER_BYTE = {"cpu": 500, "cuda": 200_000}


@dataclass(frozen=True)
class FrozenReads:
    """What a run reads of the frozen layers' output.

    Attributes:
        passes: makes the forward passes that hold every row at least once.
        distinct: tokens of all rows, each row once.
        reads: tokens over the whole run.
    """

    passes: Callable[[], Iterable[dict[str, Tensor]]]
    distinct: int
    reads: int


@dataclass(frozen=True)
class FrozenStore:
    """The settings of a run's store.

    Attributes:
        speed: the keys `speed.prefix*`.
        cache_dir: where the store lies.
        shared: whether other runs with the same data and backbone follow, as in a sweep.
        progress: show a bar.
    """

    speed: SpeedConfig
    cache_dir: str | Path
    shared: bool = False
    progress: str = "auto"

    def fill(
        self,
        net: RewardNet,
        reads: FrozenReads,
        *,
        precision: str,
        context: Callable[[], AbstractContextManager[Any]],
        stopped: Callable[[], bool] = lambda: False,
    ) -> PrefixStore | None:
        """The store with all that `reads` needs, computed now where it is missing; None where it does not pay.

        Args:
            net: on the device where it will run.
            precision, context: in which it runs, see :class:`PrefixStore`.
            stopped: asked between batches; what has been computed by then stays.
        """
        if not self._wanted(net, reads):
            return None
        speed = self.speed
        store = PrefixStore(
            self.cache_dir,
            net,
            precision=precision,
            context=context,
            dtype=speed.prefix_dtype,
            limit_gb=speed.prefix_gb,
        )
        needed = store.needed(itertools.takewhile(lambda _: not stopped(), reads.passes()))
        if needed.missing:
            log.info(
                "Storing the output of the %s frozen layers: %s tokens (%s), %s are there.",
                net.freeze,
                f"{needed.missing:,}",
                amount(needed.size),
                f"{needed.stored:,}",
            )
        shown = self.progress == "on" or (self.progress == "auto" and sys.stderr.isatty())
        filled = store.fill(needed, progress=shown, stopped=stopped)
        return store if filled or needed.stored else None

    def _wanted(self, net: RewardNet, reads: FrozenReads) -> bool:
        """Whether to store, by what is known before anything is read or computed."""
        speed = self.speed
        if speed.prefix == "off" or net.freeze == 0:
            return False
        if not PrefixStore.possible(net):
            if speed.prefix == "on":
                log.warning("speed.prefix=on: this model is only run whole, its frozen layers' output is not stored.")
            return False
        if speed.prefix == "auto":
            if not self.shared and reads.reads < _TIMES_READ * reads.distinct:
                return False
            device = next(net.parameters()).device.type
            needed = _OPERATIONS_PER_BYTE.get(device, _OPERATIONS_PER_BYTE["cuda"])
            if operations_per_byte(net, speed.prefix_dtype) <= needed:
                log.info("The output of %s frozen layers is computed as fast as it is read: not stored.", net.freeze)
                return False
        size = reads.distinct * bytes_of_a_token(net, speed.prefix_dtype)
        if size > speed.prefix_gb * 1e9:
            told = "The output of the %s frozen layers would take %s, speed.prefix_gb=%s: not stored."
            log.info(told, net.freeze, amount(size), speed.prefix_gb)
            return False
        return True
