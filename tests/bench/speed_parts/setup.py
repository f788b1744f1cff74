"""What every contender starts from: the same pairs, tokens and backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinyrm import reuse
from tinyrm.config import TinyRMConfig, compose
from tinyrm.prompting import EncodedPairs, Layout

Figures = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much each contender is given.

    Attributes:
        overrides: model and data, as a person would type them.
        train, scored: pairs to train on and to score (and to train the model on that scores).
        plain: pairs of the plain loops, which are slow and whose speed does not depend on how many there are.
        epochs: of training, counted whole.
        repeats: of timed steps.
        layers: of the model, for `freeze`.
    """

    overrides: tuple[str, ...]
    train: int
    scored: int
    plain: int
    epochs: int
    repeats: int
    freeze: int


FULL = Size(("model=minilm",), train=240, scored=400, plain=64, epochs=3, repeats=10, freeze=4)
QUICK = Size(("model=tiny",), train=24, scored=24, plain=16, epochs=2, repeats=2, freeze=4)


@dataclass(frozen=True)
class Start:
    """A config, and the tokenised pairs it asks for."""

    config: TinyRMConfig
    base: reuse.Base
    pairs: reuse.Pairs
    train: EncodedPairs
    dev: EncodedPairs
    test: EncodedPairs


def start(size: Size, data: str | None, *overrides: str) -> Start:
    """Compose and read.

    Args:
        data: a folder of pairs, for `data=jsonl data.path=...`; None: the synthetic suite.
    """
    source = [] if data is None else ["data=jsonl", f"data.path={data}"]
    config = compose(
        [
            *size.overrides,
            *source,
            f"data.max_train_pairs={size.train}",
            "data.max_dev_pairs=8",
            f"data.max_test_pairs={size.plain}",
            f"freeze={size.freeze}",
            "trainer.precision=32",
            "trainer.accelerator=cpu",
            "trainer.batch_pairs=8",
            "objective.orders=random",  # a row a pair and epoch, as the plain loops have it
            "tracking=none",
            "trainer.save_model=none",
            *overrides,
        ]
    )
    base = reuse.base(config.model)
    pairs = reuse.pairs(config.data, config.evaluation)
    backbone = base.backbone
    layout = Layout.of(config.objective.kind, config.prompt, backbone.tokenizer, backbone.segment_types)
    return Start(config, base, pairs, *pairs.encode(layout, backbone, None))
