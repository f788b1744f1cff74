"""Making a study, and going on with one: the same name runs what is missing, and nothing twice."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from .errors import SweepError
from .folders import owner_of
from .journal import JournalFile
from .outcome import OUTCOME, POINT, state_of
from .plan import Plan, Segment
from .shared import SharedStorage, patiently
from .space import Dimension, Space, config_key, is_below
from .study import HEADER, PLAN, Study, names

PLANNED = "sweep:planned:{}"  # system attributes of a study: fingerprints of the points of a segment
_FAILED = ("failed", "out_of_memory", "nonfinite", "timed_out", "killed")


@dataclass(frozen=True)
class Question:
    """What one call of a sweep asks.

    Attributes:
        space, fixed: what varies, and the overrides that do not.
        sampler: grid, or the name of a sampler.
        n_trials: how many in all; None for all of a grid.
        fingerprints: of a grid's points, in order; of equal points one is run.
        meaning: of the config without what varies, by dotted key; of what is fixed below a group that varies, as typed.
        identity: of the code.
        metrics: name -> maximize | minimize.
        search: what else decides which points are drawn and pruned: seed and options.
        command: the overrides as typed, to resume by.
        program: what they were typed after.
        folder: of all sweeps.
        on_change: refuse | new.
        retry_failed: run failed trials once more.
    """

    space: Space
    fixed: tuple[str, ...]
    sampler: str
    n_trials: int | None
    fingerprints: tuple[str, ...]
    meaning: Mapping[str, Any]
    identity: Mapping[str, str]
    metrics: Mapping[str, str]
    command: tuple[str, ...]
    program: str
    folder: Path
    on_change: str = "refuse"
    retry_failed: bool = False
    search: Mapping[str, Any] = field(default_factory=dict)

    def own_name(self) -> str:
        """A name that the same question has again: what varies, and six digits of everything that matters."""
        keys = [d.name.rpartition(".")[2] for d in self.space.dimensions] or ["single"]
        asked = [
            [d.as_json() for d in self.space.dimensions],
            self.sampler,
            self.n_trials,
            {k: str(v) for k, v in self.meaning.items()},
            dict(self.identity),
            dict(self.metrics),
            *([dict(self.search)] if self.search else ()),
        ]
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:6]
        return re.sub(r"[^\w-]+", "_", "-".join(keys))[:40] + f"-{digest}"


@dataclass(frozen=True)
class Settled:
    """What came of it.

    Attributes:
        study: made or found.
        new: points added by this call.
        kept: trials that were there before.
        there: points asked for that the study has already.
        equal: points left out because another one of this call is equal.
    """

    study: Study
    new: int
    kept: int
    there: int
    equal: int


def settle(storage: SharedStorage, name: str | None, question: Question, patience_s: float) -> Settled:
    """Make the study, or extend the one of this name by what is missing.

    Raises:
        SweepError: the study of this name asks something else (other fixed overrides, code or metrics).
    """
    wanted = name or question.own_name()
    if not re.fullmatch(r"[\w][\w.+-]*", wanted):
        raise SweepError(f"sweep.name={wanted!r} names a folder: use letters, digits, '-', '_' and '.'.")
    if name is not None and question.on_change == "new":
        wanted = _fitting_name(storage, wanted, question, patience_s)

    def act() -> Settled:
        with storage.lock(wanted):
            if wanted not in names(storage):
                _make(storage, wanted, question)
            return _extend(Study(storage, wanted, patience_s), question)

    return patiently(act, storage, patience_s)


def differences(study: Study, question: Question) -> list[str]:
    """How a question differs from the one the study was made for, one line each; what varies does not count."""
    header = study.header()
    lines = _changed(header["meaning"], study.plan(), question)
    before, after = header["identity"], question.identity
    changed = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    if changed:
        shown = ", ".join(changed[:6]) + (f" and {len(changed) - 6} more" if len(changed) > 6 else "")
        lines.append(f"the code that decides results has changed: {shown}")
    if header["metrics"] != dict(question.metrics):
        lines.append(f"sweep.metrics: {header['metrics']} -> {dict(question.metrics)}")
    return lines


def _changed(before: Mapping[str, Any], plan: Plan, question: Question) -> list[str]:
    """Keys of the config that have changed, but for those that vary and for what a group that varies brings along."""
    after = _plain(question.meaning)
    varies = plan.keys() | question.space.config_keys()
    typed = plan.given() | {config_key(o) for o in question.fixed}
    return [
        f"{key}: {_shown(before, key)} -> {_shown(after, key)}"
        for key in sorted(before.keys() | after.keys())
        if (key in before, before.get(key)) != (key in after, after.get(key))
        and key not in varies
        and (key in typed or not is_below(key, varies))
    ]


def _fitting_name(storage: SharedStorage, name: str, question: Question, patience_s: float) -> str:
    """`name`, or `name-2`, `name-3`, ...: the first that is free or asks the same."""
    known, candidate, count = patiently(lambda: names(storage), storage, patience_s), name, 1
    while candidate in known and differences(Study(storage, candidate, patience_s), question):
        count += 1
        candidate = f"{name}-{count}"
    return candidate


def _make(storage: SharedStorage, name: str, question: Question) -> None:
    folder = (question.folder / name).absolute()
    if any(child.name.isdigit() for child in folder.glob("*")):
        raise SweepError(
            f"{folder} holds trials, but {storage.label} knows no sweep {name!r}: give the storage they belong to "
            "(sweep.storage=...), or another sweep.name; folders are never reused."
        )
    header = {
        "version": 1,
        "id": uuid4().hex,
        "metrics": dict(question.metrics),
        "meaning": _plain(question.meaning),
        "identity": dict(question.identity),
        "sampler": question.sampler,
        "command": list(question.command),
        "program": question.program,
        "folder": str(folder),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    directions = [StudyDirection[d.upper()] for d in question.metrics.values()]
    for half_made in (s for s in storage.optuna.get_all_studies() if s.study_name == name):
        if storage.optuna.get_n_trials(half_made._study_id):
            raise SweepError(f"{storage.label} holds a study {name!r} of another program: give another sweep.name.")
        storage.optuna.delete_study(half_made._study_id)  # its maker died on the way
    study_id = storage.optuna.create_new_study(directions, name)
    storage.optuna.set_study_system_attr(study_id, "study:metric_names", list(question.metrics))
    storage.optuna.set_study_user_attr(study_id, PLAN, [])
    storage.optuna.set_study_user_attr(study_id, HEADER, header)  # last: from here on it counts as made


def _extend(study: Study, question: Question) -> Settled:
    differing = differences(study, question)
    if differing:
        listed = "\n".join(f"  {line}" for line in differing)
        raise SweepError(
            f"sweep {study.name!r} was made for something else, and its trials would not compare:\n{listed}\n"
            f"Undo that to go on, or give sweep.on_change=new (runs as {study.name}-2) or another sweep.name."
        )
    trials, plan = study.trials(), study.plan()
    plan, space = _widened(study, plan, question, trials)
    added = []
    there = equal = 0
    if question.sampler == "grid":
        attrs = study.storage.optuna.get_study_system_attrs(study.id)
        planned = [d for i in range(len(plan.segments)) for d in attrs.get(PLANNED.format(i), ())]
        segment, there, equal = _missing(plan, planned, replace(question, space=space), trials)
        fresh = [d for i, d in enumerate(question.fingerprints) if i not in segment.skip][: segment.count]
        # Before the plan, which makes them count: whoever dies in between has changed nothing.
        study.storage.optuna.set_study_system_attr(study.id, PLANNED.format(len(plan.segments)), fresh)
    else:
        segment = Segment(space, max(0, (question.n_trials or 0) - plan.sampled), question.fixed, sampled=True)
    if segment.count:
        added.append(segment)
    if question.retry_failed:
        added += _repeats(plan, trials)
    if added or plan != study.plan():
        whole = Plan((*plan.segments, *added))
        study.storage.optuna.set_study_user_attr(study.id, PLAN, whole.as_json())
    header = study.header()
    now = {"sampler": question.sampler, "command": list(question.command)}
    now["folder"] = _folder_of(header, (question.folder / study.name).absolute())
    if any(header[k] != v for k, v in now.items()):
        study.storage.optuna.set_study_user_attr(study.id, HEADER, {**header, **now})
    return Settled(study, sum(s.count for s in added), len(trials), there, equal)


def _repeats(plan: Plan, trials: Sequence[FrozenTrial]) -> list[Segment]:
    """Failed trials once more, each as it was: with its own fixed overrides, and its space where nothing was chosen."""
    repeated = {n for s in plan.segments for n in s.again}
    alike: dict[tuple[Space, tuple[str, ...]], list[int]] = {}
    for trial in trials:
        if state_of(trial) in _FAILED and POINT in trial.user_attrs and trial.number not in repeated:
            slot = plan.slot(trial.user_attrs[POINT])
            alike.setdefault((slot.space, slot.fixed), []).append(trial.number)
    return [Segment(space, len(numbers), fixed, again=tuple(numbers)) for (space, fixed), numbers in alike.items()]


def _folder_of(header: Mapping[str, Any], asked: Path) -> str:
    """Where the trials are: where they have always been, or where the sweep's own folder has been moved or copied to.

    Whatever else lies where this call would have put them belongs to somebody else.
    """
    identity = header.get("id")
    return str(asked) if identity is not None and owner_of(asked) == identity else str(header["folder"])


def _missing(
    plan: Plan, planned: Sequence[str], question: Question, trials: Sequence[FrozenTrial]
) -> tuple[Segment, int, int]:
    """The points of a grid that are missing; how many are there already, and how many equal another one asked for."""
    known = {t.user_attrs.get(OUTCOME, {}).get("fingerprint") for t in trials} | set(planned)
    there = sum(digest in known for digest in question.fingerprints)
    skip = []
    for index, digest in enumerate(question.fingerprints):
        if digest in known:
            skip.append(index)
        known.add(digest)
    size = question.space.size - len(skip)
    count = size if question.n_trials is None else min(size, max(0, question.n_trials - plan.listed_points))
    return Segment(question.space, count, question.fixed, skip=frozenset(skip)), there, len(skip) - there


def _widened(study: Study, plan: Plan, question: Question, trials: Sequence[FrozenTrial]) -> tuple[Plan, Space]:
    """Plan and space with every value the study has seen, and the recorded parameters fit for them.

    Raises:
        SweepError: a parameter would change its kind.
    """
    dimensions, grown = [], {}
    for asked in question.space.dimensions:
        dimension = asked
        before = [d for s in plan.segments for d in s.space.dimensions if d.name == asked.name]
        if question.sampler != "grid" and asked.texts and asked.step is None:
            _check_none_dropped(before, asked)
        if asked.arms:
            dimension = _with_arms_of(before, asked)
        elif before and asked.texts:
            values = dict.fromkeys([t for d in before for t in (d.seen or d.texts)] + list(asked.texts))
            dimension = replace(dimension, seen=tuple(values))
        recorded = next((t.distributions[dimension.name] for t in trials if dimension.name in t.distributions), None)
        wanted = dimension.distribution() if question.sampler == "grid" else dimension.sampled()
        if recorded is not None and recorded != wanted and _must_rewrite(dimension.name, recorded, wanted):
            grown[dimension.name] = wanted
        dimensions.append(dimension)
    if grown:
        if isinstance(study.storage, JournalFile) and question.sampler != "grid":
            raise SweepError(f"a journal cannot take more choices of {', '.join(grown)}: use another sweep.name.")
        study.storage.widen(study.id, grown)
    seen = {d.name: d for d in dimensions if d.seen}
    return Plan(tuple(replace(s, space=_with_seen(s.space, seen)) for s in plan.segments)), Space(tuple(dimensions))


def _check_none_dropped(before: Sequence[Dimension], asked: Dimension) -> None:
    """A sampler draws from every choice the study knows.

    Raises:
        SweepError: one that it knows is not asked for any more.
    """
    dropped = [t for t in dict.fromkeys(t for d in before for t in (d.seen or d.texts)) if t not in asked.texts]
    if dropped:
        raise SweepError(
            f"{asked.name}: this sweep has chosen from {', '.join(dropped)} too, and its sampler would go on to: keep "
            f"{'it' if len(dropped) == 1 else 'them'}, or use another sweep.name."
        )


def _with_arms_of(before: Sequence[Dimension], asked: Dimension) -> Dimension:
    """Arms that know those the study has had.

    Raises:
        SweepError: an arm's name now means something else.
    """
    known: dict[str, tuple[str, ...]] = {}
    for dimension in (*before, asked):
        for name, overrides in dimension.arm_of().items():
            if known.setdefault(name, overrides) != overrides:
                raise SweepError(
                    f"sweep.arms: {name!r} was {' '.join(known[name])} in this sweep and would now be "
                    f"{' '.join(overrides)}: give it another name."
                )
    if not before:
        return asked
    return replace(asked, seen=tuple(known), seen_arms=tuple(known.values()))


def _with_seen(space: Space, seen: Mapping[str, Dimension]) -> Space:
    def known(dimension: Dimension) -> Dimension:
        now = seen.get(dimension.name)
        return replace(dimension, seen=now.seen, seen_arms=now.seen_arms) if now is not None else dimension

    return Space(tuple(known(d) for d in space.dimensions))


def _must_rewrite(name: str, recorded: BaseDistribution, wanted: BaseDistribution) -> bool:
    """Whether records must change for Optuna to take `wanted` beside `recorded`."""
    if isinstance(recorded, IntDistribution) and isinstance(wanted, FloatDistribution):
        return True
    if type(recorded) is not type(wanted) or getattr(recorded, "log", False) != getattr(wanted, "log", False):
        raise SweepError(
            f"{name} is recorded as {recorded} in this sweep and would now be {wanted}: use another sweep.name."
        )
    return isinstance(recorded, CategoricalDistribution)


def _plain(meaning: Mapping[str, Any]) -> dict[str, Any]:
    """As it comes back from a storage."""
    return dict(json.loads(json.dumps(dict(meaning), default=str)))


def _shown(values: Mapping[str, Any], key: str) -> str:
    return "(not there)" if key not in values else "null" if values[key] is None else str(values[key])
