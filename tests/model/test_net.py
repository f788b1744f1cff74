"""The short way to the log-odds gives what the whole model gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from tinyrm.config import VerbalizerConfig
from tinyrm.model import RewardNet, merged_net, pairwise_loss, verbalizer_ids

FAMILIES = ("bert", "roberta", "deberta-v2", "modernbert")


def segment_types(net: RewardNet) -> int:
    return int(getattr(net.base_model.config, "type_vocab_size", 0) or 0)


def full_log_odds(net: RewardNet, batch: dict[str, Any]) -> torch.Tensor:
    """Through the whole `transformers` model: all logits of all positions."""
    a, b = net.verbalizers.tolist()
    odds = []
    for rows in batch["passes"]:
        inputs = {name: value for name, value in rows.items() if name != "mask_position"}
        logits = net.base_model(**inputs).logits
        at_mask = logits[torch.arange(len(logits)), rows["mask_position"]]
        odds.append(at_mask[:, a] - at_mask[:, b])
    return torch.cat(odds)[batch["unsort"]] * batch["sign"]


@pytest.mark.parametrize("kind", ["dora", "full"])
@pytest.mark.parametrize("family", FAMILIES)
def test_cloze_equals_the_full_logits(
    family: str, kind: str, make_net: Callable[..., RewardNet], make_batch: Any
) -> None:
    net = make_net(family, kind=kind, freeze=0 if kind == "full" else 1)
    batch = make_batch(segment_types(net), "cloze")
    short, whole = net(batch), full_log_odds(net, batch)
    assert short.shape == (3,)
    assert short.abs().min() > 1e-3
    torch.testing.assert_close(short, whole, atol=1e-5, rtol=1e-5)

    parameters = [p for p in net.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(pairwise_loss(short), parameters)
    plain = torch.autograd.grad(pairwise_loss(whole), parameters)
    for one, other in zip(gradients, plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_bradley_terry_is_the_difference_of_rewards(
    family: str, make_net: Callable[..., RewardNet], make_batch: Any
) -> None:
    net = make_net(family, "bradley_terry")
    batch = make_batch(segment_types(net), "bradley_terry")
    rewards = []
    for rows in batch["passes"]:
        for r in range(len(rows["input_ids"])):
            real = int(rows["attention_mask"][r].sum())
            alone = {name: value[r : r + 1, :real] for name, value in rows.items()}
            rewards.append(net.base_model(**alone).logits.squeeze())
    ordered = torch.stack(rewards)[batch["unsort"]]
    torch.testing.assert_close(net(batch), ordered[:3] - ordered[3:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pair_does_not_depend_on_the_rest_of_its_batch(
    family: str, make_net: Callable[..., RewardNet], make_batch: Any
) -> None:
    net = make_net(family)
    batch = make_batch(segment_types(net), "cloze")
    whole = net(batch)
    (first, *_rest) = batch["passes"]
    longest = int(batch["unsort"].argsort()[0])
    alone = {"passes": [{n: v[:1] for n, v in first.items()}], "unsort": torch.tensor([0])}
    torch.testing.assert_close(
        net(alone | {"sign": batch["sign"][longest : longest + 1]})[0], whole[longest], atol=1e-5, rtol=1e-5
    )


def test_swapping_the_verbalizers_turns_the_sign(make_net: Callable[..., RewardNet], make_batch: Any) -> None:
    net = make_net("bert")
    batch = make_batch(2, "cloze")
    before = net(batch)
    net.verbalizers = net.verbalizers.flip(0)
    torch.testing.assert_close(net(batch), -before)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_loss_is_the_cross_entropy_over_the_verbalizers(smoothing: float) -> None:
    logits = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).double() * 3
    better = torch.arange(50) % 2  # 0: option A is the chosen response
    sign = 1.0 - 2.0 * better
    log_odds = (logits[:, 0] - logits[:, 1]) * sign
    # torch spreads its smoothing over both classes, ours is the probability of a wrong label.
    expected = F.cross_entropy(logits, better, label_smoothing=2 * smoothing)
    torch.testing.assert_close(pairwise_loss(log_odds, smoothing), expected)


def test_loss_exact() -> None:
    assert pairwise_loss(torch.zeros(3)).item() == pytest.approx(0.6931472)
    assert pairwise_loss(torch.tensor([2.0])).item() == pytest.approx(0.1269280)
    assert pairwise_loss(torch.tensor([2.0]), 0.25).item() == pytest.approx(0.6269280)  # a quarter of the odds more
    assert pairwise_loss(torch.tensor([-200.0])).item() == pytest.approx(200.0)


def test_the_seed_decides_everything_that_is_drawn(make_net: Callable[..., RewardNet]) -> None:
    def state(seed: int, objective: str) -> dict[str, torch.Tensor]:
        return make_net("bert", objective, seed=seed, stir=False).state_dict()

    for objective in ("cloze", "bradley_terry"):
        torch.manual_seed(1)
        before = torch.random.get_rng_state()
        first = state(3, objective)
        assert torch.equal(torch.random.get_rng_state(), before)  # nobody else's draws are moved
        torch.manual_seed(2)
        again, other = state(3, objective), state(4, objective)
        assert all(torch.equal(first[name], again[name]) for name in first)
        for part in ("lora_A", "layer.0.attention.self.query", "word_embeddings"):
            name = next(n for n in first if part in n and n.endswith("weight"))
            assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize("objective", ["cloze", "bradley_terry"])
@pytest.mark.parametrize("kind", ["dora", "lora", "full", "none"])
def test_merged_net_is_equal_and_a_copy(
    kind: str, objective: str, make_net: Callable[..., RewardNet], make_batch: Any
) -> None:
    net = make_net("bert", objective, kind=kind)
    batch = make_batch(2, objective)
    before = net(batch).detach()
    net.train()
    modes = [module.training for module in net.modules()]
    state = {name: value.clone() for name, value in net.state_dict().items()}
    merged = merged_net(net)
    assert not any(module.training for module in merged.modules())
    assert not any("lora" in name for name, _ in merged.named_parameters())
    torch.testing.assert_close(merged(batch).detach(), before, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        for parameter in merged.parameters():
            parameter.zero_()
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_trained_state_is_all_that_is_trained(make_net: Callable[..., RewardNet]) -> None:
    net = make_net("bert")
    state = net.trained_state()
    assert set(state) == {name for name, p in net.named_parameters() if p.requires_grad}
    assert not any(value.requires_grad for value in state.values())


def test_verbalizer_ids(minilm: Any) -> None:
    ids = verbalizer_ids(minilm.tokenizer, VerbalizerConfig(a="A", b="first"))
    assert ids == tuple(minilm.tokenizer.convert_tokens_to_ids(["a", "first"]))
