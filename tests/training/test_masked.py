"""Pretraining's batches and loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tinyrm.config import (
    AnswersConfig,
    LoopConfig,
    MaskingConfig,
    ModelConfig,
    OptimizerConfig,
    PassagesConfig,
    VerbalizerConfig,
    prompt_choice,
)
from tinyrm.data.comparisons import passage_pairs
from tinyrm.data.corpus import Document
from tinyrm.model import Backbone, MaskedNet, find_backbone, load_weights, verbalizer_ids
from tinyrm.prompting import EncodedPairs, Layout, tokenize
from tinyrm.training.masked import Answers, MaskedLM, PretrainingData, answer_batch
from tinyrm.training.packing import TextTokens, masked_rows
from tinyrm.training.trained import make_optimizer, parameter_groups

SHAPES = {
    "bert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "modernbert": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48},
}
TEXTS = [" ".join(f"Text {i} tells of {i + j} things, and then it ends here." for j in range(12)) for i in range(40)]


def backbone(kind: str = "modernbert") -> Backbone:
    return find_backbone(ModelConfig(id="small", source="random", shape={"model_type": kind, **SHAPES[kind]}))


def pairs_of(found: Backbone, count: int = 24) -> EncodedPairs:
    layout = Layout.of("cloze", prompt_choice("terse"), found.tokenizer, found.segment_types)
    made = passage_pairs([Document(t) for t in TEXTS], count, seed=0, passages=PassagesConfig())
    return layout.bind(tokenize(made, found.tokenizer, spaced=layout.spaced))


def words(found: Backbone) -> tuple[int, int]:
    return verbalizer_ids(found.tokenizer, VerbalizerConfig())


def data(sft_tokens: int = 4000, **changes: object) -> PretrainingData:
    found = backbone()
    text, pairs = TextTokens.of(TEXTS, found.tokenizer), pairs_of(found)
    settings: dict[str, object] = {"seed": 0, "evaluations": 2, "heldout_rate": 0.15, **changes}
    return PretrainingData(
        *(text, TextTokens.of(TEXTS[:6], found.tokenizer)),
        *(Answers((pairs,), (pairs,)), [pairs], words(found)),
        *(MaskingConfig(tokens=6000, length=64, rate=0.3), AnswersConfig(tokens=sft_tokens, length=128)),
        LoopConfig(batch_tokens=512),
        **settings,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_the_logits_are_those_of_the_whole_model(kind: str) -> None:
    found = backbone(kind)
    model = load_weights(found, "cloze", seed=0)
    text = TextTokens.of(TEXTS, found.tokenizer)
    batch = masked_rows(text.rows(48, seed=0, epoch=0)[:5], 0.3, found.tokenizer, np.random.default_rng(0))
    rows = batch["passes"][0]
    with torch.no_grad():
        ours = MaskedNet(model, found.family)(batch)
        whole = model(input_ids=rows["input_ids"]).logits.flatten(0, 1)[rows["places"]]
    torch.testing.assert_close(ours, whole)


def test_an_answer_batch_asks_for_the_verbalizer_at_the_mask() -> None:
    found = backbone()
    pairs, ids = pairs_of(found), words(found)
    first = np.arange(24) % 3 > 0
    batch = answer_batch(pairs, np.arange(24), first, ids)
    assert len(batch["targets"]) == 24 and {*batch["targets"].tolist()} == {*ids}
    assert ((batch["signs"] > 0) == (batch["targets"] == ids[0])).all()
    assert int((batch["signs"] > 0).sum()) == int(first.sum())
    done = 0
    plain = pairs.collate(list(range(24)), first.tolist())
    signs = plain["sign"][torch.argsort(plain["unsort"])]
    for rows in batch["passes"]:
        at = rows["input_ids"].flatten()[rows["places"]]
        assert (at == found.tokenizer.mask_token_id).all()
        done += len(at)
    assert done == 24 and (batch["signs"] == signs).all()


class TestPlan:
    def test_it_shows_about_the_tokens_it_is_told_to(self) -> None:
        made = data()
        masked = [b for b in made.plan if b.length == 64]
        assert len(masked) == math.ceil(6000 / 512)
        assert 0 <= 4000 // 512 - (len(made.plan) - len(masked)) <= 1  # for the evaluations
        assert {b.pairs is None for b in made.plan[len(masked) :]} == {True, False}  # a mix

    @pytest.mark.parametrize("evaluations", [1, 2, 3, 5, 1000])
    def test_the_last_evaluation_follows_the_last_step(self, evaluations: int) -> None:
        made = data(evaluations=evaluations)
        assert made.batches % made.evaluate_every == 0
        assert made.batches // made.evaluate_every <= evaluations
        assert made.batches >= 12 + 7 - 1

    def test_a_batch_is_the_same_whenever_it_is_asked_for(self) -> None:
        one, two = data(), data()
        for position in (0, 5, len(one.plan) - 1):
            a, b = one.make(position), two.make(position)
            assert torch.equal(a["targets"], b["targets"])
            assert all(
                torch.equal(x["input_ids"], y["input_ids"]) for x, y in zip(a["passes"], b["passes"], strict=True)
            )

    def test_without_the_second_stage_there_are_no_answers(self) -> None:
        assert all(b.pairs is None for b in data(sft_tokens=0).plan)

    def test_held_out_text_is_asked_for_at_the_same_places_each_time(self) -> None:
        made = data()
        rows, flags = made.heldout_rows()
        targets = torch.cat([batch["targets"] for batch in made.heldout_text()])
        assert (rows[flags] == targets.numpy()).all()
        assert flags.mean() == pytest.approx(0.15, abs=0.04)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_few_steps_learn_and_an_optimizer_goes_on_from_its_state(kind: str) -> None:
    made, found = data(), backbone()
    config = OptimizerConfig(kind=kind, lr=5e-3)

    def steps(net: MaskedNet, optimizer: torch.optim.Optimizer, positions: range) -> list[float]:
        losses = []
        for position in positions:
            batch = made.make(position % 4)
            loss = F.cross_entropy(net(batch), batch["targets"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses

    def fresh() -> tuple[MaskedNet, torch.optim.Optimizer]:
        net = MaskedNet(load_weights(found, "cloze", seed=0), found.family)
        return net, make_optimizer(parameter_groups(net, 0.01), config, fused=True)

    net, optimizer = fresh()
    losses = steps(net, optimizer, range(12))
    assert losses[-1] < losses[0] - 0.5
    half, first = fresh()
    steps(half, first, range(6))
    resumed, second = fresh()
    resumed.load_state_dict(half.state_dict())
    second.load_state_dict(first.state_dict())
    steps(resumed, second, range(6, 12))
    for (name, a), (_, b) in zip(net.named_parameters(), resumed.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_a_schedule_moves_both_parts_of_muon() -> None:
    net = MaskedNet(load_weights(backbone(), "cloze", seed=0), backbone().family)
    optimizer = make_optimizer(parameter_groups(net, 0.01), OptimizerConfig(kind="muon", lr=1.0), fused=False)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    optimizer.step()
    scheduler.step()
    assert {group["lr"] for part in optimizer.parts for group in part.param_groups} == {0.5}  # type: ignore[attr-defined]
    matrices = optimizer.parts[0].param_groups[0]["params"]  # type: ignore[attr-defined]
    assert matrices and all(p.ndim == 2 for p in matrices)


def test_the_last_weights_are_kept() -> None:
    module = MaskedLM(
        MaskedNet(load_weights(backbone(), "cloze", seed=0), backbone().family),
        (1, 2),
        OptimizerConfig(),
        steps=1,
        seed=0,
    )
    assert module.judge({"step": 10, "loss": 3.0}) > module.judge({"step": 5, "loss": 2.0})
