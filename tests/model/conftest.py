from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tinyrm.config import AdapterConfig, ModelConfig, SpeedConfig, VerbalizerConfig, compose
from tinyrm.model import Backbone, RewardNet, build_net, find_backbone, load_weights, verbalizer_ids
from tinyrm.prompting import Layout, TensorBatch, tokenize
from tinyrm.types import PreferencePair

SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
SHAPES: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {"max_position_embeddings": 514},
    "deberta-v2": {  # as DeBERTa-v3
        "relative_attention": True,
        "position_biased_input": False,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 16,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "type_vocab_size": 0,
    },
    "modernbert": {"local_attention": 32},
}

BackboneMaker = Callable[..., Backbone]
NetMaker = Callable[..., RewardNet]
BatchMaker = Callable[..., TensorBatch]


@pytest.fixture(scope="session")
def make_backbone() -> BackboneMaker:
    """A small backbone of a family, random weights."""

    def make(family: str, *, dropout: float | None = None, **shape: Any) -> Backbone:
        fields = {"model_type": family, **SMALL, **SHAPES[family], **shape}
        return find_backbone(ModelConfig(id=f"small-{family}", source="random", dropout=dropout, shape=fields))

    return make


@pytest.fixture(scope="session")
def make_net(make_backbone: BackboneMaker) -> NetMaker:
    def make(
        family: str | Backbone,
        objective: str = "cloze",
        *,
        freeze: int = 1,
        seed: int = 0,
        stir: bool = True,
        speed: SpeedConfig | None = None,
        **adapter: Any,
    ) -> RewardNet:
        """A net on a small backbone; `stir` moves every trained weight, so that none stands at its start."""
        backbone = make_backbone(family) if isinstance(family, str) else family
        net = build_net(
            load_weights(backbone, objective, seed=seed),
            backbone.family,
            objective=objective,
            freeze=freeze,
            adapter=AdapterConfig(**({"rank": 2} | adapter)),
            verbalizers=verbalizer_ids(backbone.tokenizer, VerbalizerConfig()),
            seed=seed,
            speed=speed,
        )
        if stir:
            generator = torch.Generator().manual_seed(1)
            with torch.no_grad():
                for parameter in net.parameters():
                    if parameter.requires_grad:
                        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        return net

    return make


@pytest.fixture(scope="session")
def make_batch(minilm: Backbone) -> BatchMaker:
    """Three pairs of unlike length as a net is given them."""
    prompt = compose(["prompt=instruct"]).prompt
    pairs = [
        PreferencePair(str(n), "What is 2+2?" * n, "It is four. " * 3 * n, "It is five!", "s", "s", "s")
        for n in (1, 2, 3)
    ]

    def make(backbone_or_types: Backbone | int, objective: str) -> TensorBatch:
        types = backbone_or_types if isinstance(backbone_or_types, int) else backbone_or_types.segment_types
        layout = Layout.of(objective, prompt, minilm.tokenizer, types)
        tokens = tokenize(pairs, minilm.tokenizer, spaced=layout.spaced)
        return layout.bind(tokens).collate([0, 1, 2], [True, False, True])

    return make
