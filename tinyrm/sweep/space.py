"""What a sweep ranges over: from Hydra's override grammar to points and to Optuna's distributions.

Hydra's grammar holds under every sampler: `range(1,4)` is 1, 2, 3 (the stop is left out, as in Hydra and in Python),
`interval(1,4)` and `int(interval(1,4))` hold both ends. Values keep the text they were typed with, so that a trial is
composed from exactly what a person would have typed.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import cached_property
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from .errors import SweepError

ARM = "arm"
LARGEST = 2**53  # integers up to here are the same as floats, in which Optuna keeps every number
Value = int | float | str  # as Optuna stores it


@dataclass(frozen=True)
class Dimension:
    """One thing that varies.

    Attributes:
        name: of the parameter in the study: the key, or "arm".
        key: what stands left of `=` in the override (with its `+`); empty for arms.
        texts: the values of a finite dimension, as typed; empty for an interval.
        low, high: ends of an interval, both inside.
        integer, log: kind of an interval.
        step: of a range, by which Optuna's samplers may take it as ordered; None for a choice.
        arms: for arms, the overrides of each value.
        seen: every value the study has had here, in the order it had them, where the values have been extended.
        seen_arms: for arms, the overrides of each of these.
    """

    name: str
    key: str
    texts: tuple[str, ...] = ()
    low: float = 0
    high: float = 0
    integer: bool = False
    log: bool = False
    step: float | None = None
    arms: tuple[tuple[str, ...], ...] = ()
    seen: tuple[str, ...] = ()
    seen_arms: tuple[tuple[str, ...], ...] = ()

    @property
    def finite(self) -> bool:
        """Whether a grid can list it."""
        return bool(self.texts) or self.integer

    @property
    def count(self) -> int:
        """Values of a finite dimension."""
        return len(self.texts) or int(self.high) - int(self.low) + 1

    def values(self) -> tuple[str, ...]:
        """Every value of a finite dimension, as typed."""
        return self.texts or tuple(str(v) for v in range(int(self.low), int(self.high) + 1))

    def overrides(self, text: str) -> tuple[str, ...]:
        """What a trial with this value is composed from."""
        if self.arms:
            return self.arm_of()[text]
        return (f"{self.key}={text}",)

    def arm_of(self) -> dict[str, tuple[str, ...]]:
        """For arms: the overrides of every value known."""
        return dict(zip((*self.seen, *self.texts), (*self.seen_arms, *self.arms), strict=True))

    def config_keys(self) -> set[str]:
        """The config keys it sets."""
        return {config_key(o) for arm in self.arms for o in arm} if self.arms else {config_key(self.key)}

    def stored(self, text: str) -> Value:
        """The value as the study stores it: numbers as numbers, all else as typed."""
        return _number(text) if self._numeric else text

    def distribution(self) -> BaseDistribution:
        """For the record of a grid's trial. Numbers get a range that more values may widen."""
        return self._recorded

    @cached_property
    def _recorded(self) -> BaseDistribution:
        """Once for all: every claim asks, and there may be thousands of values to read."""
        if not self.texts:
            return IntDistribution(int(self.low), int(self.high)) if self.integer else self.sampled()
        if not self._numeric:
            return CategoricalDistribution(self._known)
        numbers = [_number(t) for t in self._known]
        if all(isinstance(n, int) for n in numbers):
            return IntDistribution(int(min(numbers)), int(max(numbers)))
        return FloatDistribution(float(min(numbers)), float(max(numbers)))

    def sampled(self) -> BaseDistribution:
        """For a sampler. A choice is a choice, ordered or not; ranges and intervals are ordered."""
        return self._drawn

    @cached_property
    def _drawn(self) -> BaseDistribution:
        if self.texts and self.step is None:
            return CategoricalDistribution(tuple(self.stored(t) for t in self._known))
        if self.texts:
            numbers = sorted(_number(t) for t in self.texts)
            if all(isinstance(n, int) for n in numbers):
                return IntDistribution(int(numbers[0]), int(numbers[-1]), step=int(self.step or 1))
            # Exact in decimals: Optuna leaves out a last value that rounding puts beyond a whole number of steps.
            high = Decimal(str(numbers[0])) + (len(numbers) - 1) * Decimal(str(self.step))
            return FloatDistribution(float(numbers[0]), float(high), step=self.step)
        if self.integer:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def suggest(self, trial: Trial) -> str:
        """Let the sampler choose; give the value as it would be typed."""
        kind = self.sampled()
        if isinstance(kind, CategoricalDistribution):
            chosen = trial.suggest_categorical(self.name, kind.choices)
            return self._known[kind.choices.index(chosen)]
        if isinstance(kind, IntDistribution):
            return str(trial.suggest_int(self.name, kind.low, kind.high, step=kind.step, log=kind.log))
        assert isinstance(kind, FloatDistribution)
        value = trial.suggest_float(self.name, kind.low, kind.high, step=kind.step, log=kind.log)
        return min(self.texts, key=lambda t: abs(float(t) - value)) if self.texts else repr(value)

    @property
    def _known(self) -> tuple[str, ...]:
        """The values of a dimension that lists them, with those the study has had before."""
        return self.seen or self.texts

    @cached_property
    def _numeric(self) -> bool:
        """Whether every value is a number: asked for each point of a grid."""
        return not self.texts or (not self.arms and _numbers(self._known) is not None)

    def ends(self) -> tuple[str, ...]:
        """Its corners: both ends of what is ordered, every value of what is not."""
        if self.texts:
            return self.texts
        return (str(int(self.low)), str(int(self.high))) if self.integer else (repr(self.low), repr(self.high))

    def draw(self, rng: random.Random) -> str:
        """A value at random, for checking."""
        if self.texts:
            return rng.choice(self.texts)
        if self.integer:
            return str(rng.randint(int(self.low), int(self.high)))
        if self.log:
            return repr(min(self.high, max(self.low, math.exp(rng.uniform(math.log(self.low), math.log(self.high))))))
        return repr(rng.uniform(self.low, self.high))

    def as_json(self) -> dict[str, Any]:
        """Plain values; :meth:`from_json` gives the dimension back."""
        named = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {k: v for k, v in named if v not in ((), None, False) or k in ("name", "key")}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Dimension:
        """The dimension that :meth:`as_json` gave."""
        given = dict(plain)
        given["texts"] = tuple(given.get("texts", ()))
        given["seen"] = tuple(given.get("seen", ()))
        for kind in ("arms", "seen_arms"):
            given[kind] = tuple(tuple(arm) for arm in given.get(kind, ()))
        return cls(**given)


