"""A sweep's trials in shared storage: which are to run, who runs them, how they ended.

Every step that must not happen twice is done under the study's lock: claiming a point, taking over a dead worker's
trial, telling a result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.trial import FrozenTrial, TrialState

from .claims import Claim, Claims, Terms, Wait, is_mine
from .errors import End, SweepError, near
from .leases import WorkerId, holds
from .outcome import ALONE, LEASE, OUTCOME, OVERRIDES, POINT, STOP, Outcome, TrialRecord, state_of
from .plan import Plan
from .records import records_of
from .shared import SharedStorage, patiently

T = TypeVar("T")
HEADER = "sweep"  # user attributes of a study
PLAN = "plan"
STOPS = "stops"


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
        self._plan: tuple[list[Any], Plan] = ([], Plan())
        try:
            self.id: int = self._patiently(lambda: storage.optuna.get_study_id_from_name(name))
        except KeyError:
            raise SweepError(f"there is no sweep {name!r} in {storage.label}.{near(name, names(storage))}") from None
        self._claims = Claims(storage, self.id, name)

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
        return records_of(self.trials(), metrics, folder, plan)

    def unstarted(self) -> int:
        """Points that no worker has claimed yet."""
        return self.plan().total - _started(self.trials())

    def load(self, worker: WorkerId) -> tuple[int, int]:
        """What is left to begin or go on with (points not claimed, trials that nobody runs); how many others work."""
        trials = self.trials()
        ours = [t for t in trials if not t.state.is_finished() and POINT in t.user_attrs]
        running = [t for t in ours if _runs(t)]
        left = self.plan().total - _started(trials) + len(ours) - len(running)
        return left, len({t.system_attrs[LEASE]["worker"] for t in running} - {worker.name})

    def stops(self) -> int:
        """How often the sweep was told to stop: a worker ends when this grows."""
        return self._patiently(self._stops_now)

    def progress(self, stops: int) -> tuple[int, bool]:
        """How many trials have not ended, and whether the sweep has been told to stop more often than `stops`."""
        trials = self.trials()
        attrs = self._attrs()
        ended = sum(t.state.is_finished() and POINT in t.user_attrs for t in trials)
        return self._read_plan(attrs).total - ended, self.stops() > stops

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
        **terms: Any,
    ) -> Claim | Wait | None:
        """Take the next trial: one that waits, one whose worker died, or a point of the plan; None when all is done.

        A trial whose workers died more than `max_retries` times ends as killed.

        Args:
            worker: who takes it.
            lease_s: how long it may stay silent.
            max_retries: after how many deaths a trial is given up.
            terms: what else :class:`~.claims.Terms` takes.
        """
        whole = Terms(worker, lease_s, max_retries, **terms)

        def take() -> Claim | Wait | None:
            with self.storage.lock(self.name):
                return self._claims.take(self._read_plan(self._attrs_now()), whole)

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
                trial = self._claims.held(claim)
                if trial is None or not is_mine(trial, claim):
                    return Orders(lost=True)
                self._claims.renew(claim, lease_s, fraction)
                return Orders(False, bool(trial.user_attrs.get(STOP)), self._stops_now() > stops)

        return patiently(beat, self.storage, 0)

    def finish(self, claim: Claim, outcome: Outcome, values: Sequence[float] | None = None) -> bool:
        """Tell how a trial ended; False where another worker has taken it over (its result then counts).

        Args:
            values: of the metrics, in order, for a complete trial.
        """

        def tell() -> bool:
            with self.storage.lock(self.name):
                trial = self._claims.held(claim)
                if trial is None:
                    return False
                if trial.state.is_finished():  # told before, and the answer was lost with the connection
                    return is_mine(trial, claim, running=False)
                if not is_mine(trial, claim):
                    return False
                self._claims.close(trial, outcome, values)
                return True

        return self._patiently(tell)

    def release(self, claim: Claim, *, alone: bool = False) -> None:
        """Put a trial back among the waiting, to be continued from its checkpoint; `alone`: not beside others."""

        def free() -> None:
            with self.storage.lock(self.name):
                trial = self._claims.held(claim)
                if trial is not None and not trial.state.is_finished() and is_mine(trial, claim):
                    if alone:
                        self.storage.optuna.set_trial_user_attr(claim.trial_id, ALONE, True)
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
                self.storage.optuna.set_study_system_attr(self.id, STOPS, self._stops_now() + 1)
                trials = self.storage.optuna.get_all_trials(self.id, deepcopy=False)
                return sum(map(_runs, trials))

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
                if not _runs(trial):
                    self._claims.close(trial, Outcome(End.STOPPED, message="stopped by hand before it ended"), None)
                return before

        return self._patiently(order)

    # --- inside

    def _patiently(self, action: Callable[[], T]) -> T:
        return patiently(action, self.storage, self.patience_s)

    def _attrs(self) -> dict[str, Any]:
        return self._patiently(self._attrs_now)

    def _attrs_now(self) -> dict[str, Any]:
        return self.storage.optuna.get_study_user_attrs(self.id)

    def _stops_now(self) -> int:
        # Beside the plan, which may be long, and not in it: every heartbeat of every worker reads it.
        return int(self.storage.optuna.get_study_system_attrs(self.id).get(STOPS, 0))

    def _read_plan(self, attrs: Mapping[str, Any]) -> Plan:
        raw = attrs.get(PLAN, [])
        if raw != self._plan[0]:
            if self._plan[0]:
                self.storage.forget(self.id)  # whoever extended the plan may have widened records
            self._plan = (raw, Plan.from_json(raw))
        return self._plan[1]


def names(storage: SharedStorage) -> list[str]:
    """The sweeps in a storage, oldest first."""
    return [s.study_name for s in storage.optuna.get_all_studies() if HEADER in s.user_attrs]


def _started(trials: Sequence[FrozenTrial]) -> int:
    """How many points of the plan have become trials."""
    return len({t.user_attrs[POINT] for t in trials if POINT in t.user_attrs})


def _runs(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.RUNNING and holds(trial.system_attrs.get(LEASE))
