"""A sweep's trials in shared storage: which are to run, who runs them, how they ended.

Every step that must not happen twice is done under the study's lock: claiming a point, taking over a dead worker's
trial, telling a result. A trial keeps its number for all its attempts; points become trials in the plan's order, so
that the last trial says how far the plan has come.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from .errors import End, SweepError, near
from .leases import WorkerId, holds
from .outcome import LEASE, OUTCOME, OVERRIDES, POINT, STOP, Outcome, TrialRecord, state_of
from .plan import Plan, Slot
from .records import overrides_of, record_of
from .storage import SharedStorage, patiently

T = TypeVar("T")
HEADER = "sweep"  # user attributes of a study
PLAN = "plan"
STOPS = "stops"
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
class Orders:
    """What a heartbeat learns."""

    lost: bool = False  # another worker has taken the trial over
    stop_trial: bool = False
    stop_sweep: bool = False


class Study:
    """One sweep in a storage. Safe to use from several threads.

    Args:
        storage: where it lives.
        name: of the sweep; also of the Optuna study.
        patience_s: how long a storage may be away before an operation gives up.
    """

    def __init__(self, storage: SharedStorage, name: str, patience_s: float) -> None:
        self.storage = storage
        self.name = name
        self.patience_s = patience_s
        self._looked, self._crowd = -math.inf, 0  # when claims last looked for trials to take over; how many were open
        self._plan: tuple[list[Any], Plan] = ([], Plan())
        try:
            self.id: int = self._patiently(lambda: storage.optuna.get_study_id_from_name(name))
        except KeyError:
            raise SweepError(f"there is no sweep {name!r} in {storage.label}.{near(name, names(storage))}") from None

    # --- reading

    def header(self) -> dict[str, Any]:
        """What the sweep is: metrics, fixed overrides, command, folder, ..."""
        return dict(self._attrs()[HEADER])

    def plan(self) -> Plan:
        """What is to run."""
        return self._read_plan(self._attrs())

    def trials(self) -> list[FrozenTrial]:
        """Optuna's own records, in order of their numbers. Not to be changed."""
        return self._patiently(lambda: self.storage.optuna.get_all_trials(self.id, deepcopy=False))

    def records(self) -> list[TrialRecord]:
        """Every trial so far, in order of their numbers."""
        attrs = self._attrs()
        header, plan = attrs[HEADER], self._read_plan(attrs)
        metrics, folder = list(header["metrics"]), Path(header["folder"])
        return [record_of(t, metrics, folder, plan) for t in self.trials()]

    def unstarted(self) -> int:
        """Points that no worker has claimed yet."""
        return self.plan().total - _handed_out(self.trials())

    def stops(self) -> int:
        """How often the sweep was told to stop: a worker ends when this grows."""
        return int(self._attrs().get(STOPS, 0))

    def optuna_study(self, sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner) -> optuna.Study:
        """The same study as Optuna's object."""
        return self._patiently(
            lambda: optuna.load_study(study_name=self.name, storage=self.storage.optuna, sampler=sampler, pruner=pruner)
        )

    # --- what workers do

    def claim(
        self,
        worker: WorkerId,
        *,
        lease_s: float,
        max_retries: int,
        left: Callable[[int, int], Left] = lambda number, attempt: Left(),
    ) -> Claim | Wait | None:
        """Take the next trial: one that waits, one whose worker died, or the plan's next point; None when all is done.

        A trial whose workers died more than `max_retries` times ends as killed.

        Args:
            worker: who takes it.
            lease_s: how long it may stay silent.
            max_retries: after how many deaths a trial is given up.
            left: tells what the attempt of a trial left whose worker is gone.
        """

        def take() -> Claim | Wait | None:
            with self.storage.lock(self.name):
                plan, index = self._read_plan(self._attrs_now()), self._next_point()
                found: Claim | int = 0
                if index >= plan.total or self._due():
                    found = self._take_over(plan, worker, lease_s, max_retries, left)
                if isinstance(found, Claim):
                    return found
                if index < plan.total:
                    return self._create(index, plan.slot(index), worker, lease_s)
                return Wait(found) if found else None

        return self._patiently(take)

    def describe(self, claim: Claim, overrides: Sequence[str]) -> None:
        """Write down what a sampler chose."""
        self._patiently(lambda: self.storage.optuna.set_trial_user_attr(claim.trial_id, OVERRIDES, list(overrides)))

    def heartbeat(self, claim: Claim, fraction: float | None, *, lease_s: float, stops: int) -> Orders:
        """Renew the lease, say how far the trial is, and hear of orders.

        Raises:
            StorageUnavailableError: the storage is away, at once: whoever watches a trial has more to watch.
        """

        def beat() -> Orders:
            with self.storage.lock(self.name):
                trial = self._claimed(claim)
                if trial is None or not _mine(trial, claim):
                    return Orders(lost=True)
                self._lease(claim, lease_s, fraction)
                attrs = self._attrs_now()
                return Orders(False, bool(trial.user_attrs.get(STOP)), int(attrs.get(STOPS, 0)) > stops)

        return patiently(beat, self.storage, 0)

    def finish(self, claim: Claim, outcome: Outcome, values: Sequence[float] | None = None) -> bool:
        """Tell how a trial ended; False where another worker has taken it over (its result then counts).

        Args:
            values: of the metrics, in order, for a complete trial.
        """

        def tell() -> bool:
            with self.storage.lock(self.name):
                trial = self._claimed(claim)
                if trial is None:
                    return False
                if trial.state.is_finished():  # told before, and the answer was lost with the connection
                    return _mine(trial, claim, running=False)
                if not _mine(trial, claim):
                    return False
                self._close(trial, outcome, values)
                return True

        return self._patiently(tell)

    def release(self, claim: Claim) -> None:
        """Put a trial back among the waiting, to be continued from its checkpoint."""

        def free() -> None:
            with self.storage.lock(self.name):
                trial = self._claimed(claim)
                if trial is not None and not trial.state.is_finished() and _mine(trial, claim):
                    self.storage.optuna.set_trial_state_values(claim.trial_id, TrialState.WAITING)

        self._patiently(free)

    def same_as(self, fingerprint: str) -> tuple[int, Outcome, list[float]] | None:
        """A complete trial of the same config: its number, outcome and values."""
        for trial in self.trials():
            recorded = trial.user_attrs.get(OUTCOME)
            if trial.state != TrialState.COMPLETE or not recorded:
                continue  # a worker may have died between the two
            if recorded["end"] == End.COMPLETE and recorded["fingerprint"] == fingerprint:
                return trial.number, Outcome.from_json(recorded), list(trial.values)
        return None

    # --- what people order

    def stop(self) -> int:
        """Tell every worker of now to stop with a checkpoint; give how many trials were running."""

        def order() -> int:
            with self.storage.lock(self.name):
                count = int(self._attrs_now().get(STOPS, 0)) + 1
                self.storage.optuna.set_study_user_attr(self.id, STOPS, count)
                trials = self.storage.optuna.get_all_trials(self.id, deepcopy=False)
                return sum(t.state == TrialState.RUNNING and holds(t.system_attrs.get(LEASE)) for t in trials)

        return self._patiently(order)

    def stop_trial(self, number: int) -> str:
        """End one trial for good; give the state it was in.

        Raises:
            SweepError: there is no such trial.
        """

        def order() -> str:
            with self.storage.lock(self.name):
                trials = self.storage.optuna.get_all_trials(self.id, deepcopy=False)
                if not 0 <= number < len(trials):
                    last = f"0 to {len(trials) - 1}" if trials else "none yet"
                    raise SweepError(f"sweep {self.name!r} has no trial {number} (there are: {last}).")
                trial = trials[number]
                before = state_of(trial)
                if trial.state.is_finished():
                    return before
                self.storage.optuna.set_trial_user_attr(trial._trial_id, STOP, True)
                if not (trial.state == TrialState.RUNNING and holds(trial.system_attrs.get(LEASE))):
                    self._close(trial, Outcome(End.STOPPED, message="stopped by hand before it ended"), None)
                return before

        return self._patiently(order)

    # --- inside

    def _patiently(self, action: Callable[[], T]) -> T:
        return patiently(action, self.storage, self.patience_s)

    def _claimed(self, claim: Claim) -> FrozenTrial | None:
        """The record of a claimed trial; None where a crashed server has forgotten it: its point is handed out anew."""
        try:
            return self.storage.optuna.get_trial(claim.trial_id)
        except KeyError:
            return None

    def _attrs(self) -> dict[str, Any]:
        return self._patiently(self._attrs_now)

    def _attrs_now(self) -> dict[str, Any]:
        return self.storage.optuna.get_study_user_attrs(self.id)

    def _read_plan(self, attrs: Mapping[str, Any]) -> Plan:
        raw = attrs.get(PLAN, [])
        if raw != self._plan[0]:
            if self._plan[0]:
                self.storage.forget(self.id)  # whoever extended the plan may have widened records
            self._plan = (raw, Plan.from_json(raw))
        return self._plan[1]

    def _next_point(self) -> int:
        """How many points of the plan have become trials: they do so in order."""
        for number in range(self.storage.latest(self.id), -1, -1):
            trial = self._trial(number)
            if POINT in trial.user_attrs:
                return int(trial.user_attrs[POINT]) + 1
        return 0

    def _trial(self, number: int) -> FrozenTrial:
        optuna_storage = self.storage.optuna
        return optuna_storage.get_trial(optuna_storage.get_trial_id_from_study_id_trial_number(self.id, number))

    def _due(self) -> bool:
        """Whether to look for trials to take over before a new point: always, but now and then among many workers."""
        return self._crowd <= _CROWD or time.monotonic() - self._looked > _LOOK_S

    def _take_over(
        self, plan: Plan, worker: WorkerId, lease_s: float, max_retries: int, left: Callable[[int, int], Left]
    ) -> Claim | int:
        """A trial that waits or whose worker died; without one, how many run."""
        trials, running = self.storage.unfinished(self.id), 0
        self._looked, self._crowd = time.monotonic(), len(trials)
        # Whoever could not renew a lease because the storage was away may do so first.
        renewed = self.storage.returned + lease_s + _RENEWAL_S
        for trial in trials:
            if POINT not in trial.user_attrs:
                continue  # what another program has enqueued or runs is left to it
            lease: Mapping[str, Any] = trial.system_attrs.get(LEASE) or {}
            if trial.state == TrialState.RUNNING and lease.get("worker") != worker.name and holds(lease, renewed):
                running += 1
                continue
            claim = self._retake(trial, lease, plan, worker, lease_s, max_retries, left)
            if claim is not None:
                return claim
        return running

    def _retake(
        self,
        trial: FrozenTrial,
        lease: Mapping[str, Any],
        plan: Plan,
        worker: WorkerId,
        lease_s: float,
        max_retries: int,
        left: Callable[[int, int], Left],
    ) -> Claim | None:
        """Go on with a trial that waits or whose worker died; None where it ends here: it has died too often."""
        died = trial.state == TrialState.RUNNING and lease.get("worker") != worker.name
        if died:
            behind = left(trial.number, int(lease.get("attempt", 0)))
            died = behind.died
            if behind.outcome is not None:
                self._close(trial, behind.outcome, None)
                return None
        deaths = int(lease.get("deaths", 0)) + died
        if deaths > max_retries:
            who = lease.get("worker", "?")
            message = f"its process died {deaths} times, the last one was {who} (sweep.max_retries={max_retries})"
            self._close(trial, Outcome(End.KILLED, message=message), None)
            return None
        if trial.state == TrialState.WAITING:
            self.storage.optuna.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        claim = Claim(
            trial._trial_id,
            trial.number,
            int(lease.get("attempt", 0)) + 1,
            deaths,
            plan.slot(trial.user_attrs[POINT]),
            trial.params,
            overrides_of(trial),
            worker,
            time.time(),
        )
        self._lease(claim, lease_s, None)
        return claim

    def _create(self, index: int, slot: Slot, worker: WorkerId, lease_s: float) -> Claim:
        """Make the trial of a point that had none."""
        params: dict[str, Any] = {}
        attrs: dict[str, Any] = {POINT: index}
        distributions: Any = {}
        if slot.again is not None:
            before = self._trial(slot.again)
            params, distributions, overrides = before.params, before.distributions, overrides_of(before)
        else:
            overrides = slot.space.overrides(slot.texts) if slot.texts is not None else None
            if slot.texts is not None:
                params, distributions = slot.space.params(slot.texts), slot.space.distributions()
        if overrides is not None:
            attrs[OVERRIDES] = list(overrides)
        began = time.time()
        lease = worker.lease(lease_s=lease_s, attempt=1, deaths=0, fraction=None, began=began)
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions=distributions,
            user_attrs=attrs,
            system_attrs={LEASE: lease},
        )
        trial_id = self.storage.optuna.create_new_trial(self.id, template)
        number = self.storage.optuna.get_trial_number_from_id(trial_id)
        return Claim(trial_id, number, 1, 0, slot, params, overrides, worker, began)

    def _lease(self, claim: Claim, lease_s: float, fraction: float | None) -> None:
        lease = claim.worker.lease(
            lease_s=lease_s, attempt=claim.attempt, deaths=claim.deaths, fraction=fraction, began=claim.began
        )
        self.storage.optuna.set_trial_system_attr(claim.trial_id, LEASE, lease)

    def _close(self, trial: FrozenTrial, outcome: Outcome, values: Sequence[float] | None) -> None:
        storage, trial_id = self.storage.optuna, trial._trial_id
        storage.set_trial_user_attr(trial_id, OUTCOME, outcome.as_json())
        state = {End.COMPLETE: TrialState.COMPLETE, End.PRUNED: TrialState.PRUNED}.get(
            End(outcome.end), TrialState.FAIL
        )
        if state == TrialState.PRUNED and trial.intermediate_values and len(storage.get_study_directions(self.id)) == 1:
            values = [trial.intermediate_values[max(trial.intermediate_values)]]  # as Optuna's own loop does
        try:
            storage.set_trial_state_values(trial_id, state, values if state != TrialState.FAIL else None)
        except UpdateFinishedTrialError:  # by another program, between our look and our word
            raise SweepError(f"trial {trial.number} of {self.name!r} was finished by another program.") from None


def names(storage: SharedStorage) -> list[str]:
    """The sweeps in a storage, oldest first."""
    return [s.study_name for s in storage.optuna.get_all_studies() if HEADER in s.user_attrs]


def _handed_out(trials: Sequence[FrozenTrial]) -> int:
    """How many points of the plan have become trials: they do so in order."""
    for trial in reversed(trials):
        if POINT in trial.user_attrs:
            return int(trial.user_attrs[POINT]) + 1
    return 0


def _mine(trial: FrozenTrial, claim: Claim, *, running: bool = True) -> bool:
    lease = trial.system_attrs.get(LEASE) or {}
    held = lease.get("worker") == claim.worker.name and lease.get("attempt") == claim.attempt
    return held and (trial.state == TrialState.RUNNING or not running)
