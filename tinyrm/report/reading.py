"""From finished or running sweeps to a :class:`~tinyrm.report.study.StudyReport`: everything is read here, once."""

from __future__ import annotations

import math
import re
import shlex
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import StudyDirection

from tinyrm.config import config_dir
from tinyrm.evaluation.effects import SEED, Effects, effects
from tinyrm.evaluation.metrics import undefined
from tinyrm.evaluation.references import COMPARABLE, PAPER_FIGURES, PAPER_NOTE
from tinyrm.masking import masked
from tinyrm.report.charts.base import SHOWN_ARMS, arm_label
from tinyrm.report.claims import claim_in, claim_rows
from tinyrm.report.folders import probes_of, read_curve, read_json, read_metrics, test_scores
from tinyrm.report.ranking import arm_names, compared_arms, rank_arms
from tinyrm.report.study import (
    ArmProbes,
    ArmRow,
    ClaimRow,
    Ending,
    Importance,
    SectionScore,
    StudyReport,
    SweepRow,
    TestScores,
    TrialRow,
)
from tinyrm.sweep import End, open_studies
from tinyrm.sweep.outcome import TrialRecord
from tinyrm.sweep.study import Study
from tinyrm.sweep.summary import best_line
from tinyrm.types import Metric

TEST = "test_accuracy"  # the measure that is reported and never chosen by
_ADAPTIVE = {"tpe", "gp", "cmaes", "nsga2"}
_LONGEST_TRACEBACK = 6000


def read_report(names: Sequence[str], storage: str | None = None) -> StudyReport:
    """Everything that is known of some sweeps, in one value.

    Args:
        names: of the sweeps; the first one leads where they differ.
        storage: URL of theirs; None for the default of `sweep.storage`.

    Raises:
        SweepError: no such storage or sweep, with the near names.
    """
    return report_of(open_studies(list(dict.fromkeys(names)), storage), storage)


def report_of(studies: Sequence[Study], storage: str | None = None) -> StudyReport:
    """The same of studies that are open.

    Args:
        storage: their URL where it must be typed to find them again.
    """
    rows: list[TrialRow] = []
    sweeps: list[SweepRow] = []
    found: dict[str, dict[str, Any]] = {"benchmark": {}, "environment": {}}
    for study in studies:
        header, records = study.header(), study.records()
        trials = [_trial(study.name, header, record, found) for record in records]
        trials = arm_names(trials, prefix=f"{study.name}: " if len(studies) > 1 else "")
        rows += trials
        sweeps.append(_sweep(study, header, trials))
    benchmarks = list(found["benchmark"])
    benchmark = benchmarks[0] if len(benchmarks) == 1 else None
    arms = rank_arms(rows, sweeps, benchmark)
    compared, comparisons, said = compared_arms(arms, rows, benchmark)
    claims, unjudged = _claims(studies)
    return StudyReport(
        title=", ".join(s.name for s in sweeps),
        command=_report_command([s.name for s in sweeps], storage),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        storage=studies[0].storage.label,
        benchmark=benchmark,
        unit=next(iter(found["benchmark"].values()), "pair"),
        sweeps=tuple(sweeps),
        arms=tuple(arms),
        trials=tuple(rows),
        compared=tuple(compared),
        comparisons=tuple(comparisons),
        probes=tuple(_probes(arms, rows)),
        endings=_endings(rows),
        references=PAPER_FIGURES,
        reference_note=PAPER_NOTE,
        comparable=benchmark == COMPARABLE,
        config_differences=_differences(sweeps),
        environment={k: tuple(v) for k, v in found["environment"].items()},
        notes=(*_notes(sweeps, rows, benchmarks, said), *unjudged),
        claims=tuple(claims),
    )


def _claims(studies: Sequence[Study]) -> tuple[list[ClaimRow], list[str]]:
    found = [claim_rows(study) for study in studies]
    return [row for rows, _ in found for row in rows], [reason for _, reasons in found for reason in reasons]


def _report_command(names: Sequence[str], storage: str | None) -> str:
    where = ["--storage", masked(storage)] if storage else []
    return shlex.join(["tinyrm", "report", *names, *where])


# --- trials


def _trial(sweep: str, header: Mapping[str, Any], record: TrialRecord, found: dict[str, dict[str, Any]]) -> TrialRow:
    metric = next(iter(header["metrics"]))
    complete = record.state == End.COMPLETE
    scores = None
    if complete:
        written = read_metrics(record.folder)
        scores = test_scores(written) or _told(record.info)
        if "benchmark" in written:
            found["benchmark"][str(written["benchmark"])] = str(written.get("unit", "pair"))
        _note_environment(read_json(record.folder / "run.json"), found["environment"])
    seed = record.params.get(SEED, record.info.get("seed"))
    low, high = record.intervals.get(metric, (math.nan, math.nan))
    value = record.values.get(metric)
    trace = masked(record.traceback)[-_LONGEST_TRACEBACK:] if record.traceback else None
    return TrialRow(
        sweep=sweep,
        number=record.number,
        state=record.state,
        params=masked(_numbers(record.params)),
        seed=int(seed) if isinstance(seed, int | float | str) and re.fullmatch(r"-?\d+", str(seed)) else None,
        arm=None,
        values=dict(record.values),
        dev=None if value is None or not complete else Metric(value, int(record.info.get("dev_pairs") or 0), low, high),
        test=scores,
        curve=read_curve(record.folder),
        seconds=record.seconds,
        attempt=record.attempt,
        same_as=record.same_as,
        repeated_as=record.repeated_as,
        message=masked(record.message) if record.message else None,
        traceback=trace,
        line=masked(best_line(header, record)),
        folder=str(record.folder),
    )


