"""Handing out a study's points: who runs which trial, for how long, and what becomes of it when they are gone.

A trial keeps its number for all its attempts, and says which point of the plan it is. Which point comes next is decided
in :mod:`.points`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from .errors import End, SweepError
from .leases import WorkerId, holds
from .outcome import ALONE, LEASE, OUTCOME, OVERRIDES, POINT, Outcome
from .plan import Plan, Slot
from .points import Points
from .records import overrides_of
from .shared import SharedStorage
from .sharing import Kin, Sharing

_CROWD = 16  # open trials up to which every claim looks through them
_LOOK_S = 5.0  # how often, where there are more
_RENEWAL_S = 4.0  # within which a waiting worker finds out that the storage is back


@dataclass(frozen=True)
class Claim:
    """A trial that this worker runs, until it is finished, released or lost.

    Attributes:
        number: of the trial, and of its folder.
        attempt: 1, or more where it was interrupted or its worker died.
        slot: its point of the plan.
        params: those known so far; a sampler adds to them.
        overrides: what its config is composed from; None until a sampler has chosen.
        worker: who holds it.
        began: when this attempt began, in seconds since the epoch.
        alone: beside others there was not enough memory for it.
    """

    trial_id: int
    number: int
    attempt: int
    deaths: int
    slot: Slot
    params: Mapping[str, Any]
    overrides: tuple[str, ...] | None
    worker: WorkerId
    began: float
    alone: bool = False


@dataclass(frozen=True)
class Left:
    """What an attempt whose worker is gone has left in its trial's folder.

    Attributes:
        died: whether it counts as a death; not where its worker could only not tell how it went.
        outcome: how the trial ended, where that is known.
    """

    died: bool = True
    outcome: Outcome | None = None


@dataclass(frozen=True)
class Wait:
    """Nothing to claim now, but others still run and may die."""

    running: int


@dataclass(frozen=True)
class Terms:
    """On which a worker claims.

    Attributes:
        worker: who.
        lease_s: how long it may stay silent.
        max_retries: after how many deaths a trial is given up.
        left: (trial, attempt, worker's name) -> what that attempt left, whose worker is gone.
        sharing: which trials have something in common.
        holding: the trials that it has now; any other one in its name is a claim whose answer never reached it.
        beside: take only what may run together with those.
    """

    worker: WorkerId
    lease_s: float
    max_retries: int
    left: Callable[[int, int, str], Left] = lambda number, attempt, worker: Left()
    sharing: Sharing = field(default_factory=Sharing)
    holding: Sequence[Claim] = ()
    beside: bool = False

    def takes(self, slot: Slot, overrides: Sequence[str] | None) -> bool:
        """Whether it takes a trial with these overrides; None: those that a sampler is still to choose."""
        if not self.beside or overrides is None:
            return True
        first = self.holding[0]
        return self.sharing.apart(slot, overrides) == self.sharing.apart(first.slot, first.overrides or ())


class Claims:
    """The trials of one study. All but reading is to be called under the study's lock.

    Args:
        storage: where the study lives.
        study_id: Optuna's.
        name: of the sweep.
    """

    def __init__(self, storage: SharedStorage, study_id: int, name: str) -> None:
        self._storage, self._id, self._name = storage, study_id, name
        self._looked, self._crowd = -math.inf, 0  # when claims last looked for trials to take over; how many were open
        self._points = Points(storage, study_id)

    def take(self, plan: Plan, terms: Terms) -> Claim | Wait | None:
        """The next trial: one that waits, one whose worker died, or a point of the plan; None when all is done."""
        self._points.read()
        found: Claim | int = 0
        if not self._points.left(plan) or self._due() or terms.beside:
            found = self._take_over(plan, terms)
        if isinstance(found, int):
            index = self._next_point(plan, terms)
            if index is None:
                return Wait(found) if found and not terms.beside else None
            found = self._create(index, plan.slot(index), terms)
        self._points.took(terms.sharing.kin_of(found.slot))
        return found

    def _next_point(self, plan: Plan, terms: Terms) -> int | None:
        if not terms.beside:
            return self._points.next(plan, terms.sharing, lambda: self._busy(plan, terms))

        def fits(index: int) -> bool:
            slot = plan.slot(index)
            known = None if slot.texts is None else slot.space.overrides(slot.texts)
            return slot.again is None and terms.takes(slot, known)

        return self._points.beside(plan, terms.sharing, fits)

    def held(self, claim: Claim) -> FrozenTrial | None:
        """The record of a claimed trial; None where a crashed server has forgotten it: its point is handed out anew."""
        try:
            return self._storage.optuna.get_trial(claim.trial_id)
        except KeyError:
            return None

    def renew(self, claim: Claim, lease_s: float, fraction: float | None) -> None:
        """Write down that its worker lives, and how far the trial is."""
        lease = claim.worker.lease(
            lease_s=lease_s, attempt=claim.attempt, deaths=claim.deaths, fraction=fraction, began=claim.began
        )
        self._storage.optuna.set_trial_system_attr(claim.trial_id, LEASE, lease)

    def close(self, trial: FrozenTrial, outcome: Outcome, values: Sequence[float] | None) -> None:
        """Record how a trial ended.

        Raises:
            SweepError: another program has finished it meanwhile.
        """
        storage, trial_id = self._storage.optuna, trial._trial_id
        storage.set_trial_user_attr(trial_id, OUTCOME, outcome.as_json())
        state = {End.COMPLETE: TrialState.COMPLETE, End.PRUNED: TrialState.PRUNED}.get(
            End(outcome.end), TrialState.FAIL
        )
        if (
            state == TrialState.PRUNED
            and trial.intermediate_values
            and len(storage.get_study_directions(self._id)) == 1
        ):
            values = [trial.intermediate_values[max(trial.intermediate_values)]]  # as Optuna's own loop does
        try:
            storage.set_trial_state_values(trial_id, state, values if state != TrialState.FAIL else None)
        except UpdateFinishedTrialError:  # by another program, between our look and our word
            raise SweepError(f"trial {trial.number} of {self._name!r} was finished by another program.") from None

    def _trial(self, number: int) -> FrozenTrial:
        optuna_storage = self._storage.optuna
        return optuna_storage.get_trial(optuna_storage.get_trial_id_from_study_id_trial_number(self._id, number))

    def _due(self) -> bool:
        """Whether to look for trials to take over before a new point: always, but now and then among many workers."""
        return self._crowd <= _CROWD or time.monotonic() - self._looked > _LOOK_S

    def _busy(self, plan: Plan, terms: Terms) -> set[Kin]:
        """What others run now, by kin."""
        running = [t for t in self._storage.unfinished(self._id) if t.state == TrialState.RUNNING]
        leases = [(t, t.system_attrs.get(LEASE) or {}) for t in running if POINT in t.user_attrs]
        theirs = [t for t, lease in leases if lease.get("worker") != terms.worker.name and holds(lease)]
        return {terms.sharing.kin_of(plan.slot(t.user_attrs[POINT])) for t in theirs}

    def _take_over(self, plan: Plan, terms: Terms) -> Claim | int:
        """A trial that waits or whose worker died; without one, how many run."""
        trials, running = self._storage.unfinished(self._id), 0
        held = {claim.trial_id for claim in terms.holding}
        self._looked, self._crowd = time.monotonic(), len(trials)
        # Whoever could not renew a lease because the storage was away may do so first.
        renewed = self._storage.returned + terms.lease_s + _RENEWAL_S
        for trial in trials:
            if POINT not in trial.user_attrs or trial._trial_id in held:
                continue  # what another program has enqueued or runs is left to it
            lease: Mapping[str, Any] = trial.system_attrs.get(LEASE) or {}
            others = trial.state == TrialState.RUNNING and lease.get("worker") != terms.worker.name
            if others and holds(lease, renewed):
                running += 1
                continue
            if terms.beside and not self._joins(trial, plan, terms):
                continue
            claim = self._retake(trial, lease, plan, terms, orphaned=others)
            if claim is not None:
                return claim
        return running

    def _joins(self, trial: FrozenTrial, plan: Plan, terms: Terms) -> bool:
        """Whether a trial that was begun before may run beside others."""
        overrides = overrides_of(trial)
        known = overrides is not None and not trial.user_attrs.get(ALONE)
        return known and terms.takes(plan.slot(trial.user_attrs[POINT]), overrides)

    def _retake(
        self, trial: FrozenTrial, lease: Mapping[str, Any], plan: Plan, terms: Terms, *, orphaned: bool
    ) -> Claim | None:
        """Go on with a trial that waits or whose worker died; None where it ends here: it has died too often."""
        died = orphaned
        if orphaned:
            behind = terms.left(trial.number, int(lease.get("attempt", 0)), str(lease.get("worker")))
            died = behind.died
            if behind.outcome is not None:
                self.close(trial, behind.outcome, None)
                return None
        deaths = int(lease.get("deaths", 0)) + died
        if deaths > terms.max_retries:
            who = lease.get("worker", "?")
            message = f"its process died {deaths} times, the last one was {who} (sweep.max_retries={terms.max_retries})"
            self.close(trial, Outcome(End.KILLED, message=message), None)
            return None
        if trial.state == TrialState.WAITING:
            self._storage.optuna.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        claim = Claim(
            trial._trial_id,
            trial.number,
            int(lease.get("attempt", 0)) + 1,
            deaths,
            plan.slot(trial.user_attrs[POINT]),
            trial.params,
            overrides_of(trial),
            terms.worker,
            time.time(),
            bool(trial.user_attrs.get(ALONE)),
        )
        self.renew(claim, terms.lease_s, None)
        return claim

    def _create(self, index: int, slot: Slot, terms: Terms) -> Claim:
        """Make the trial of a point that had none."""
        params: dict[str, Any] = {}
        attrs: dict[str, Any] = {POINT: index}
        distributions: Any = {}
        if slot.again is not None:
            before = self._trial(slot.again)
            overrides = overrides_of(before)
            if overrides is not None:  # else the sampler had not chosen all of them, and chooses anew
                params, distributions = before.params, before.distributions
        else:
            overrides = slot.space.overrides(slot.texts) if slot.texts is not None else None
            if slot.texts is not None:
                params, distributions = slot.space.params(slot.texts), slot.space.distributions()
        if overrides is not None:
            attrs[OVERRIDES] = list(overrides)
        began = time.time()
        lease = terms.worker.lease(lease_s=terms.lease_s, attempt=1, deaths=0, fraction=None, began=began)
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions=distributions,
            user_attrs=attrs,
            system_attrs={LEASE: lease},
        )
        trial_id = self._storage.optuna.create_new_trial(self._id, template)
        number = self._storage.optuna.get_trial_number_from_id(trial_id)
        return Claim(trial_id, number, 1, 0, slot, params, overrides, terms.worker, began)


def is_mine(trial: FrozenTrial, claim: Claim, *, running: bool = True) -> bool:
    """Whether nobody else has taken the claimed trial since; `running`: and it has not ended."""
    lease = trial.system_attrs.get(LEASE) or {}
    held = lease.get("worker") == claim.worker.name and lease.get("attempt") == claim.attempt
    return held and (trial.state == TrialState.RUNNING or not running)
