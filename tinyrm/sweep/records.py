"""From Optuna's record of a trial to ours."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from .leases import holds
from .outcome import LEASE, OUTCOME, OVERRIDES, POINT, Outcome, TrialRecord, state_of
from .plan import Plan


def overrides_of(trial: FrozenTrial) -> tuple[str, ...] | None:
    """The overrides of its own; None until a sampler has chosen."""
    kept = trial.user_attrs.get(OVERRIDES)
    return None if kept is None else tuple(kept)


def records_of(trials: Sequence[FrozenTrial], metrics: Sequence[str], folder: Path, plan: Plan) -> list[TrialRecord]:
    """Trials as a reader sees them.

    Args:
        metrics: of the sweep, in order.
        folder: of the sweep.
        plan: of the sweep, for the overrides that trials share, and for what is a repetition of what.
    """
    slots = {t.number: plan.slot(p) for t in trials if (p := t.user_attrs.get(POINT)) is not None and p < plan.total}
    repeats = {slot.again: number for number, slot in slots.items() if slot.again is not None}
    found = []
    for trial in trials:
        slot = slots.get(trial.number)
        record = _record_of(trial, metrics, folder, slot.fixed if slot is not None else ())
        found.append(replace(record, repeated_as=repeats[trial.number]) if trial.number in repeats else record)
    return found


def _record_of(trial: FrozenTrial, metrics: Sequence[str], folder: Path, fixed: tuple[str, ...]) -> TrialRecord:
    state, lease = state_of(trial), trial.system_attrs.get(LEASE) or {}
    recorded = trial.user_attrs.get(OUTCOME)
    outcome = Outcome.from_json(recorded) if recorded else Outcome(state)
    values = {k: v for k, v in outcome.values.items() if v is not None}
    if not recorded and trial.values is not None:  # finished by another program
        values = dict(zip(metrics, trial.values, strict=True))
    running = trial.state == TrialState.RUNNING
    return TrialRecord(
        number=trial.number,
        state=state,
        params=trial.params,
        overrides=overrides_of(trial) or (),
        fixed=fixed,
        values=values,
        intervals=outcome.intervals,
        info=outcome.info,
        attempt=int(lease.get("attempt", 1)),
        fraction=lease.get("fraction") if running else None,
        seconds=time.time() - float(lease["began"]) if running and lease else outcome.seconds,
        devices=outcome.devices or str(lease.get("devices", "")),
        worker=str(lease.get("worker", "")),
        message=outcome.message,
        traceback=outcome.traceback,
        fingerprint=outcome.fingerprint,
        same_as=outcome.same_as,
        folder=folder / str(trial.number),
        alive=running and holds(lease),
    )
