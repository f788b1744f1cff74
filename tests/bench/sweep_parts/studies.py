"""Studies of a plain grid, made without an application."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from optuna.storages._rdb.models import BaseModel
from optuna.trial import FrozenTrial, TrialState

from tinyrm.sweep import End
from tinyrm.sweep.leases import WorkerId
from tinyrm.sweep.outcome import LEASE, OUTCOME, OVERRIDES, POINT, Outcome
from tinyrm.sweep.plan import Slot
from tinyrm.sweep.planning import Question, Settled, settle
from tinyrm.sweep.space import Space, parse
from tinyrm.sweep.storage import SharedStorage
from tinyrm.sweep.study import Study

NAME = "grid"


def space_of(points: int) -> Space:
    """At least as many points, of three numbers and a choice."""
    last = -(-points // 80)
    loader = ConfigLoaderImpl(create_config_search_path(None))
    return parse([f"rank={_to(4)}", f"freeze={_to(5)}", "prompt=a,b,c,d", f"seed={_to(last)}"], None, loader)[0]


def _to(count: int) -> str:
    return ",".join(map(str, range(count))) if count > 1 else "range(0,1)"


def question_of(points: int, folder: Path) -> Question:
    """A grid of exactly so many trials."""
    space = space_of(points)
    return Question(
        space=space,
        fixed=("model=minilm", "data=synthetic"),
        sampler="grid",
        n_trials=points,
        fingerprints=tuple(f"{i:016x}" for i in range(space.size)),
        meaning={f"group{i}.key{i}": i for i in range(80)},  # as many keys as this project's config has
        identity={f"module{i}": f"{i:012x}" for i in range(40)},
        metrics={"value": "maximize"},
        command=(),
        program="bench",
        folder=folder,
    )


def make(storage: SharedStorage, points: int, folder: Path) -> Settled:
    """The study."""
    return settle(storage, NAME, question_of(points, folder), 60)


def fill(study: Study, trials: int) -> None:
    """Record the first `trials` points as complete, as workers leave them: one through Optuna, the others beside it.

    Row by row through Optuna, 20,000 would take minutes.
    """
    plan, worker = study.plan(), WorkerId.here()
    space, kinds = plan.slot(0).space, plan.slot(0).space.distributions()
    internal = {
        d.name: {text: kinds[d.name].to_internal_repr(d.stored(text)) for text in d.values()} for d in space.dimensions
    }
    lease = worker.lease(lease_s=60, attempt=1, deaths=0, fraction=None, began=time.time())
    template = _template(plan.slot(0), 0, lease)
    first = study.storage.optuna.create_new_trial(study.id, template)
    tables = BaseModel.metadata.tables
    with study.storage.optuna._backend.engine.begin() as connection:  # type: ignore[attr-defined]
        for name in ("trials", "trial_values", "trial_params", "trial_user_attributes", "trial_system_attributes"):
            table = tables[name]
            rows = connection.execute(table.select().where(table.c.trial_id == first)).mappings().all()
            made = [
                {**row, **_changes(name, row, plan.slot(index), index, internal), "trial_id": first + index}
                for index in range(1, trials)
                for row in rows
            ]
            for row in made:
                for key in table.primary_key.columns:
                    if key.name != "trial_id":
                        del row[key.name]
            if made:
                connection.execute(table.insert(), made)


def _template(slot: Slot, index: int, lease: dict[str, Any]) -> FrozenTrial:
    assert slot.texts is not None
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE,
        values=[0.5],
        params=slot.space.params(slot.texts),
        distributions=slot.space.distributions(),
        user_attrs={
            POINT: index,
            OVERRIDES: list(slot.space.overrides(slot.texts)),
            OUTCOME: _outcome(index).as_json(),
        },
        system_attrs={LEASE: lease},
    )


def _outcome(index: int) -> Outcome:
    return Outcome(End.COMPLETE, f"{index:016x}", {"value": 0.5, "loss": 0.5}, {"value": (0.4, 0.6)}, {"n": 300})


def _changes(
    table: str, row: Mapping[str, Any], slot: Slot, index: int, internal: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """What differs between the row of the first trial and that of another.

    Args:
        internal: of each parameter, what Optuna stores for a value.
    """
    assert slot.texts is not None
    if table == "trials":
        return {"number": index}
    if table == "trial_params":
        texts = {d.name: text for d, text in zip(slot.space.dimensions, slot.texts, strict=True)}
        return {"param_value": internal[row["param_name"]][texts[row["param_name"]]]}
    if table == "trial_user_attributes":
        values = {POINT: index, OVERRIDES: slot.space.overrides(slot.texts), OUTCOME: _outcome(index).as_json()}
        return {"value_json": json.dumps(values[row["key"]])}
    return {}
