"""Which points a study is to run, in which order. Kept small in the storage: spaces, not lists of points."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .space import Dimension, Space, config_key


@dataclass(frozen=True)
class Segment:
    """What one call of the sweep added.

    Attributes:
        space: the dimensions it ranged over.
        count: how many points it adds.
        fixed: overrides that all of them have.
        sampled: the sampler chooses each point when it is claimed; else they are the grid's, in order.
        skip: indices into the grid that are left out: equal to a point that was there before.
        again: numbers of trials to run once more, in place of the space's points; space and fixed are those of theirs.
    """

    space: Space
    count: int
    fixed: tuple[str, ...] = ()
    sampled: bool = False
    skip: frozenset[int] = frozenset()
    again: tuple[int, ...] = ()

    @cached_property
    def kept(self) -> list[tuple[str, ...]]:
        """The grid's points, as typed, without those left out."""
        points = (p for i, p in enumerate(self.space.grid()) if i not in self.skip)
        return list(itertools.islice(points, self.count))

    def as_json(self) -> dict[str, Any]:
        """Plain values; :meth:`from_json` gives the segment back."""
        return {
            "dimensions": [d.as_json() for d in self.space.dimensions],
            "count": self.count,
            "fixed": list(self.fixed),
            "sampled": self.sampled,
            "skip": sorted(self.skip),
            "again": list(self.again),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Segment:
        """The segment that :meth:`as_json` gave."""
        space = Space(tuple(Dimension.from_json(d) for d in plain["dimensions"]))
        fixed, again = tuple(plain["fixed"]), tuple(plain["again"])
        return cls(space, plain["count"], fixed, plain["sampled"], frozenset(plain["skip"]), again)


@dataclass(frozen=True)
class Slot:
    """One point of the plan.

    Attributes:
        space: what it belongs to.
        fixed: overrides beside its own.
        texts: its values as typed; None where the sampler chooses.
        again: the trial it repeats, if it does.
    """

    space: Space
    fixed: tuple[str, ...]
    texts: tuple[str, ...] | None
    again: int | None = None


@dataclass(frozen=True)
class Plan:
    """All segments; the points are numbered through."""

    segments: tuple[Segment, ...] = ()
    _ends: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ends", list(itertools.accumulate(s.count for s in self.segments)))

    @property
    def total(self) -> int:
        """How many points there are."""
        return self._ends[-1] if self._ends else 0

    def slot(self, index: int) -> Slot:
        """The point with this number, from 0 to `total` - 1."""
        which = bisect.bisect_right(self._ends, index)
        segment = self.segments[which]
        inside = index - (self._ends[which] - segment.count)
        if segment.again:
            return Slot(segment.space, segment.fixed, None, segment.again[inside])
        return Slot(segment.space, segment.fixed, None if segment.sampled else segment.kept[inside])

    def listed(self) -> Iterable[tuple[str, ...]]:
        """The overrides of every point that is known beforehand."""
        for segment in self.segments:
            if not segment.sampled and not segment.again:
                yield from (segment.space.overrides(point) for point in segment.kept)

    @property
    def listed_points(self) -> int:
        """How many points of grids there are; trials that are run once more are no new points."""
        return sum(s.count for s in self.segments if not s.sampled and not s.again)

    @property
    def sampled(self) -> int:
        """How many points the sampler chooses."""
        return sum(s.count for s in self.segments if s.sampled)

    def keys(self) -> set[str]:
        """Every config key that varies."""
        return {key for segment in self.segments for key in segment.space.config_keys()}

    def given(self) -> set[str]:
        """Every config key that an override sets beside what varies."""
        return {config_key(o) for segment in self.segments for o in segment.fixed}

    def as_json(self) -> list[dict[str, Any]]:
        """Plain values; :meth:`from_json` gives the plan back."""
        return [s.as_json() for s in self.segments]

    @classmethod
    def from_json(cls, plain: Sequence[Mapping[str, Any]]) -> Plan:
        """The plan that :meth:`as_json` gave."""
        return cls(tuple(Segment.from_json(s) for s in plain))
