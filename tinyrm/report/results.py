"""What finished studies leave in the repository: a small record each, from which RESULTS.md is written.

A record holds no path, no host and nothing of the data but counts and fingerprints.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tinyrm.config import arm_name
from tinyrm.errors import DataError
from tinyrm.evaluation.arms import Seeds, over_seeds
from tinyrm.evaluation.benchmarks import Benchmark
from tinyrm.evaluation.metrics import metric_json
from tinyrm.evaluation.predictions import Predictions
from tinyrm.evaluation.verdicts import Finding
from tinyrm.files import write_json, write_text
from tinyrm.report.claims import Judged, arms_tested, judged, point_of, table_of_arms
from tinyrm.report.folders import probes_of, read_json, read_metrics, test_scores
from tinyrm.report.study import plain
from tinyrm.sweep import End, open_studies
from tinyrm.sweep.outcome import TrialRecord
from tinyrm.sweep.study import Study

VERSION = 1
# What of a study's config says how large it is; the rest is in its YAML.
_BUDGET = (
    *("model.id", "model.path", "freeze", "adapter.kind", "adapter.rank", "objective.kind", "optimizer.lr"),
    *("data.max_train_pairs", "data.max_dev_pairs", "data.max_test_pairs", "data.split_seed", "prompt.max_tokens"),
    *("trainer.epochs", "trainer.batch_pairs", "trainer.batch_tokens", "trainer.precision", "evaluation.backend"),
    *("evaluation.benchmark", "warmup.tokens"),
)
_PATH = re.compile(r"(?<![\w.:/])~?/[\w.@-]+(?:/[\w.@-]+)+")


def record_studies(names: Sequence[str], storage: str | None, folder: Path, notes: Sequence[str] = ()) -> list[Path]:
    """Write the record of each of these studies into `folder`; give where they are.

    Args:
        names, storage: the studies.
        folder: of the records.
        notes: what a reader must know of how these studies came about; without any, those of an earlier record stay.

    Raises:
        SweepError: no such storage or sweep.
        DataError: one has no finished trial with predictions.
    """
    written = []
    for study in open_studies(list(dict.fromkeys(names)), storage) if names else []:
        place = folder / f"{study.name}.json"
        kept = list(notes) or read_json(place).get("notes", [])
        write_json(place, record_of(study) | {"notes": kept})
        written.append(place)
    return written


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Every record, by name.

    Raises:
        DataError: one is none, or of another version.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is no record of a study: {error}") from error
        if not isinstance(record, dict) or record.get("version") != VERSION:
            raise DataError(f"{path} is no record of a study that this version knows (version {VERSION}).")
        found.append(record)
    return found


def write_page(folder: Path, out: Path) -> Path:
    """Write RESULTS.md from the records in `folder` alone, and a figure beside each.

    Raises:
        DataError: see :func:`read_records`.
        StorageError: no space, no permission.
    """
    from tinyrm.report.results_page import figure, page

    records = read_records(folder)
    for record in records:
        if record["contrasts"]:
            write_text(folder / f"{record['name']}.svg", figure(record))
    write_text(out, page(records, folder, out.parent))
    return out


def record_of(study: Study) -> dict[str, Any]:
    """Everything of a study that stays, as plain values."""
    header, records = study.header(), study.records()
    complete = [r for r in records if r.state == End.COMPLETE]
    found = judged(study)
    arms, benchmarks = arms_tested(complete)
    if not arms or len(benchmarks) != 1:
        raise DataError(f"sweep {study.name!r} has no finished trials that were tested on one benchmark.")
    table = table_of_arms(next(iter(benchmarks)), arms)
    runs = [read_json(r.folder / "run.json") for r in complete]
    seconds = [r.seconds for r in complete]
    record = {
        "version": VERSION,
        "name": study.name,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _typed(header),
        "benchmark": next(iter(benchmarks)),
        "arms": [_arm(name, seeds, table, complete) for name, seeds in arms.items()],
        "trials": {state: sum(r.state == state for r in records) for state in sorted({r.state for r in records})},
        "failed": [
            {"trial": r.number, "arm": arm_name(point_of(r)), "state": r.state, "message": _without_paths(r.message)}
            for r in records
            if r.failed or r.state == End.PRUNED
        ],
        "budget": {k: _plainly(v) for k in _BUDGET if (v := header["meaning"].get(k)) is not None},
        "seconds": {"all": sum(seconds), "median": statistics.median(seconds), "longest": max(seconds)},
        "pairs": _pairs(runs),
        "fingerprints": _alike(runs, "fingerprints"),
        "environment": _environment(runs),
    }
    return plain({**record, **_claims(found)})  # type: ignore[no-any-return]


def _claims(found: Judged | None) -> dict[str, Any]:
    if found is None:
        return {"statement": "", "claims": {}, "contrasts": [], "not_judged": []}
    contrasts = [
        {"statement": p.statement, **_contrast(f)} for p, f in zip(found.pairings, found.findings, strict=True)
    ]
    return {
        "statement": found.claim.statement,
        "needs": found.claim.needs,
        "claims": {statement: str(verdict) for statement, verdict in found.verdicts.items()},
        "contrasts": contrasts,
        "not_judged": list(found.missing),
    }


def _contrast(finding: Finding) -> dict[str, Any]:
    asked = finding.contrast
    return {
        "name": asked.name,
        "first": asked.first,
        "second": asked.second,
        **({"cells": [list(cell) for cell in asked.cells]} if len(asked.cells) > 1 else {}),
        "expect": asked.expect,
        "margin": asked.margin,
        "sections": dict(asked.sections),
        "verdict": str(finding.verdict),
        "effect": metric_json(finding.effect),
        "corrected": metric_json(finding.corrected),
        "bootstrap": metric_json(finding.bootstrap),
        "p": finding.p_value,
        "p_holm": finding.p_holm,
        "mcnemar": plain(finding.mcnemar),
        "seeds": finding.seeds,
        "n": finding.n,
        "detectable": finding.detectable,
        "equivalent": finding.equivalent,
        "learnt": finding.learnt,
    }


def _arm(name: str, seeds: Seeds, table: Benchmark, records: Sequence[TrialRecord]) -> dict[str, Any]:
    own = [r for r in records if arm_name(point_of(r)) == name]
    told = [t for r in own if (t := test_scores(read_metrics(r.folder))) is not None]
    first = next(iter(seeds.values()))
    sections = {}
    for section in table.sections:
        inside = {s.name for s in section.subsets}
        strata = [table.key(*at) for at in zip(first.section, first.subset, strict=True)]
        if inside & set(strata):
            only = {seed: _within(p, table, inside) for seed, p in seeds.items()}
            score = told[0].sections.get(section.name) if told else None
            sections[section.name] = {
                "accuracy": metric_json(over_seeds(only, replace(table, sections=(section,), views=()))),
                "longer_wins": score.longer_wins if score else math.nan,
                "shorter_wins": score.shorter_wins if score else math.nan,
            }
    return {
        "name": name,
        "seeds": sorted(seeds),
        "accuracy": metric_json(over_seeds(seeds, table)),
        "longer_wins": told[0].overall.longer_wins if told else math.nan,
        "shorter_wins": told[0].overall.shorter_wins if told else math.nan,
        "sections": sections,
        "dev_accuracy": statistics.fmean(r.values.get("dev_accuracy", math.nan) for r in own),
        "trained_parameters": statistics.fmean(r.values.get("trained_parameters", math.nan) for r in own),
        "train_seconds": statistics.fmean(r.values.get("train_seconds", math.nan) for r in own),
        "probes": _probes(own[0].folder),
    }


def _probes(folder: Path) -> dict[str, Any] | None:
    """Of one trial, the few that RESULTS.md shows."""
    found = probes_of(folder)
    if found is None:
        return None
    return {
        "flips": metric_json(found.orders.flips) if found.orders else None,
        "length_controlled": metric_json(found.lengths.controlled),
        "bag_of_words": metric_json(found.bag.accuracy) if found.bag else None,
        "agrees_with_it": metric_json(found.bag.agreement) if found.bag else None,
        "ece": found.calibration.ece,
        "ece_scaled": found.calibration_scaled.ece if found.calibration_scaled else None,
        "brier": metric_json(found.calibration.brier),
        "truncated": metric_json(found.truncated),
        "whole": metric_json(found.whole),
    }


def _within(predictions: Predictions, table: Benchmark, strata: set[str]) -> Predictions:
    places = zip(predictions.section, predictions.subset, strict=True)
    keep = np.array([table.key(*at) in strata for at in places])

    def part(column: Any) -> Any:
        if column is None:  # of predictions that an older version wrote
            return None
        return column[keep] if isinstance(column, np.ndarray) else tuple(itertools.compress(column, keep))

    return Predictions(**{f.name: part(getattr(predictions, f.name)) for f in fields(Predictions)})


def _typed(header: Mapping[str, Any]) -> str:
    shown = [re.sub(r"^(\+?data\.path)=.*", r"\1=FOLDER", str(word)) for word in header["command"]]
    kept = [w for w in shown if not w.startswith(("sweep.dir", "sweep.storage", "sweep.workers", "data.cache_dir"))]
    return str(_without_paths(f"{header['program']} -m {' '.join(kept)}"))


def _without_paths(text: str | None) -> str | None:
    return None if text is None else _PATH.sub("PATH", text)


def _plainly(value: Any) -> Any:
    return _without_paths(value) if isinstance(value, str) else value


def _pairs(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Pairs by section and split of the first trial, and the share of them that were cut."""
    first = runs[0] if runs else {}
    return {"kept": (first.get("data") or {}).get("kept"), "cut": first.get("truncated")}


def _alike(runs: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    return [json.loads(text) for text in sorted({json.dumps(r.get(key), sort_keys=True) for r in runs if r.get(key)})]


def _environment(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Each thing with its values over the trials: one where all ran alike."""
    found: dict[str, set[str]] = {}
    for run in runs:
        code, hardware = run.get("code") or {}, run.get("hardware") or {}
        told = {f"{name}": str(version) for name, version in (run.get("versions") or {}).items()}
        if code.get("commit"):
            told["code revision"] = f"{code['commit'][:10]}{' with uncommitted changes' if code.get('dirty') else ''}"
        for name in ("system", "cpu", "cpu_count", "memory_gib"):
            told[name] = str(hardware.get(name, ""))
        told["GPUs"] = ", ".join(hardware.get("gpus") or []) or "none"
        for name, value in told.items():
            if value:
                found.setdefault(name, set()).add(value)
    return {name: sorted(values) for name, values in found.items()}
