"""A reward model as one module: batch in, log-odds out, whatever the objective."""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from tinyrm.config import AdapterConfig, SpeedConfig, VerbalizerConfig
from tinyrm.model.adapters import Trainable, make_trainable
from tinyrm.model.backbone import quiet_transformers
from tinyrm.model.encoder import Encoder, at
from tinyrm.model.families import Family, verbalizer_rows
from tinyrm.prompting import TensorBatch


class RewardNet(nn.Module):
    """Backbone, adapter and head, with the log-odds that the chosen response is the better one.

    Frozen modules stay in eval mode whatever :meth:`train` says: their output for an input is a constant, which
    :meth:`prefix` gives and which a batch may hold in place of token ids (`hidden`, (rows, seqlen, d)).

    Args:
        trainable: the model and what of it is frozen.
        family: where its parts are.
        objective: 'cloze' or 'bradley_terry'.
        verbalizers: token ids of the words for option A and option B (cloze).
        freeze: how many layers are frozen.
        whole: run whole layers to the end, even where the head reads one position a row.
    """

    verbalizers: Tensor

    def __init__(
        self,
        trainable: Trainable,
        family: Family,
        objective: str,
        verbalizers: tuple[int, int],
        *,
        freeze: int = 0,
        whole: bool = False,
    ) -> None:
        super().__init__()
        self.freeze = freeze
        self.whole = whole
        self.model: PreTrainedModel | PeftModel = trainable.model
        self.family = family
        self.objective = objective
        self.register_buffer("verbalizers", torch.tensor(verbalizers), persistent=False)
        # Not registered as children: the same modules already are, below `model`.
        self.__dict__["base"] = trainable.base
        self.__dict__["frozen"] = trainable.frozen
        self.train(False)

    def train(self, mode: bool = True) -> RewardNet:
        super().train(mode)
        for module in self.__dict__["frozen"]:
            module.eval()
        return self

    def forward(self, batch: TensorBatch) -> Tensor:
        """Log-odds that the chosen response is better, (pairs,) float32; a batch of `tinyrm.prompting.encoding`."""
        return log_odds_of(torch.cat([self.scores(rows) for rows in batch["passes"]]), batch, self.objective)

    def scores(self, rows: dict[str, Tensor]) -> Tensor:
        """(rows,) what the head says of each row of a forward pass: log-odds of A against B, or a reward."""
        return self._cloze(rows) if self.objective == "cloze" else self._reward(rows)

    def _cloze(self, rows: dict[str, Tensor]) -> Tensor:
        """(rows,) log-odds of verbalizer A against B: only the mask position and two rows of the vocabulary matrix."""
        base = self.base_model
        position = rows["mask_position"]
        inputs = {name: value for name, value in rows.items() if name != "mask_position"}
        runner = self.runner
        if runner is None:
            masked = at(self.family.encoder_of(base)(**inputs)[0], position)
        else:
            masked = runner.run_at(inputs, self._start(rows), position)
        weight, bias = verbalizer_rows(base, self.verbalizers)
        logits = F.linear(self.family.transform(base, masked), weight, bias)
        return logits[:, 0] - logits[:, 1]

    def _reward(self, rows: dict[str, Tensor]) -> Tensor:
        """(rows,) scalar reward of each response."""
        runner = self.runner
        if runner is None:
            rewards: Tensor = self.base_model(**rows).logits[:, 0]
            return rewards
        assert self.family.reward is not None
        first = torch.zeros(rows["attention_mask"].shape[0], dtype=torch.long, device=rows["attention_mask"].device)
        return self.family.reward(self.base_model, runner.run_at(rows, self._start(rows), first))

    def _start(self, rows: dict[str, Tensor]) -> int:
        return self.freeze if "hidden" in rows else 0

    @property
    def runner(self) -> Encoder | None:
        """What runs the encoder layer by layer, where the head reads one position a row; None to run it whole."""
        if self.whole or not self._reads_one_position:
            return None
        return self.family.runner(self.base_model)

    @property
    def _reads_one_position(self) -> bool:
        if self.objective == "cloze":
            return True
        pooling = getattr(self.base_model.config, "classifier_pooling", "cls")
        return self.family.reward is not None and pooling == "cls"

    def prefix(self, rows: dict[str, Tensor], start: int = 0) -> Tensor:
        """(rows, seqlen, d): what comes out of the frozen layers, from layer `start` on (see :meth:`Encoder.run`)."""
        assert self.runner is not None
        return self.runner.run(rows, start, self.freeze)

    @property
    def base_model(self) -> PreTrainedModel:
        """The `transformers` model, adapters injected."""
        base: PreTrainedModel = self.__dict__["base"]
        return base

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return next(self.parameters()).device

    def trained_state(self) -> dict[str, Tensor]:
        """Name -> value of every trained parameter: all that a checkpoint must keep."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}


def build_net(
    model: PreTrainedModel,
    family: Family,
    *,
    objective: str,
    freeze: int,
    adapter: AdapterConfig,
    verbalizers: tuple[int, int],
    seed: int,
    speed: SpeedConfig | None = None,
) -> RewardNet:
    """Freeze and adapt a loaded model (changed in place) and wrap it; what is drawn anew comes from `seed`."""
    speed = SpeedConfig() if speed is None else speed
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(seed)
        trainable = make_trainable(
            model, family, objective=objective, freeze=freeze, adapter=adapter, fast_dora=speed.dora == "fast"
        )
    if speed.compile:
        for layer in family.layers_of(trainable.base)[freeze:]:
            layer.compile(dynamic=True)  # of any length: one graph for all batches
    whole = speed.last_layer == "whole"
    return RewardNet(trainable, family, objective, verbalizers, freeze=freeze, whole=whole)


def log_odds_of(scores: Tensor, batch: TensorBatch, objective: str) -> Tensor:
    """(rows of all passes,) scores of the rows of a batch -> (pairs,) float32, see :meth:`RewardNet.forward`."""
    ordered = scores.float()[batch["unsort"]]
    if objective == "cloze":
        signed: Tensor = ordered * batch["sign"]
        return signed
    chosen, rejected = ordered.chunk(2)
    return chosen - rejected


def pairwise_loss(log_odds: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean logistic loss of the verdicts, in nats.

    For cloze this is the cross-entropy over the two verbalizers; for Bradley-Terry the loss of Ouyang et al. 2022,
    eq. 1. The two objectives differ in how they come to their log-odds, not here.

    Args:
        log_odds: (n,) log-odds that the chosen response is better.
        label_smoothing: probability that a label is taken to be wrong, 0 to below 0.5.
    """
    target = torch.full_like(log_odds, 1 - label_smoothing)
    return F.binary_cross_entropy_with_logits(log_odds, target)


def verbalizer_ids(tokenizer: Any, words: VerbalizerConfig) -> tuple[int, int]:
    """The token ids of the words for option A and B, each of which is one token (the config rules check that)."""
    first, second = (tokenizer.convert_tokens_to_ids(tokenizer.tokenize(word)[0]) for word in (words.a, words.b))
    return int(first), int(second)