@dataclass(frozen=True)
class Space:
    """All dimensions, in the order they were given; the last one varies fastest, as in Hydra's own grid."""

    dimensions: tuple[Dimension, ...]

    @property
    def finite(self) -> bool:
        """Whether a grid can list it."""
        return all(d.finite for d in self.dimensions)

    @property
    def size(self) -> int:
        """Points of a finite space."""
        return math.prod(d.count for d in self.dimensions)

    def grid(self) -> Iterator[tuple[str, ...]]:
        """Every point of a finite space: a value a dimension, as typed."""
        return itertools.product(*(d.values() for d in self.dimensions))

    def corners(self, limit: int) -> Iterator[tuple[str, ...]]:
        """The first `limit` corners."""
        return itertools.islice(itertools.product(*(d.ends() for d in self.dimensions)), limit)

    def overrides(self, point: Sequence[str]) -> tuple[str, ...]:
        """What a trial at `point` is composed from."""
        return tuple(o for d, text in zip(self.dimensions, point, strict=True) for o in d.overrides(text))

    def params(self, point: Sequence[str]) -> dict[str, Value]:
        """The parameters of a trial at `point`, as the study stores them."""
        return {d.name: d.stored(text) for d, text in zip(self.dimensions, point, strict=True)}

    def distributions(self) -> dict[str, BaseDistribution]:
        """For the records of a grid's trials."""
        return {d.name: d.distribution() for d in self.dimensions}

    def config_keys(self) -> set[str]:
        """Every config key that varies."""
        return {key for d in self.dimensions for key in d.config_keys()}


def config_key(override: str) -> str:
    """Where an override changes the config, as a dotted key: model.head for `model/head=x` and `+db@model.head=x`."""
    group, _, package = override.partition("=")[0].lstrip("+~").partition("@")
    return (package or group).replace("/", ".")


def quoted(value: object) -> str:
    """A value as it stands in an override, whatever it holds."""
    text = str(value)
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def is_below(key: str, others: Collection[str]) -> bool:
    """Whether a dotted key lies inside one of `others`."""
    parts = key.split(".")
    return any(".".join(parts[:n]) in others for n in range(1, len(parts)))


