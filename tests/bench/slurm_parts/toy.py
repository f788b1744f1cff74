"""The toy app of the sweep engine's tests: 6 trials of 100 steps, a checkpoint after each."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from .rig import ROOT, Rig, module

STEPS = 100


class ToyRig(Rig):
    """See the module."""

    trials, begun = 6, 20
    node = "hydra.sweeper.settings"
    brisk, slow = 0.05, 0.6

    def start(self, *options: str) -> subprocess.Popen[str]:
        self.toy = module(ROOT / "tests" / "sweep" / "conftest.py").Toy(self.folder / "app")
        started: subprocess.Popen[str] = self.toy.start(
            *options, "x=1,2,3", "y=0,1", f"seconds={STEPS * self.pause_s}", f"step_s={self.pause_s}", "hold=null"
        )
        return started

    def multirun(self) -> Path:
        return Path(self.toy.folder) / "multirun"

    def steps_of(self, record: Any) -> int:
        return int((record.folder / "checkpoint").read_text().split()[0])

    def told(self, records: list[Any]) -> dict[str, Any]:
        starts = [line.split() for line in self.toy.notes.read_text().splitlines() if line.startswith("begin")]
        return {
            "ended_twice": sum(n > 1 for n in self.toy.noted("end").values()),
            "work_exact": [r.info["work"] for r in records] == [x * STEPS for x in (1, 1, 2, 2, 3, 3)],
            "attempts_beyond_first": len(starts) - self.trials,
            "went_on_from_step": sorted(int(s[2]) for s in starts if int(s[2])),
            "restarted_from_0": sum(n - 1 for n in Counter(s[1] for s in starts if s[2] == "0").values()),
            "steps": sum(int(r.info["steps"]) for r in records),
        }
