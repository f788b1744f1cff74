"""Pretraining: masked tokens of packed text, and answer tokens in the cloze form, in one stream."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tinyrm.config import AnswersConfig, LoopConfig, MaskingConfig, OptimizerConfig
from tinyrm.data.batching import epoch_plan, sorted_plan
from tinyrm.model import MaskedNet
from tinyrm.prompting import EncodedPairs, TensorBatch
from tinyrm.training.datamodule import StreamModule, option_order
from tinyrm.training.packing import TextTokens, masked_rows
from tinyrm.training.trained import TrainedModule

_LOST = 0.01  # of the steps (one at least), for the sake of the number of evaluations that was asked for


class MaskedLM(TrainedModule):
    """Trains a :class:`MaskedNet`: cross-entropy over the vocabulary at each place that is asked for, in nats.

    Args:
        net: the model.
        words: token ids of the two verbalizers.
        optimizer, steps, seed, fused: see :class:`TrainedModule`.
    """

    unit = "tokens"
    reported = ("loss", "answers")
    shown = "loss"

    def __init__(
        self,
        net: MaskedNet,
        words: tuple[int, int],
        optimizer: OptimizerConfig,
        *,
        steps: int,
        seed: int,
        fused: bool = True,
    ) -> None:
        super().__init__(net, optimizer, steps=steps, seed=seed, fused=fused)
        self.words = words
        self._right = 0  # of the evaluation that runs: answers that were right, and how many were asked for
        self._asked = 0

    def training_step(self, batch: TensorBatch, batch_idx: int) -> Tensor:
        logits = self.net(batch)
        loss = self.checked(F.cross_entropy(logits, batch["targets"]))
        self.log("train/loss", loss, batch_size=len(logits), prog_bar=True)
        if "signs" in batch:
            self.log("train/answer_loss", loss, batch_size=len(logits))
        return loss

    def on_validation_epoch_start(self) -> None:
        self._right = self._asked = 0

    def validation_step(self, batch: TensorBatch, batch_idx: int) -> None:
        logits = self.net(batch)
        if "signs" in batch:
            margins = logits[:, self.words[0]] - logits[:, self.words[1]]
            self._right += int(((margins > 0) == (batch["signs"] > 0)).sum())
            self._asked += len(margins)
        else:
            loss = F.cross_entropy(logits, batch["targets"])
            self.log("dev/loss", loss, on_epoch=True, batch_size=len(logits), sync_dist=True, prog_bar=True)

    def on_validation_epoch_end(self) -> None:
        counts = self.trainer.strategy.reduce(
            torch.tensor([self._right, self._asked], dtype=torch.float64), reduce_op="sum"
        )
        if counts[1]:
            self.log("dev/answers", float(counts[0] / counts[1]))

    def count(self, batch: TensorBatch) -> dict[str, int]:
        shown = [rows.get("attention_mask", torch.ones_like(rows["input_ids"])) for rows in batch["passes"]]
        return {"pairs": len(batch.get("signs", ())), "tokens": sum(int(mask.sum()) for mask in shown)}

    def judge(self, evaluation: dict[str, float]) -> float:
        return evaluation["step"]  # the last: the loss of plain masking rises a little while answers are learnt


@dataclass(frozen=True)
class Answers:
    """Pairs in the cloze form, under one template each.

    Attributes:
        asked: questions, by template.
        compared: passages, by template.
    """

    asked: tuple[EncodedPairs, ...]
    compared: tuple[EncodedPairs, ...]


@dataclass(frozen=True)
class _Batch:
    """One batch of the plan: rows of packed text, or pairs of a set with a template."""

    index: NDArray[np.int64]
    length: int = 0  # of packed rows; 0 for pairs
    rate: float = 0.0
    epoch: int = 0  # of the text, or of the pairs
    pairs: EncodedPairs | None = None


class PretrainingData(StreamModule):
    """The batches of a pretraining.

    Args:
        text, dev_text: to learn from, and held out.
        answers: pairs to learn from; where the mix has none of a kind, the other kind takes its share.
        dev_answers: pairs held out.
        words: token ids of the two verbalizers.
        mlm, sft: the two stages.
        config: budget of a batch, accumulation.
        seed: of every choice.
        evaluations: of the held-out text and pairs, at most.
        heldout_rate: share of the held-out tokens to predict.
    """

    def __init__(
        self,
        text: TextTokens,
        dev_text: TextTokens,
        answers: Answers,
        dev_answers: Sequence[EncodedPairs],
        words: tuple[int, int],
        mlm: MaskingConfig,
        sft: AnswersConfig,
        config: LoopConfig,
        *,
        seed: int,
        evaluations: int,
        heldout_rate: float,
    ) -> None:
        super().__init__(config)
        self.text, self.dev_text, self.dev_answers, self.words = text, dev_text, tuple(dev_answers), words
        self.seed, self.heldout_rate = seed, heldout_rate
        self.dev_length = mlm.length if mlm.tokens else sft.length
        self._rows: dict[tuple[int, int], NDArray[np.int64]] = {}  # (length, epoch) -> rows; one is kept
        plan = list(self._masking(mlm.tokens, mlm.length, mlm.rate))
        if sft.tokens:
            plan += self._mixed(sft, mlm.rate, answers, epoch=plan[-1].epoch + 1 if plan else 0)
        steps = max(1, len(plan) // (config.devices * config.accumulate))
        # The last evaluation must follow the last step, for its weights are kept: rather fewer of them than steps lost.
        looks = range(min(evaluations, steps), 0, -1)
        self._looks = next(count for count in looks if steps % count <= max(1, steps * _LOST))
        steps -= steps % self._looks
        self.plan = plan[: steps * config.devices * config.accumulate]

    @property
    def batches(self) -> int:
        return len(self.plan) // self.config.devices

    @property
    def batches_per_epoch(self) -> int:
        return self.batches

    @property
    def evaluate_every(self) -> int:
        return self.batches // self._looks

    def train_dataloader(self) -> Any:
        rank, world = self.place()
        return _Stream(self, rank, world)

    def val_dataloader(self) -> Any:
        rank, world = self.place()
        return _Heldout(self, rank, world)

    def heldout_text(self) -> Iterator[TensorBatch]:
        """The held-out text, in batches with fixed masks."""
        held = _Heldout(self, 0, 1)
        return (held.masked(start) for start in held.starts)

    def heldout_rows(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The same as (n, length) token ids, and which of them are asked for."""
        held = _Heldout(self, 0, 1)
        flags = np.zeros(held.rows.shape, bool)
        for start in held.starts:
            part = flags[start : start + held.starts.step].reshape(-1)
            part[held.masked(start)["passes"][0]["places"].numpy()] = True
        return held.rows, flags

    def make(self, position: int) -> TensorBatch:
        """The batch at one position of the plan; the same whenever it is asked for."""
        batch = self.plan[position]
        if batch.pairs is not None:
            first = option_order(len(batch.pairs), seed=self.seed, epoch=batch.epoch)[batch.index]
            return answer_batch(batch.pairs, batch.index, first, self.words)
        draw = np.random.default_rng([self.seed, position, 3])
        rows = self._packed(batch.length, batch.epoch)[batch.index]
        return masked_rows(rows, batch.rate, self.text.tokenizer, draw)

    def _masking(self, tokens: int, length: int, rate: float, epoch: int = 0) -> Iterator[_Batch]:
        """Batches of packed text that show about this many tokens."""
        per_batch, wanted = max(1, self.config.batch_tokens // length), math.ceil(tokens / self.config.batch_tokens)
        while wanted:
            rows = len(self._packed(length, epoch))
            for start in range(0, max(1, rows - per_batch + 1), per_batch):
                yield _Batch(np.arange(start, min(rows, start + per_batch)), length, rate, epoch)
                wanted -= 1
                if not wanted:
                    return
            epoch += 1

    def _mixed(self, sft: AnswersConfig, rate: float, answers: Answers, epoch: int) -> list[_Batch]:
        """The second stage: each batch masked text, questions or passages, drawn by their shares."""
        sources = {
            "plain": self._masking(sft.tokens, sft.length, rate, epoch),
            "asked": self._asking(answers.asked),
            "compared": self._asking(answers.compared),
        }
        asked = sft.question_share if answers.compared else 1.0
        asked = asked if answers.asked else 0.0
        cloze = 1 - sft.plain_share if answers.asked or answers.compared else 0.0
        shares = [1 - cloze, cloze * asked, cloze * (1 - asked)]
        count = max(1, sft.tokens // self.config.batch_tokens)
        kinds = np.random.default_rng([self.seed, 4]).choice(3, size=count, p=shares)
        return [next(list(sources.values())[kind]) for kind in kinds]

    def _asking(self, sets: Sequence[EncodedPairs]) -> Iterator[_Batch]:
        """Batches of pairs, one template after another, over and over."""
        epoch = 0
        while sets:
            plans = [epoch_plan(pairs.lengths, self.config.batch_tokens, seed=self.seed, epoch=epoch) for pairs in sets]
            for number in range(max(len(plan.batches) for plan in plans)):
                for pairs, plan in zip(sets, plans, strict=True):
                    if number < len(plan.batches):
                        yield _Batch(plan.batches[number], epoch=epoch, pairs=pairs)
            epoch += 1

    def _packed(self, length: int, epoch: int) -> NDArray[np.int64]:
        if (length, epoch) not in self._rows:
            self._rows = {(length, epoch): self.text.rows(length, seed=self.seed, epoch=epoch)}
        return self._rows[length, epoch]


class _Stream:
    """The training batches of one process; its state is a position."""

    def __init__(self, data: PretrainingData, rank: int, world: int) -> None:
        self.data, self.rank, self.world = data, rank, world
        self._position = self._resume_at = 0

    def __len__(self) -> int:
        return self.data.batches

    def __iter__(self) -> Iterator[TensorBatch]:
        self._position, self._resume_at = self._resume_at, 0
        while self._position < len(self):
            position = self._position * self.world + self.rank
            self._position += 1
            yield self.data.make(position)

    def state_dict(self) -> dict[str, int]:
        return {"position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._resume_at = state["position"]


class _Heldout:
    """Held-out text with fixed masks, and held-out pairs in both orders, for one process."""

    def __init__(self, data: PretrainingData, rank: int, world: int) -> None:
        self.data, self.rank, self.world = data, rank, world
        self.rows = data.dev_text.rows(data.dev_length, seed=0, epoch=0)
        per_batch = max(1, data.config.batch_tokens // data.dev_length)
        self.starts = range(0, len(self.rows), per_batch)
        self.plans = [sorted_plan(pairs.lengths, data.config.batch_tokens).batches for pairs in data.dev_answers]
        self.total = len(self.starts) + 2 * sum(map(len, self.plans))

    def __len__(self) -> int:
        return len(range(self.rank, self.total, self.world))

    def __iter__(self) -> Iterator[TensorBatch]:
        for number, make in enumerate(self._all()):
            if number % self.world == self.rank:
                yield make()

    def _all(self) -> Iterator[Callable[[], TensorBatch]]:
        for start in self.starts:
            yield partial(self.masked, start)
        for pairs, plan in zip(self.data.dev_answers, self.plans, strict=True):
            for index in plan:
                for first in (True, False):
                    yield partial(answer_batch, pairs, index, np.full(len(index), first), self.data.words)

    def masked(self, start: int) -> TensorBatch:
        """The rows from `start` on; always the same masks."""
        data, rows = self.data, self.rows[start : start + self.starts.step]
        draw = np.random.default_rng([start, 5])
        return masked_rows(rows, data.heldout_rate, data.dev_text.tokenizer, draw, always=True)


def answer_batch(
    pairs: EncodedPairs, index: NDArray[np.int64], first: NDArray[np.bool_], words: tuple[int, int]
) -> TensorBatch:
    """A batch (see :class:`MaskedNet`) that asks which option is better, its targets the verbalizers.

    `signs` (pairs,) is beside them: +1 where the chosen response is option A, else -1.
    """
    batch = pairs.collate(index.tolist(), first.tolist())
    passes = []
    for rows in batch["passes"]:
        length = rows["input_ids"].shape[1]
        places = torch.arange(len(rows["input_ids"])) * length + rows["mask_position"]
        passes.append({"input_ids": rows["input_ids"], "attention_mask": rows["attention_mask"], "places": places})
    signs = batch["sign"][torch.argsort(batch["unsort"])]
    targets = torch.where(signs > 0, words[0], words[1])
    return {"passes": passes, "targets": targets, "signs": signs}
