"""A report as the story that W&B is told: names of groups, config keys and metrics, and our tables as Markdown."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from tinyrm.config import TinyRMConfig, TrackingConfig
from tinyrm.evaluation.effects import SEED
from tinyrm.report.folders import read_json
from tinyrm.report.markdown import markdown
from tinyrm.report.study import StudyReport
from tinyrm.report.wandb_report import Published, Story, publish

# The key that tells the choices of a config group apart in a run's config.
_TOLD_BY = {
    "adapter": "adapter.kind",
    "data": "data.reader",
    "model": "model.id",
    "objective": "objective.kind",
    "optimizer": "optimizer.kind",
    "prompt": "prompt.id",
}
# The sweep's metrics by the names of their summary metrics.
_METRICS = {
    "dev_accuracy": "dev/accuracy",
    "dev_loss": "dev/loss",
    "trained_parameters": "parameters/trained",
    "pairs_per_second": "pairs_per_second",
}
_KEYS = {field.name for field in fields(TinyRMConfig)}


def story_of(report: StudyReport) -> Story:
    """What W&B is told: factors are the config keys that vary; arms of several keys have none of their own.

    Args:
        report: of at least one sweep.
    """
    varied = dict.fromkeys(key for trial in report.trials for key in trial.params if key != SEED)
    factors = [_TOLD_BY.get(key, key) for key in varied if key.partition(".")[0] in _KEYS]
    sections = dict.fromkeys(name for arm in report.arms for name in arm.sections)
    metric = next(iter(report.sweeps[0].metrics))
    return Story(
        title=report.title,
        groups=[str(_tracking(report, sweep.name).get("group") or sweep.name) for sweep in report.sweeps],
        factors=factors,
        sections=[name for name in sections if name != "overall"],
        markdown=markdown(report),
        metric=_METRICS.get(metric, metric),
    )


def publish_report(report: StudyReport, project: str | None = None, entity: str | None = None) -> Published:
    """Save it to W&B, where the sweep's own runs are unless told otherwise.

    Raises:
        ConfigError: a package is missing, or W&B takes no key.
        TinyRMError: W&B refused or did not answer.
    """
    tracking = _tracking(report, report.sweeps[0].name)
    where = project or str(tracking.get("project") or TrackingConfig().project)
    return publish(story_of(report), project=where, entity=entity or tracking.get("entity"))


def _tracking(report: StudyReport, sweep: str) -> dict[str, Any]:
    """How a sweep's trials were tracked, as the first of them with a record says."""
    for trial in report.trials:
        if trial.sweep == sweep and (record := read_json(Path(trial.folder) / "run.json")):
            found: dict[str, Any] = record.get("config", {}).get("tracking", {})
            return found
    return {}
