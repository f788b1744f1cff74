"""What a process reads once, however many runs it makes: pairs, their tokens, backbones and base weights.

Everything is kept under what decides it: the part of the config that asks for it, and the state (size, times, inode)
of the files it comes from, so that a file that has changed is read again. What the hub gives is asked for once a
process. What comes out of here is not changed by a run, or is the run's own: a run in a warm process gives, bit for
bit, what it gives in a new one.
"""

from __future__ import annotations

import copy
import gc
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import nn
from transformers import PreTrainedModel

from tinyrm.config import DataConfig, EvaluationConfig, ModelConfig, TinyRMConfig
from tinyrm.data import PairData, fingerprint, load
from tinyrm.evaluation.sources import benchmark_pairs
from tinyrm.model import Backbone, RewardNet, build_net, find_backbone, read_weights, verbalizer_ids
from tinyrm.prompting import EncodedPairs, Layout, PairTokens, tokenize
from tinyrm.types import PreferencePair

V = TypeVar("V")


class Last(Generic[V]):
    """The values asked for last, by key, made where they are missing. What raises is not kept. Safe among threads.

    Args:
        size: how many.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._values: OrderedDict[Hashable, V] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, key: Hashable, make: Callable[[], V], fits: Callable[[V], bool] = lambda value: True) -> V:
        """The value of `key`; made anew where there is none or it does not fit."""
        with self._lock:
            if key in self._values and not fits(self._values[key]):
                del self._values[key]
            if key not in self._values:
                while len(self._values) >= self.size:  # first: the new one may need the room
                    self._values.popitem(last=False)
                self._values[key] = make()
            self._values.move_to_end(key)
            return self._values[key]

    def clear(self) -> None:
        with self._lock:
            self._values.clear()


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs of a run.

    Attributes:
        data: train and dev to learn from, and the data's own test split.
        reported: what is reported on: that test split or a benchmark.
    """

    data: PairData
    reported: tuple[PreferencePair, ...]
    _tokens: Last[tuple[Any, tuple[PairTokens, ...]]] = field(default_factory=lambda: Last(4), repr=False)

    @property
    def parts(self) -> tuple[tuple[PreferencePair, ...], ...]:
        """Train, dev, and what is reported on."""
        return self.data.train, self.data.dev, self.reported

    @cached_property
    def _fingerprints(self) -> tuple[str, ...]:
        return tuple(map(fingerprint, self.parts))

    @property
    def fingerprints(self) -> dict[str, str]:
        """What names the pairs of each part."""
        return dict(zip(("train", "dev", "test"), self._fingerprints, strict=True))

    def encode(self, layout: Layout, backbone: Backbone, cache_dir: str | None) -> tuple[EncodedPairs, ...]:
        """The parts tokenised (from memory, else from the cache on disk, where they can be) and laid out."""

        def make() -> tuple[Any, tuple[PairTokens, ...]]:
            made = tuple(tokenize(p, tokenizer, spaced=layout.spaced, cache_dir=cache_dir) for p in self.parts)
            for tokens in made:
                tokens.ids.flags.writeable = tokens.offsets.flags.writeable = False
            return tokenizer, made

        tokenizer = backbone.tokenizer
        # The value holds on to the tokenizer, so that no other can get its id.
        _, kept = self._tokens.get((id(tokenizer), layout.spaced), make)
        return tuple(map(layout.bind, kept))


