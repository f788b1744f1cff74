"""Batches for Lightning: a stream that any process can take up at any position."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import lightning as L
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tinyrm.config import LoopConfig, TrainerConfig
from tinyrm.data.batching import Plan, sorted_plan, training_plans
from tinyrm.model import PrefixStore
from tinyrm.prompting import EncodedPairs, TensorBatch
from tinyrm.training.frozen import FrozenReads


class TrainStream:
    """All training batches of a run, epoch after epoch, for one of `world` processes.

    The stream is a pure function of the seed, so its state is a position. Lightning saves and restores it through
    `state_dict`, and a resumed run sees exactly the batches that are left.
    """

    def __init__(
        self,
        pairs: EncodedPairs,
        plans: tuple[Plan, ...],
        *,
        seed: int,
        rank: int,
        world: int,
        both_orders: bool = False,
        prefix: PrefixStore | None = None,
    ) -> None:
        self.pairs = pairs
        self.both_orders = both_orders
        self.prefix = prefix
        self.plans = plans
        self.seed = seed
        self.rank = rank
        self.world = world
        self._batches = [(epoch, batch) for epoch, plan in enumerate(plans) for batch in plan.batches]
        self._position = 0
        self._resume_at = 0

    def __len__(self) -> int:
        return len(self._batches) // self.world

    def __iter__(self) -> Iterator[TensorBatch]:
        self._position, self._resume_at = self._resume_at, 0
        orders: tuple[int, NDArray[np.bool_]] | None = None
        while self._position < len(self):
            epoch, batch = self._batches[self._position * self.world + self.rank]
            if orders is None or orders[0] != epoch:
                orders = (epoch, option_order(len(self.pairs), seed=self.seed, epoch=epoch))
            self._position += 1
            if self.both_orders:
                made = in_both_orders(self.pairs, batch)
            else:
                made = self.pairs.collate(batch.tolist(), orders[1][batch].tolist())
            yield made if self.prefix is None else self.prefix.attach(made)

    def state_dict(self) -> dict[str, int]:
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._resume_at = state["position"]


class ScoreStream:
    """Every pair in both orders, in batches of like length, for one of `world` processes.

    A batch holds some pairs with the chosen response first and then the same pairs with it second.
    """

    def __init__(
        self,
        pairs: EncodedPairs,
        batch_tokens: int,
        *,
        rank: int = 0,
        world: int = 1,
        prefix: PrefixStore | None = None,
    ) -> None:
        self.pairs = pairs
        self.prefix = prefix
        # Both orders share a batch; objectives that see one response alone need only one.
        self.orders = 2 if pairs.rows_per_pair == 1 else 1
        self.batches = sorted_plan(pairs.lengths, batch_tokens // self.orders, at_least=world).batches[rank::world]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[TensorBatch]:
        for batch in self.batches:
            made = in_both_orders(self.pairs, batch)
            yield made if self.prefix is None else self.prefix.attach(made)

    def frozen_reads(self, times: int = 1) -> FrozenReads:
        """What scoring these pairs `times` times reads of the frozen layers' output."""
        tokens = int(self.pairs.lengths.sum()) * self.orders
        return FrozenReads(lambda: (rows for batch in self for rows in batch["passes"]), tokens, tokens * times)


def in_both_orders(pairs: EncodedPairs, batch: NDArray[np.int64]) -> TensorBatch:
    """The pairs of `batch` with the chosen response first, then the same pairs with it second.

    Objectives that see one response alone have no order: for them each pair stands once.
    """
    if pairs.rows_per_pair == 2:
        return pairs.collate(batch.tolist(), [True] * len(batch))
    return pairs.collate(batch.tolist() * 2, [True] * len(batch) + [False] * len(batch))


def option_order(pairs: int, *, seed: int, epoch: int) -> NDArray[np.bool_]:
    """(pairs,) whether each pair's chosen response is shown as option A in this epoch."""
    return np.random.default_rng([seed, epoch, 1]).random(pairs) < 0.5


