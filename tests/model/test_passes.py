"""What nets that are trained side by side share in memory: the numbers of each are those it has alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tinyrm.config import SpeedConfig, compose
from tinyrm.model import RewardNet, SharedPrefix, build_net, find_backbone, load_weights

SHAPES = {
    "bert": ["model=tiny", "model.shape.num_hidden_layers=3"],
    "modernbert": ["model=tiny", "model.shape.num_hidden_layers=3", "model.shape.model_type=modernbert"],
}


def net(family: str, rank: int = 4, freeze: int = 2, seed: int = 0, **speed: Any) -> RewardNet:
    config = compose([*SHAPES[family], f"adapter.rank={rank}"])
    backbone = find_backbone(config.model)
    model = load_weights(backbone, "cloze", seed=seed)
    rest = {"objective": "cloze", "freeze": freeze, "adapter": config.adapter, "verbalizers": (5, 6), "seed": rank}
    return build_net(model, backbone.family, **rest, speed=SpeedConfig(**speed))  # type: ignore[arg-type]


def batch(seed: int = 0, *, types: bool = False) -> dict[str, Any]:
    """Two passes of three rows, one of them padded."""
    draw = torch.Generator().manual_seed(seed)
    passes = []
    for length in (12, 7):
        ids = torch.randint(200, 900, (3, length), generator=draw)
        mask = torch.ones_like(ids)
        mask[2, length - 3 :] = 0
        rows = {"input_ids": ids, "attention_mask": mask, "mask_position": torch.tensor([3, 4, 2])}
        passes.append(rows | ({"token_type_ids": torch.zeros_like(ids)} if types else {}))
    return {"passes": passes, "sign": torch.tensor([1.0, -1, 1, 1, -1, 1]), "unsort": torch.arange(6)}


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_loss_and_gradients_are_those_without_it(family: str) -> None:
    shared, given = SharedPrefix(passes=8), batch(types=family == "bert")
    for number, rank in enumerate((2, 4, 8)):
        own = net(family, rank).train()
        found = []
        for attached in (False, True):
            passes = shared.of(own, "32-true")
            assert passes is not None
            own.zero_grad()
            loss = own(passes.attach(passes.named(given)) if attached else given).square().sum()
            loss.backward()
            found.append({n: p.grad for n, p in own.named_parameters() if p.grad is not None} | {"loss": loss})
        assert found[0].keys() == found[1].keys() and len(found[0]) > 3
        assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
        assert (shared.computed, shared.read) == (2, 2 * number)  # the first one computes for all


def test_other_weights_depth_precision_and_tokens_are_told_apart() -> None:
    shared, given = SharedPrefix(passes=50), batch()
    asked = [(net("bert"), "32-true"), (net("bert", seed=1), "32-true"), (net("bert", freeze=1), "32-true")]
    asked += [(net("bert"), "bf16-mixed")]
    for own, precision in asked:
        passes = shared.of(own, precision)
        assert passes is not None
        for one in (given, batch(seed=1), batch(types=True)):
            passes.attach(passes.named(one))
    assert (shared.computed, shared.read) == (24, 0)


def test_no_more_is_kept_than_asked_for() -> None:
    shared = SharedPrefix(passes=2)
    passes = shared.of(net("bert"), "32-true")
    assert passes is not None
    for seed in (0, 1, 0):
        passes.attach(passes.named(batch(seed)))
    assert (shared.computed, shared.read) == (6, 0) and len(shared._outputs) == 2


def test_what_scoring_computed_may_be_read_in_training() -> None:
    shared, own = SharedPrefix(passes=4), net("bert").train()
    passes = shared.of(own, "32-true")
    assert passes is not None
    with torch.inference_mode():
        own(passes.attach(passes.named(batch())))
    own(passes.attach(passes.named(batch()))).sum().backward()
    assert shared.read == 2


def test_a_net_that_is_only_run_whole_or_freezes_nothing_has_no_passes() -> None:
    shared = SharedPrefix(passes=4)
    assert shared.of(net("bert", freeze=0), "32-true") is None
    assert shared.of(net("bert", last_layer="whole"), "32-true") is None
