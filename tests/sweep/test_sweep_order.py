"""In which order points are handed out: what is akin meets on one worker, and none waits while points are left."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import pytest

from tinyrm.sweep import End
from tinyrm.sweep.leases import WorkerId
from tinyrm.sweep.outcome import Outcome
from tinyrm.sweep.plan import Slot
from tinyrm.sweep.sharing import Sharing, alike
from tinyrm.sweep.space import parse
from tinyrm.sweep.study import Claim, Study, Wait

SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
DEPTH = Sharing(affinity=("backbone", "depth"))


class Hands:
    """A worker with a view of the study of its own, as in another process."""

    def __init__(self, world: Any, name: str, sharing: Sharing = DEPTH) -> None:
        self.study, self.sharing = Study(world.storage, "s", 10), sharing
        self.worker = replace(WorkerId.here(), name=name)
        self.held: list[Claim] = []

    def claim(self) -> Claim | Wait | None:
        return self.study.claim(self.worker, lease_s=1000, max_retries=2, sharing=self.sharing, holding=self.held)

    def take(self) -> Claim:
        found = self.claim()
        assert isinstance(found, Claim), found
        self.held.append(found)
        return found

    def run(self) -> tuple[str, ...]:
        """Claim a trial and finish it; its overrides."""
        held = self.take()
        self.end(held)
        return held.overrides or ()

    def end(self, held: Claim) -> None:
        self.held.remove(held)
        fingerprint = " ".join(sorted([*held.slot.fixed, *(held.overrides or ())]))
        assert self.study.finish(held, Outcome(End.COMPLETE, fingerprint=fingerprint, values={"value": 1.0}), [1.0])

    def idle(self) -> bool:
        """Whether there is nothing for it to do."""
        return not isinstance(self.claim(), Claim)


@SQLITE
def test_one_worker_ends_what_is_akin_before_it_turns_to_something_else(world: Any) -> None:
    world.ask("rank=1,2", "depth=6,12", "backbone=a,b")
    hands = Hands(world, "w")
    ran = [hands.run() for _ in range(8)]
    assert [(o[2], o[1]) for o in ran] == [  # the nearest next: the same backbone at another depth
        *[("backbone=a", "depth=6")] * 2,
        *[("backbone=a", "depth=12")] * 2,
        *[("backbone=b", "depth=6")] * 2,
        *[("backbone=b", "depth=12")] * 2,
    ]
    assert [o[0] for o in ran] == ["rank=1", "rank=2"] * 4
    assert hands.idle() and hands.study.unstarted() == 0
    assert [r.number for r in hands.study.records()] == list(range(8))
    assert {tuple(r.overrides) for r in hands.study.records()} == set(ran)


@SQLITE
def test_two_workers_part_and_help_each_other_at_the_end(world: Any) -> None:
    world.ask("rank=range(0,5)", "depth=6,12")
    one, two = Hands(world, "one"), Hands(world, "two")
    held, ran = one.take(), []
    assert held.overrides == ("rank=0", "depth=6")
    for _ in range(6):  # while the first one's trial goes on
        ran.append(two.run())
    assert ran[:5] == [(f"rank={n}", "depth=12") for n in range(5)]
    assert ran[5] == ("rank=1", "depth=6")  # nothing else is left: it does not wait
    one.end(held)
    assert [one.run() for _ in range(3)] == [(f"rank={n}", "depth=6") for n in (2, 3, 4)]
    assert one.idle() and two.idle()


@SQLITE
def test_where_others_are_everywhere_a_worker_goes_where_most_is_left(world: Any) -> None:
    world.ask(arms=[[f"depth={d}", f"rank={n}"] for d, count in ((6, 2), (12, 4)) for n in range(count)])
    one, two, three = (Hands(world, name) for name in ("one", "two", "three"))
    held = [hands.take().overrides for hands in (one, two, three)]
    assert held == [("depth=6", "rank=0"), ("depth=12", "rank=0"), ("depth=12", "rank=1")]


@SQLITE
def test_more_values_run_what_is_missing_whatever_the_order_was(world: Any) -> None:
    world.ask("rank=1,2", "depth=6,12")
    hands = Hands(world, "w")
    assert [hands.run()[1] for _ in range(3)] == ["depth=6", "depth=6", "depth=12"]
    settled = world.ask("rank=1,2,3", "depth=6,12")  # one of the first four has not run yet
    assert (settled.new, settled.kept, settled.study.unstarted()) == (2, 3, 3)
    later = Hands(world, "later")
    assert [later.run() for _ in range(3)] == [("rank=2", "depth=12"), ("rank=3", "depth=12"), ("rank=3", "depth=6")]
    assert later.idle() and hands.idle()
    asked = {(f"rank={r}", f"depth={d}") for r in (1, 2, 3) for d in (6, 12)}
    assert {tuple(r.overrides) for r in settled.study.records()} == asked


@SQLITE
def test_what_a_sampler_chooses_keeps_its_order(world: Any) -> None:
    world.ask("rank=1,2", "depth=6,12", sampler="random", n_trials=4)
    one, two = Hands(world, "one"), Hands(world, "two")
    numbers = [(one, two)[n % 2].take().number for n in range(4)]
    assert numbers == [0, 1, 2, 3]
    assert {t.user_attrs["point"]: t.number for t in one.study.trials()} == {n: n for n in range(4)}


@SQLITE
def test_trials_that_a_crashed_server_has_forgotten_are_handed_out_anew(world: Any, monkeypatch: Any) -> None:
    world.ask("rank=1,2", "depth=6,12")
    one, two = Hands(world, "one"), Hands(world, "two")
    one.run()
    two.run()
    forgotten = one.study.trials()[1]
    real = world.storage.points
    monkeypatch.setattr(
        world.storage, "points", lambda *asked: [t for t in real(*asked) if t[0] != forgotten._trial_id]
    )
    assert two.take().overrides == tuple(forgotten.user_attrs["overrides"])


@SQLITE
def test_many_workers_in_any_order_start_each_point_once(world: Any) -> None:
    world.ask("rank=range(0,6)", "depth=range(0,3)", "backbone=a,b")
    rng, hands = random.Random(3), [Hands(world, f"w{n}") for n in range(3)]
    held: list[tuple[Hands, Claim]] = []
    while hands[0].study.unstarted():
        own = rng.choice(hands)
        held.append((own, own.take()))
    assert len({h.overrides for _, h in held}) == len(held) == 36
    turns = {own.worker.name: [h.overrides[1:] for mine, h in held if mine is own] for own in hands}  # type: ignore[index]
    switches = sum(a != b for kin in turns.values() for a, b in itertools.pairwise(kin))
    assert switches < 14  # 36 points of 6 kinds on 3 workers: at random there would be some 27


def test_kinship_reads_overrides_of_every_shape() -> None:
    arms = [["model=big", "model.path=x", "rank=1"], ["model=small", "rank=1"], ["model=small", "rank=2"]]
    space, _ = parse(["data.max_pairs=1,2"], arms, None)  # type: ignore[arg-type]
    kin = Sharing(affinity=("model", "data", "freeze")).kin(space)
    assert [kin(point) for point in space.grid()] == [
        (model, (f"data.max_pairs={n}",), ())
        for model in (("model=big", "model.path=x"), ("model=small",), ("model=small",))
        for n in (1, 2)
    ]
    assert Sharing(affinity=("freeze",)).kin(space)(next(space.grid())) == ()
    assert Sharing(affinity=("model",)).kin_of(Slot(space, (), None)) == ()
    assert alike((("a",), ("b",)), (("a",), ("c",))) == 1 and alike((), (("a",),)) == 0
