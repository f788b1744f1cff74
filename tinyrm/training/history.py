"""What a training run leaves behind about itself, beside its checkpoints."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from tinyrm.files import write_json

LAST, BEST, BEST_DEV, HISTORY = "last.ckpt", "best.safetensors", "best_dev.safetensors", "history.json"


@dataclass
class History:
    """How a run went, kept in `checkpoints/history.json` and in `last.ckpt`.

    Attributes:
        end: None while it runs; then 'complete', 'stopped_early', 'interrupted', 'nonfinite' or 'failed'.
        detail: the message that goes with the end.
        evaluations: one entry for each evaluation of dev: step, epoch and what the module reports.
        best_step: optimizer step of the best evaluation so far (the earliest, where equal).
        pairs, tokens: trained on so far, over all processes, padding not counted.
        seconds: of training steps so far, evaluation of dev not counted.
    """

    end: str | None = None
    detail: str | None = None
    evaluations: list[dict[str, float]] = field(default_factory=list)
    best_step: int | None = None
    pairs: int = 0
    tokens: int = 0
    seconds: float = 0.0

    @property
    def best(self) -> dict[str, float] | None:
        """The evaluation whose weights were kept."""
        return next((e for e in self.evaluations if e["step"] == self.best_step), None)

    @property
    def evaluations_since_best(self) -> int:
        return sum(e["step"] > (self.best_step or 0) for e in self.evaluations)

    @classmethod
    def read(cls, folder: Path) -> History:
        """The history in a checkpoint folder; an empty one where there is none."""
        try:
            return cls(**json.loads((folder / HISTORY).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return cls()

    def write(self, folder: Path) -> None:
        """Write it to a checkpoint folder, whole or not at all."""
        write_json(folder / HISTORY, dataclasses.asdict(self))
