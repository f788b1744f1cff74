"""Which run of W&B an experiment is: the same id for every attempt of it, the sweep as its group."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyrm import sweep
from tinyrm.config import TrackingConfig
from tinyrm.files import write_text
from tinyrm.sweep.folders import owner_of

_ID = "wandb/run-id"  # in the run folder: of a run that belongs to no sweep


@dataclass(frozen=True)
class Identity:
    """How a run is found again.

    Attributes:
        id: of the W&B run; every attempt of a trial, and every resumption of a run folder, has the same.
        name: what people see.
        sweep: the sweep's name.
        group: `tracking.group`, by default the sweep's name.
        job_type: train | pretrain.
        trial: its number in its sweep; None outside of one.
        attempt: 1 for the first.
    """

    id: str
    name: str
    sweep: str | None
    group: str | None
    job_type: str
    trial: int | None
    attempt: int

    def as_config(self) -> dict[str, Any]:
        """What goes beside the experiment's own config, to filter and group by."""
        return {"sweep": self.sweep, "trial": self.trial, "attempt": self.attempt, "job_type": self.job_type}

    @property
    def collection(self) -> str:
        """Name of the artifact that holds its model: one a sweep, so that its versions are the sweep's models."""
        return re.sub(r"[^\w.-]+", "-", f"{self.sweep or self.name}-model")[-120:]


def identify(config: TrackingConfig, folder: Path, record: dict[str, Any], job_type: str) -> Identity:
    """The identity of the run in `folder`.

    Args:
        config: of its tracking.
        folder: its run folder, in a sweep that of the trial.
        record: of run.json, with config and config_hash.
        job_type: train | pretrain.
    """
    progress = sweep.current_progress()
    if progress is None:
        name = config.name or f"{record['config']['model']['id']}-{record['config_hash']}"
        return Identity(_kept_id(folder), name, None, config.group, job_type, None, 1)
    # The sweep's own identity, which it keeps under any name and wherever it is moved to.
    owner = owner_of(folder.parent) or f"{progress.sweep}:{folder.parent}"
    digest = hashlib.sha256(f"{owner}:{progress.number}".encode()).hexdigest()[:16]
    return Identity(
        digest,
        f"{config.name or progress.sweep}-{progress.number}",
        progress.sweep,
        config.group or progress.sweep,
        job_type,
        progress.number,
        progress.attempt,
    )


def _kept_id(folder: Path) -> str:
    path = folder / _ID
    if not path.is_file():
        write_text(path, secrets.token_hex(8) + "\n")
    return path.read_text(encoding="utf-8").strip()
