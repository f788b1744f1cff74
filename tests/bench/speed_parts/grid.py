"""One grid: our sweeper with every shortcut, and Hydra's with joblib and the plain way of Lightning and PEFT."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from sweep_parts.common import ROOT, environment, timed
from sweep_parts.foreign import FOREIGN_CONFIG
from sweep_parts.makespan import differences, metrics_below

OURS, PLAIN = "ours", "Hydra's basic sweeper, joblib launcher, speed=plain"
GRIDS = (OURS, PLAIN)
GRID = ("adapter.rank=4,8,16", "freeze=1,2,3,4")
QUICK = ("adapter.rank=2,4", "freeze=1,2")
TOLERANCE = 0.05  # of any number of metrics.json: shares of a hundred pairs, of which rounding may turn a few


def measure_grid(scratch: Path, data: str | None, quick: bool) -> dict[str, Any]:
    """Seconds of both, and how far each trial's numbers lie apart."""
    grid = QUICK if quick else GRID
    sizes = (24, 12, 12) if quick else (64, 64, 128)
    fixed = ["trainer.threads=1", "trainer.precision=32", "trainer.epochs=2", "tracking=none"]
    fixed += ["model=tiny"] if quick else []
    fixed += [f"data.max_{part}_pairs={n}" for part, n in zip(("train", "dev", "test"), sizes, strict=True)]
    fixed += ["data=jsonl", f"data.path={data}"] if data else []
    asked = [*fixed, *grid]
    joblib = ["-m", "-cn", FOREIGN_CONFIG, "hydra/sweeper=basic", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    joblib += ["hydra/help=tinyrm", "hydra/job_logging=tinyrm", "speed=plain"]
    folders = {OURS: scratch / "grid-ours", PLAIN: scratch / "grid-plain"}
    commands = {
        OURS: [ROOT / "run.py", "-m", f"sweep.dir={folders[OURS]}/m", "sweep.workers=2", *asked],
        PLAIN: [ROOT / "run.py", *joblib, f"hydra.sweep.dir={folders[PLAIN]}/m", *asked],
    }
    seconds, metrics = {}, {}
    for name, command in commands.items():
        env = environment(TINYRM_CACHE=str(folders[name] / "cache"))
        seconds[name] = timed([sys.executable, *map(str, command)], folders[name], env)
        print(f"  {name}: {seconds[name]:.1f} s", flush=True)
        metrics[name] = metrics_below(folders[name] / "m", [g.partition("=")[0] for g in grid])
    far = differences(metrics[OURS], metrics[PLAIN])
    trials = math.prod(len(g.partition("=")[2].split(",")) for g in grid)
    if len(far) != trials:
        raise RuntimeError(f"{len(far)} of {trials} trials have metrics, below {scratch}")
    return {
        "grid": asked,
        "trials": trials,
        "seconds": seconds,
        "ratio": seconds[PLAIN] / seconds[OURS],
        "largest_difference": max(far.values()),
        "equal_trials": sum(d == 0 for d in far.values()),
        "tolerance": TOLERANCE,
    }
