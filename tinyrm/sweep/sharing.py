"""Which trials have something in common, told from the config keys in which they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from .plan import Slot
from .space import Space, config_key

Kin = tuple[tuple[str, ...], ...]  # what a point has of each key of `Sharing.affinity`


@dataclass(frozen=True)
class Sharing:
    """What an application says of it (see :class:`~.app.App`).

    Attributes:
        affinity: config keys, the most telling first: what points with the same values there compute serves them all.
        packable: config keys in which trials may differ that run together in one process.
    """

    affinity: Sequence[str] = ()
    packable: Sequence[str] = ()

    def kin(self, space: Space) -> Callable[[Sequence[str]], Kin]:
        """A function that tells what a point of this space has of each key of `affinity`: `()` where none varies."""
        bearing = [
            [i for i, d in enumerate(space.dimensions) if any(_bears_on(own, key) for own in d.config_keys())]
            for key in self.affinity
        ]
        if not any(bearing):
            return lambda point: ()

        @cache
        def of(dimension: int, key: int, text: str) -> tuple[str, ...]:
            given = space.dimensions[dimension].overrides(text)
            return tuple(o for o in given if _bears_on(config_key(o), self.affinity[key]))

        return lambda point: tuple(
            tuple(o for i in of_key for o in of(i, key, point[i])) for key, of_key in enumerate(bearing)
        )

    def kin_of(self, slot: Slot) -> Kin:
        """The same of one point of a plan; `()` where the sampler chooses it."""
        return () if slot.texts is None else self.kin(slot.space)(slot.texts)

    def apart(self, slot: Slot, overrides: Sequence[str]) -> tuple[str, ...]:
        """All in which a trial may not differ from those that it runs together with, as typed."""
        return (*slot.fixed, *sorted(o for o in overrides if not self._is_packable(o)))

    def packs(self, space: Space) -> bool:
        """Whether two points of this space can run together."""
        return any(
            d.count > 1 if d.finite else True
            for d in space.dimensions
            if all(self._is_packable(key) for key in d.config_keys())
        )

    def _is_packable(self, override: str) -> bool:
        return config_key(override) in self.packable


def _bears_on(own: str, key: str) -> bool:
    """Whether setting `own` sets `key`, something below it, or the whole node around it."""
    return f"{own}.".startswith(f"{key}.") or f"{key}.".startswith(f"{own}.")


def alike(one: Kin, other: Kin) -> int:
    """How many of the most telling keys two points have in common."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