class StreamModule(L.LightningDataModule):
    """Batches of one run as a stream, of which every position is known beforehand.

    Args:
        config: budget, accumulation, devices.
    """

    def __init__(self, config: LoopConfig) -> None:
        super().__init__()
        self.config = config

    @property
    @abstractmethod
    def batches(self) -> int:
        """Forward passes one process makes in the whole run."""

    @property
    @abstractmethod
    def batches_per_epoch(self) -> int:
        """Forward passes one process makes while it sees everything once; what epochs are counted in."""

    @property
    @abstractmethod
    def evaluate_every(self) -> int:
        """Forward passes of one process between two evaluations of dev."""

    @property
    def optimizer_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return math.ceil(self.batches / self.config.accumulate)

    def place(self) -> tuple[int, int]:
        """Which process this is, of how many."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


class PairDataModule(StreamModule):
    """Training and dev batches of one run.

    Args:
        train, dev: encoded pairs.
        config: budget, accumulation, evaluations.
        seed: of order and composition.
        both_orders: train on both orders of each pair at once.
    """

    def __init__(
        self, train: EncodedPairs, dev: EncodedPairs, config: TrainerConfig, seed: int, *, both_orders: bool = False
    ) -> None:
        super().__init__(config)
        self.both_orders = both_orders and train.rows_per_pair == 1
        self.prefix: PrefixStore | None = None  # of the frozen layers, where it is filled
        self.train_pairs = train
        self.dev_pairs = dev
        self.seed = seed
        self.evaluations_per_epoch = config.evaluations_per_epoch
        self.plans = training_plans(
            train.lengths,
            config.batch_tokens // (2 if self.both_orders else 1),
            seed=seed,
            epochs=config.epochs,
            multiple=config.processes * config.accumulate * config.evaluations_per_epoch,
            max_pairs=config.batch_pairs,
        )

    @property
    def batches_per_epoch(self) -> int:
        return len(self.plans[0].batches) // self.config.processes

    @property
    def batches(self) -> int:
        return self.batches_per_epoch * len(self.plans)

    @property
    def evaluate_every(self) -> int:
        return self.batches_per_epoch // self.evaluations_per_epoch

    @property
    def padding(self) -> float:
        """Share of padding in what the model sees over all epochs."""
        return 1 - sum(p.tokens for p in self.plans) / sum(p.padded_tokens for p in self.plans)

    def train_dataloader(self) -> Any:
        rank, world = self.place()
        return self._train_stream(self.plans, rank, world, self.prefix)

    def val_dataloader(self) -> Any:
        rank, world = self.place()
        return ScoreStream(self.dev_pairs, self.config.batch_tokens, rank=rank, world=world, prefix=self.prefix)

    def frozen_reads(self) -> FrozenReads:
        """What training in one process reads of the frozen layers' output, its evaluations of dev included."""
        epochs, dev = len(self.plans), ScoreStream(self.dev_pairs, self.config.batch_tokens)
        tokens = int(self.train_pairs.lengths.sum()) * (2 if self.both_orders else 1)
        # Drawn orders differ from epoch to epoch; half of an epoch's rows have been there in the one before.
        drawn = not self.both_orders and self.train_pairs.rows_per_pair == 1
        distinct = tokens * (2 - 0.5 ** (epochs - 1)) if drawn else tokens
        scored = dev.frozen_reads(times=epochs * self.evaluations_per_epoch)

        def passes() -> Iterator[dict[str, Tensor]]:
            stream = self._train_stream(self.plans if drawn else self.plans[:1], 0, 1, None)
            yield from (rows for batch in stream for rows in batch["passes"])
            yield from scored.passes()

        return FrozenReads(passes, int(distinct) + scored.distinct, tokens * epochs + scored.reads)

    def _train_stream(self, plans: tuple[Plan, ...], rank: int, world: int, prefix: PrefixStore | None) -> TrainStream:
        return TrainStream(
            self.train_pairs,
            plans,
            seed=self.seed,
            rank=rank,
            world=world,
            both_orders=self.both_orders,
            prefix=prefix,
        )