@dataclass(frozen=True, eq=False)
class Base:
    """A backbone that was found, and where its weights are kept."""

    key: Hashable
    _backbone: Backbone

    @property
    def backbone(self) -> Backbone:
        """With a config of its own: loading writes in it."""
        return replace(self._backbone, config=copy.deepcopy(self._backbone.config))

    def net(self, config: TinyRMConfig) -> RewardNet:
        """The net of this config at its start, to be trained.

        Frozen parameters share their memory with the kept ones: they must not be written in place. Those that are
        trained are its own.
        """
        backbone, objective = self.backbone, config.objective.kind
        net = build_net(
            self._weights(backbone, objective, config.seed),
            backbone.family,
            objective=objective,
            freeze=config.freeze,
            adapter=config.adapter,
            verbalizers=verbalizer_ids(backbone.tokenizer, config.prompt.verbalizers),
            seed=config.seed,
            speed=config.speed,
        )
        for parameter in net.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.clone()
        return net

    def _weights(self, backbone: Backbone, objective: str, seed: int) -> PreTrainedModel:
        def make() -> tuple[PreTrainedModel, int | None]:
            model, drawn = read_weights(backbone, objective, seed=seed)
            return model, seed if drawn else None

        kept, _ = _WEIGHTS.get((self.key, objective), make, fits=lambda value: value[1] in (None, seed))
        memo: dict[int, Any] = {id(p): nn.Parameter(p.data, requires_grad=p.requires_grad) for p in kept.parameters()}
        return copy.deepcopy(kept, memo)


_PAIRS: Last[Pairs] = Last(4)
_BENCHMARKS: Last[tuple[PreferencePair, ...]] = Last(2)
_BASES: Last[Base] = Last(4)
_WEIGHTS: Last[tuple[PreTrainedModel, int | None]] = Last(2)  # with the seed that they were drawn from, if they were


def pairs(config: DataConfig, evaluation: EvaluationConfig) -> Pairs:
    """The pairs of a run.

    Raises:
        ConfigError, DataError: see :func:`tinyrm.data.load` and :func:`benchmark_pairs`.
    """

    def make() -> Pairs:
        outside = benchmark(evaluation)
        data = load(config, evaluation=outside or ())
        return Pairs(data, data.test if outside is None else outside)

    sources = tuple(file_state(source.path) for source in config.mixture or [config])
    return _PAIRS.get((_text(config), sources, _benchmark_key(evaluation)), make)


def benchmark(config: EvaluationConfig) -> tuple[PreferencePair, ...] | None:
    """The pairs of a benchmark; None where the data's own test split is reported on.

    Raises:
        ConfigError, DataError: see :func:`benchmark_pairs`.
    """
    if (key := _benchmark_key(config)) is None:
        return None
    return _BENCHMARKS.get(key, lambda: tuple(benchmark_pairs(config.benchmark, config.path)))


def base(config: ModelConfig) -> Base:
    """A backbone, its weights not yet loaded.

    Raises:
        ModelError: see :func:`find_backbone`.
    """
    key = (_text(config), file_state(config.path))
    return _BASES.get(key, lambda: Base(key, find_backbone(config)))


def clear() -> None:
    """Forget everything, as in a new process."""
    for kept in (_PAIRS, _BENCHMARKS, _BASES, _WEIGHTS):
        kept.clear()


def settle() -> None:
    """Take what lives by now out of the sight of Python's garbage collector: to be called once, after a first run.

    A process that makes many runs pays some 0.3 s now and then for looking through the imports and the kept pairs.
    """
    gc.collect()
    gc.freeze()


def file_state(path: str | None) -> Hashable:
    """A value that changes when the file, or anything below the folder, changes; None where there is neither."""
    if path is None or not (place := Path(path).expanduser()).exists():
        return None
    files = [place] if place.is_file() else sorted(place.rglob("*"))
    return os.path.realpath(place), tuple((str(file), _state(file)) for file in files)


def _state(file: Path) -> Hashable:
    try:
        found = file.stat()
    except OSError:  # gone, or closed to us: whoever reads it will say so
        return None
    # ctime and inode see what keeps size and mtime: a restored copy, a file moved into the place of another.
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _benchmark_key(config: EvaluationConfig) -> Hashable:
    if config.benchmark == "pairs" and config.path is None:
        return None
    return config.benchmark, config.path, file_state(config.path)


def _text(config: DataConfig | ModelConfig) -> str:
    return json.dumps(asdict(config), sort_keys=True, default=str)
