"""Which of a plan's points are to become trials next.

The first segment that has points left gives them, in its order; but a worker goes on with points akin to its last one
(see :class:`~.sharing.Sharing`) as long as there are any, and then begins where no other worker is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .plan import Plan, Segment
from .shared import SharedStorage
from .sharing import Kin, Sharing, alike

_SCANNED = 2000  # points looked at for one that may run together with others


@dataclass
class _Group:
    """Points that are akin.

    Attributes:
        kin: what they have in common.
        points: their numbers in the plan, ascending.
        gone: how many of the first ones are known to have been started.
    """

    kin: Kin
    points: Sequence[int]
    gone: int = 0


class Points:
    """One worker's view of the points of one study. To be used under the study's lock.

    Args:
        storage: where the study lives.
        study_id: Optuna's.
    """

    def __init__(self, storage: SharedStorage, study_id: int) -> None:
        self._storage, self._id = storage, study_id
        self._started: set[int] = set()
        self._last: tuple[int, int] | None = None  # trial id and point of the latest trial we know of
        self._full = 0  # segments of which every point has been started
        self._cut: tuple[int, Plan, Sharing] | None = None  # of which segment `_groups` are
        self._groups: list[_Group] = []
        self._kin: Kin = ()  # of this worker's last trial

    def read(self) -> None:
        """Take in the trials that have been made since."""
        found = self._storage.points(self._id, self._last[0] if self._last else 0)
        if self._last is not None and self._last not in found[:1]:  # a crashed server has forgotten what it told us
            self._started.clear()
            self._full, self._cut = 0, None
            found = self._storage.points(self._id, 0)
        self._started.update(point for _, point in found)
        self._last = found[-1] if found else None

    def left(self, plan: Plan) -> int:
        """How many points have not become trials."""
        return plan.total - len(self._started)

    def took(self, kin: Kin) -> None:
        """This worker's trial is of this kin."""
        self._kin = kin or self._kin

    def next(self, plan: Plan, sharing: Sharing, busy: Callable[[], set[Kin]]) -> int | None:
        """The point that this worker should start now; None where there is none.

        Args:
            busy: asked where this worker must turn to other points: of which kin those are that others run.
        """
        groups = self._open(plan, sharing)
        if not groups:
            return None
        own = next((g for g in groups if g.kin == self._kin), None)
        if own is None:
            others = busy() if len(groups) > 1 else set()
            free = [g for g in groups if g.kin not in others]
            # Nearest to what it has just done; where others are everywhere, it helps where most is left.
            own = max(free, key=lambda g: alike(g.kin, self._kin)) if free else max(groups, key=self._waiting)
        return next(self._unstarted(own))

    def beside(self, plan: Plan, sharing: Sharing, fits: Callable[[int], bool]) -> int | None:
        """The first point akin to this worker's last trial that `fits` (asked with its number); None without one."""
        groups = [g for g in self._open(plan, sharing) if g.kin == self._kin or not g.kin]
        for group in groups:
            for scanned, point in enumerate(self._unstarted(group)):
                if scanned == _SCANNED:
                    break
                if fits(point):
                    return point
        return None

    def _open(self, plan: Plan, sharing: Sharing) -> list[_Group]:
        """The groups with points left of the first segment that has any."""
        for index in range(self._full, len(plan.segments)):
            if self._cut != (index, plan, sharing):
                begin = sum(segment.count for segment in plan.segments[:index])
                self._groups, self._cut = _groups(plan.segments[index], begin, sharing), (index, plan, sharing)
            found = [g for g in self._groups if next(self._unstarted(g), None) is not None]
            if found:
                return found
            self._full = index + 1
        return []

    def _unstarted(self, group: _Group) -> Iterator[int]:
        while group.gone < len(group.points) and group.points[group.gone] in self._started:
            group.gone += 1
        places = range(group.gone, len(group.points))
        return (point for place in places if (point := group.points[place]) not in self._started)

    def _waiting(self, group: _Group) -> int:
        return sum(1 for _ in self._unstarted(group))


def _groups(segment: Segment, begin: int, sharing: Sharing) -> list[_Group]:
    """The points of a segment by what they have in common, in order of their first."""
    whole = [_Group((), range(begin, begin + segment.count))]
    if segment.sampled or segment.again or segment.space.size < 2:
        return whole
    kin = sharing.kin(segment.space)
    if not kin(segment.kept[0]):
        return whole
    found: dict[Kin, list[int]] = {}
    for offset, point in enumerate(segment.kept):
        found.setdefault(kin(point), []).append(begin + offset)
    return [_Group(own, points) for own, points in found.items()]