def _numbers(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with numbers as numbers: a grid keeps them as they were typed."""

    def number(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        for kind in (int, float):
            try:
                found = kind(value)
            except ValueError:
                continue
            return found if math.isfinite(found) else value
        return value

    return {key: number(value) for key, value in params.items()}


def _told(info: Mapping[str, Any]) -> TestScores | None:
    """The test numbers that the storage itself holds, where the folder of a trial is gone."""
    value = info.get(TEST)
    if not isinstance(value, int | float):
        return None
    bounds = [
        float(x) if isinstance(x := info.get(key), int | float) else math.nan for key in ("test_low", "test_high")
    ]
    overall = SectionScore(Metric(float(value), int(info.get("test_pairs") or 0), *bounds), math.nan, math.nan)
    own = {TEST, "test_low", "test_high", "test_pairs"}
    sections = {
        key.removeprefix("test_"): SectionScore(Metric(float(x), 0, math.nan, math.nan), math.nan, math.nan)
        for key, x in info.items()
        if key.startswith("test_") and key not in own and isinstance(x, int | float)
    }
    return TestScores(overall, sections, undefined(), undefined(), undefined())


def _note_environment(run: Mapping[str, Any], found: dict[str, Any]) -> None:
    code, hardware, scoring = (run.get(part) or {} for part in ("code", "hardware", "scoring"))
    told = {f"version of {name}": version for name, version in (run.get("versions") or {}).items()}
    if code.get("commit"):
        told["code revision"] = f"{code['commit']}{' with uncommitted changes' if code.get('dirty') else ''}"
    told |= {name: hardware.get(name) for name in ("system", "cpu", "cpu_count", "memory_gib")}
    told["GPUs"] = ", ".join(hardware.get("gpus") or []) or ("none" if hardware else None)
    told["scored by"] = " ".join(str(v) for v in scoring.values())
    for name, value in told.items():
        if value not in (None, ""):
            found.setdefault(name, {})[masked(str(value))] = None


def _probes(arms: Sequence[ArmRow], trials: Sequence[TrialRow]) -> list[ArmProbes]:
    """Of the first trial of each of the best arms; whose folder is gone, or holds no predictions, is left out."""
    place = {(t.sweep, t.number): Path(t.folder) for t in trials}
    found = []
    for arm in arms[:SHOWN_ARMS]:
        probes = probes_of(place[arm.sweep, arm.trials[0]])
        if probes is not None:
            found.append(ArmProbes(arm.rank, arm.name, arm_label(arm), arm.trials[0], probes))
    return found


# --- sweeps


def _sweep(study: Study, header: Mapping[str, Any], trials: Sequence[TrialRow]) -> SweepRow:
    states: dict[str, int] = {}
    for trial in trials:
        states[trial.state] = states.get(trial.state, 0) + 1
    begun = sum(t.state in ("waiting", "running") for t in trials)
    command = [str(word) for word in header["command"]]
    named = [] if any(o.lstrip("+") == f"sweeps={study.name}" for o in command) else [f"sweep.name={study.name}"]
    typed = f"{header['program']} -m {shlex.join([*command, *named])}"
    metrics = dict(header["metrics"])
    return SweepRow(
        name=study.name,
        question=masked(claim_in(Path(header["folder"])).statement or _question(command, trials, metrics)),
        metrics=metrics,
        sampler=str(header["sampler"]),
        command=masked(typed),
        folder=str(header["folder"]),
        created=str(header["created"]),
        states=states,
        open=begun + study.unstarted(),
        adaptive=header["sampler"] in _ADAPTIVE,
        effects=_effects(trials, metrics),
        importance=_importance(study, metrics),
        config=masked(dict(header["meaning"])),
    )


def _question(command: Sequence[str], trials: Sequence[TrialRow], metrics: Mapping[str, str]) -> str:
    """What the sweep's YAML says above its overrides; without one, what varies."""
    for override in command:
        key, _, name = override.lstrip("+").partition("=")
        path = config_dir() / "sweeps" / f"{name}.yaml"
        if key == "sweeps" and re.fullmatch(r"[\w.-]+", name) and path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()[1:]
            end = next((i for i, line in enumerate(lines) if not line.lstrip("# ")), len(lines))
            told = [line.lstrip("# ") for line in lines[:end] if line.startswith("#")]
            if told:
                return " ".join(told)
    varied = [p for p in dict.fromkeys(p for t in trials for p in t.params) if p != SEED]
    if not varied:
        return f"What {', '.join(metrics)} does this configuration reach?"
    return f"How do {', '.join(varied)} decide {', '.join(metrics)}?"


def _effects(trials: Sequence[TrialRow], metrics: Mapping[str, str]) -> tuple[Effects, ...]:
    own = [t for t in trials if t.state == End.COMPLETE and t.same_as is None]
    measures: dict[str, Callable[[TrialRow], float | None]] = {
        metric: lambda t, metric=metric: t.values.get(metric)  # type: ignore[misc]
        for metric in metrics
    }
    measures[TEST] = lambda t: t.test.overall.accuracy.value if t.test else None
    found = []
    for measure, value_of in measures.items():
        known = [(t.params, v) for t in own if (v := value_of(t)) is not None and math.isfinite(v)]
        if len(known) > 1:
            found.append(effects(measure, [p for p, _ in known], [v for _, v in known]))
    return tuple(found)


def _importance(study: Study, metrics: Mapping[str, str]) -> tuple[Importance, ...]:
    """By fANOVA and by PED-ANOVA, of the first metric; none where fewer than four trials say anything."""
    seen = study.optuna_study(optuna.samplers.RandomSampler(), optuna.pruners.NopPruner())
    complete = seen.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < 4:
        return ()
    # Its direction must be that of the metric; several of them have no importance but one by one.
    alone = optuna.create_study(direction=StudyDirection[next(iter(metrics.values())).upper()])
    alone.add_trials([_first_only(trial) for trial in complete])
    found = [_evaluated(alone, evaluator) for evaluator in (_fanova, PedAnovaImportanceEvaluator)]
    names = dict.fromkeys(name for each in found for name in each)
    rows = [Importance(name, found[0].get(name), found[1].get(name)) for name in names]
    return tuple(sorted(rows, key=lambda row: -(row.fanova if row.fanova is not None else row.ped_anova or 0.0)))


def _first_only(trial: optuna.trial.FrozenTrial) -> optuna.trial.FrozenTrial:
    return optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, value=trial.values[0])