def parse(arguments: Sequence[str], arms: Any, loader: ConfigLoader) -> tuple[Space, list[str]]:
    """Split overrides into what varies and what is fixed.

    Args:
        arguments: overrides in Hydra's grammar; a later one of the same key replaces an earlier one.
        arms: lists of overrides that move together, or a mapping from names to such lists, or None.
        loader: to look up the choices of `glob()`.

    Returns:
        the space, and the fixed overrides.

    Raises:
        SweepError: an override or an arm is malformed, or a key is set twice.
    """
    parser = OverridesParser.create(config_loader=loader)
    by_key: dict[str, Override] = {}
    try:
        for override in parser.parse_overrides(list(arguments)):
            by_key[override.get_key_element()] = override
    except (HydraException, ValueError) as error:  # Python reads no integer of more than 4300 digits
        raise SweepError(" ".join(str(error).split())) from error
    dimensions, fixed = _arms(arms, parser), []
    for key, override in by_key.items():
        if override.is_sweep_override():
            dimensions.append(_dimension(key, override))
        else:
            fixed.append(str(override.input_line))
    space = Space(tuple(dimensions))
    twice = (
        space.dimensions
        and dimensions[0].arms
        and dimensions[0].config_keys()
        & {
            *(k for d in dimensions[1:] for k in d.config_keys()),
            *(config_key(f) for f in fixed if not f.startswith("sweep.")),
        }
    )
    if twice:
        raise SweepError(f"{', '.join(sorted(twice))} is set by sweep.arms and again beside it: leave one of the two.")
    return space, fixed


def _dimension(key: str, override: Override) -> Dimension:
    name = key.lstrip("+")
    value = override.value()
    if isinstance(value, IntervalSweep):
        low, high = value.start, value.end
        if low is None or high is None or not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise SweepError(f"{override.input_line}: an interval goes from a lower number to a higher one.")
        log = "log" in value.tags
        if log and low <= 0:
            raise SweepError(f"{override.input_line}: a logarithmic interval starts above 0; this one at {low}.")
        if isinstance(low, int) and max(-low, high) > LARGEST:
            raise SweepError(f"{override.input_line}: an interval of integers goes up to 2**53 ({LARGEST}) at most.")
        return Dimension(name, key, low=low, high=high, integer=isinstance(low, int), log=log)
    texts = tuple(dict.fromkeys(override.sweep_string_iterator()))
    if not texts:
        raise SweepError(f"{override.input_line} has no values (a range leaves out its stop).")
    step = None
    if isinstance(value, RangeSweep) and _numbers(texts) is not None:
        step = abs(value.step) if value.step is not None else 1
    return Dimension(name, key, texts, step=step)


def _arms(arms: Any, parser: OverridesParser) -> list[Dimension]:
    if not arms:
        return []
    if isinstance(arms, str) or not isinstance(arms, Mapping | Sequence):
        raise SweepError(f"sweep.arms={arms!r} must be a list of arms, or a mapping from names to arms.")
    listed = list(arms.items()) if isinstance(arms, Mapping) else [(None, arm) for arm in arms]
    named: dict[str, tuple[str, ...]] = {}
    for given, overrides in listed:
        many = isinstance(overrides, Sequence) and not isinstance(overrides, str)
        if not many or not all(isinstance(o, str) for o in overrides):
            shown = repr(overrides) if given is None else f"{given}={overrides!r}"
            raise SweepError(f'sweep.arms: {shown} must be a list of overrides, as in ["adapter=dora", "freeze=2"].')
        name = (" ".join(overrides) or "(nothing)") if given is None else str(given)
        try:
            parsed = parser.parse_overrides(list(overrides))
        except HydraException as error:
            raise SweepError(f"sweep.arms: {name!r}: {' '.join(str(error).split())}") from error
        if any(o.is_sweep_override() for o in parsed):
            raise SweepError(f"sweep.arms: {name!r} sweeps inside an arm: give each value an arm of its own.")
        keys = [o.get_key_element().lstrip("+~") for o in parsed]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise SweepError(f"sweep.arms: {name!r} sets {', '.join(twice)} twice.")
        named[name] = tuple(overrides)
    return [Dimension(ARM, "", tuple(named), arms=tuple(named.values()))]


def _numbers(texts: Sequence[str]) -> list[int | float] | None:
    try:
        return [_number(t) for t in texts]
    except ValueError:
        return None


def _number(text: str) -> int | float:
    """A number that a study keeps as it is.

    Raises:
        ValueError: it is none; larger integers among them, which stay as typed.
    """
    try:
        value: int | float = int(text)
    except ValueError:
        value = float(text)
    known = abs(value) <= LARGEST if isinstance(value, int) else math.isfinite(value)  # no float holds 10**309
    if not known:
        raise ValueError(text)
    return value
