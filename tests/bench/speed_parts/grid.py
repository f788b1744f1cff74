"""One grid three ways: ours, ours without a shortcut under Hydra's own sweeper, and what people write without us."""

from __future__ import annotations

import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any

from sweep_parts.common import ROOT, environment, timed
from sweep_parts.foreign import FOREIGN_CONFIG
from sweep_parts.makespan import differences, metrics_below

PLAIN_APP = ROOT / "tests" / "bench" / "speed_apps" / "plain.py"
OURS = "ours, 2 workers"
SLOW = "speed=plain, Hydra basic sweeper, joblib, 2 jobs"
PLAIN = "plain Lightning and PEFT, Hydra basic sweeper, joblib, 2 jobs"
GRIDS = (OURS, SLOW, PLAIN)
GRID = ("adapter.rank=4,8,16", "freeze=2,4", "seed=0,1")
QUICK = ("adapter.rank=2,4", "freeze=1,2")
TOLERANCE = 0.05  # of any number of metrics.json: shares of a hundred pairs, of which rounding may turn a few


def measure_grid(scratch: Path, data: str | None, quick: bool) -> dict[str, Any]:
    """Seconds of each; how far each trial's numbers lie apart with and without shortcuts; mean accuracies."""
    grid = QUICK if quick else GRID
    sizes = (24, 12, 12) if quick else (64, 32, 64)
    fixed = [
        "trainer.threads=1",
        "trainer.precision=32",
        "trainer.epochs=2",
        "tracking=none",
        "objective.orders=random",
    ]
    fixed += ["model=tiny"] if quick else ["model=minilm"]
    fixed += [f"data.max_{part}_pairs={n}" for part, n in zip(("train", "dev", "test"), sizes, strict=True)]
    fixed += ["data=jsonl", f"data.path={data}"] if data else []
    asked = [*fixed, *grid]
    joblib = ["-m", "hydra/sweeper=basic", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra/help=tinyrm"]
    joblib += ["hydra/job_logging=tinyrm"]
    folders = {name: scratch / f"grid-{number}" for number, name in enumerate(GRIDS)}
    commands: dict[str, list[str | Path]] = {
        OURS: [ROOT / "run.py", "-m", f"sweep.dir={folders[OURS]}/m", "sweep.workers=2"],
        SLOW: [ROOT / "run.py", "-cn", FOREIGN_CONFIG, *joblib, f"hydra.sweep.dir={folders[SLOW]}/m", "speed=plain"],
        PLAIN: [PLAIN_APP, *joblib, f"hydra.sweep.dir={folders[PLAIN]}/m"],
    }
    seconds = {}
    for name, command in commands.items():
        env = environment(TINYRM_CACHE=str(folders[name] / "cache"))
        seconds[name] = timed([sys.executable, *map(str, command), *asked], folders[name], env)
        print(f"  {name}: {seconds[name]:.1f} s", flush=True)
    keys = [g.partition("=")[0] for g in grid]
    ours, slow = (metrics_below(folders[name] / "m", keys) for name in (OURS, SLOW))
    plain = [json.loads(p.read_text(encoding="utf-8")) for p in folders[PLAIN].rglob("accuracy.json")]
    trials = math.prod(len(g.partition("=")[2].split(",")) for g in grid)
    if not len(ours) == len(slow) == len(plain) == trials:
        raise RuntimeError(f"{len(ours)}, {len(slow)} and {len(plain)} of {trials} trials ended, below {scratch}")
    far = differences(ours, slow)
    records = {
        name: [json.loads(p.read_text(encoding="utf-8"))["peak_memory_mib"]["process"] for p in found]
        for name, found in ((n, (folders[n] / "m").rglob("run.json")) for n in (OURS, SLOW))
    }
    return {
        "grid": asked,
        "trials": trials,
        "seconds": seconds,
        "ratio": seconds[PLAIN] / seconds[OURS],
        "largest_difference": max(far.values()),
        "tolerance": TOLERANCE,
        "peak_memory_mib": {
            **{name: max(peaks) for name, peaks in records.items()},  # of training
            PLAIN: max(p["peak_memory_mib"] for p in plain),
        },
        "mean_test_accuracy": {
            OURS: statistics.mean(numbers["pooled.accuracy.value"] for numbers in ours.values()),
            SLOW: statistics.mean(numbers["pooled.accuracy.value"] for numbers in slow.values()),
            PLAIN: statistics.mean(p["test"] for p in plain),
        },
    }