def _fanova() -> FanovaImportanceEvaluator:
    return FanovaImportanceEvaluator(seed=0)


def _evaluated(study: optuna.Study, evaluator: Callable[[], Any]) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PED-ANOVA is marked as experimental
        try:
            found = get_param_importances(study, evaluator=evaluator())
        except (ImportError, ValueError, RuntimeError, ZeroDivisionError):
            return {}  # no scikit-learn, nothing in common, nothing that varies
    return {name: float(share) for name, share in found.items() if math.isfinite(share)}


# --- beside the numbers


def _endings(trials: Sequence[TrialRow]) -> tuple[Ending, ...]:
    """Trials without a result, those that ended alike together."""
    alike: dict[tuple[str, str, str], list[TrialRow]] = {}
    for trial in trials:
        if trial.state not in (End.COMPLETE, "waiting", "running"):
            alike.setdefault((trial.sweep, trial.state, trial.message or "no message"), []).append(trial)
    return tuple(
        Ending(
            sweep,
            state,
            message,
            tuple(t.number for t in group),
            next((t.traceback for t in group if t.traceback), None),
        )
        for (sweep, state, message), group in alike.items()
    )


def _differences(sweeps: Sequence[SweepRow]) -> dict[str, tuple[Any, ...]]:
    keys = dict.fromkeys(key for sweep in sweeps for key in sweep.config)
    values = {key: tuple(sweep.config.get(key, "(varies)") for sweep in sweeps) for key in keys}
    return {key: each for key, each in values.items() if any(v != each[0] for v in each)}


def _notes(
    sweeps: Sequence[SweepRow], trials: Sequence[TrialRow], benchmarks: Sequence[str], said: Sequence[str]
) -> list[str]:
    notes = [
        f"Sweep {s.name} is not done: {s.open} of {s.open + len(trials_done(trials, s.name))} trials are still open."
        for s in sweeps
        if s.open
    ]
    notes += [
        f"The sampler of {s.name} ({s.sampler}) chose points by earlier results, so that good regions were tried more "
        "often: its effects describe what was tried, a grid or random sampler compares levels fairly."
        for s in sweeps
        if s.adaptive
    ]
    if len(benchmarks) > 1:
        notes.append(
            f"Trials were tested on different benchmarks ({', '.join(benchmarks)}); their arms are not compared."
        )
    gone = sum(t.state == End.COMPLETE and not Path(t.folder).is_dir() for t in trials)
    if gone:
        notes.append(
            f"The folders of {gone} finished trials are not there: curves and predictions of those are missing."
        )
    if len({tuple(s.metrics.items()) for s in sweeps}) > 1:
        notes.append("The sweeps go by different metrics: arms are ranked within their own sweep.")
    return [*notes, *said]


def trials_done(trials: Sequence[TrialRow], sweep: str) -> list[TrialRow]:
    """The trials of a sweep that have ended."""
    return [t for t in trials if t.sweep == sweep and t.state not in ("waiting", "running")]


def without_tracebacks(report: StudyReport) -> StudyReport:
    """The same, small: tracebacks of single trials are told once for each way to end."""
    return replace(report, trials=tuple(replace(t, traceback=None) for t in report.trials))
