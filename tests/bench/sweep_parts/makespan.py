"""(b) Wall time of one real grid on two workers: ours against Hydra's joblib launcher, with equal metrics."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from .common import APPS, ROOT, Target, timed
from .foreign import FOREIGN_CONFIG

GRID = ("adapter.rank=4,8,16", "freeze=2,4", "seed=0,1")
SIZE = ("data.synthetic.train_pairs=32", "data.synthetic.dev_pairs=32", "data.synthetic.test_pairs=64")
QUICK = ("adapter.rank=4,8", "freeze=4", "seed=0,1")
# float32: in bf16 the store's rows and a batch's round apart, which turns pairs that are near a tie
FIXED = ("model=minilm", "data=synthetic", "trainer.threads=1", "trainer.precision=32")
OURS, JOBLIB = "ours, local launcher, 2 workers", "Hydra basic sweeper, joblib launcher, 2 jobs"
COLD = f"{JOBLIB}, each job on its own"
TOLERANCE = 1e-6

Metrics = dict[str, dict[str, float]]  # overrides of a trial -> its numbers by path


def measure(scratch: Path, quick: bool, sizes: tuple[str, ...]) -> dict[str, Any]:
    """Seconds of each, and how far each trial's numbers lie from ours."""
    grid = QUICK if quick else GRID
    asked = [*FIXED, *(sizes or SIZE), *grid]
    other = ["-m", "-cn", FOREIGN_CONFIG, "hydra/sweeper=basic", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    other += ["hydra/help=tinyrm", "hydra/job_logging=tinyrm"]
    folders = {OURS: scratch / "ours", JOBLIB: scratch / "joblib", COLD: scratch / "cold"}
    commands: dict[str, list[str | Path]] = {
        OURS: [ROOT / "run.py", "-m", f"sweep.dir={folders[OURS]}/m", "sweep.workers=2", *asked],
        JOBLIB: [ROOT / "run.py", *other, f"hydra.sweep.dir={folders[JOBLIB]}/m", *asked],
        COLD: [APPS / "cold.py", *other, f"hydra.sweep.dir={folders[COLD]}/m", *asked],
    }
    keys = [g.partition("=")[0] for g in grid]
    trials = math.prod(len(g.partition("=")[2].split(",")) for g in grid)
    seconds, metrics = {}, {}
    for name, command in commands.items():
        seconds[name] = timed([sys.executable, *command], folders[name])
        print(f"  {name}: {seconds[name]:.1f} s", flush=True)
        metrics[name] = metrics_below(folders[name] / "m", keys)
        if len(metrics[name]) != trials:
            raise RuntimeError(f"{name}: {len(metrics[name])} of {trials} trials have metrics, in {folders[name]}")
    return {
        "grid": asked,
        "trials": trials,
        "seconds": seconds,
        "ratio": {name: seconds[name] / seconds[OURS] for name in (JOBLIB, COLD)},
        "largest_difference": {name: differences(metrics[OURS], metrics[name]) for name in (JOBLIB, COLD)},
        "accuracy": {trial: numbers["overall.accuracy.value"] for trial, numbers in sorted(metrics[OURS].items())},
    }


def metrics_below(folder: Path, keys: list[str]) -> Metrics:
    """Every number of metrics.json of each trial below `folder`, by the trial's point."""
    found: Metrics = {}
    for path in folder.rglob("metrics.json"):
        overrides = path.parent / ".hydra" / "overrides.yaml"
        if not overrides.exists():
            continue  # a copy that the trial made for others
        lines = yaml.safe_load(overrides.read_text(encoding="utf-8"))
        point = " ".join(sorted(line for line in lines if line.partition("=")[0] in keys))
        found[point] = dict(_numbers(json.loads(path.read_text(encoding="utf-8")), ""))
    return found


def _numbers(node: Any, path: str) -> Iterator[tuple[str, float]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from _numbers(value, f"{path}.{key}" if path else str(key))
    if isinstance(node, int | float):
        yield path, float(node)


def differences(ours: Metrics, theirs: Metrics) -> dict[str, float]:
    """Of each trial, the largest difference of any number; infinite where one side lacks it."""
    found = {}
    for point in sorted(ours.keys() | theirs.keys()):
        a, b = ours.get(point, {}), theirs.get(point, {})
        same = a.keys() == b.keys() and bool(a)
        found[point] = max(abs(a[k] - b[k]) for k in a) if same else math.inf
    return found


def table(found: dict[str, Any]) -> Table:
    """For people."""
    shown = Table(title=f"(b) a grid of {found['trials']} MiniLM trials: {' '.join(found['grid'])}")
    shown.add_column("sweeper")
    for column in ("seconds", "times ours", "largest difference", "equal trials"):
        shown.add_column(column, justify="right")
    for name, seconds in found["seconds"].items():
        far = found["largest_difference"].get(name, {})
        equal = f"{sum(d <= TOLERANCE for d in far.values())} of {found['trials']}" if far else ""
        ratio = f"{found['ratio'].get(name, 1):.2f}"
        shown.add_row(name, f"{seconds:.1f}", ratio, f"{max(far.values()):.2g}" if far else "", equal)
    shown.caption = (
        "joblib reuses its processes, so data and weights stay read between jobs; 'each job on its own' forgets"
    )
    return shown


def targets(found: dict[str, Any]) -> list[Target]:
    """Of the issue."""
    far = max(d for per in found["largest_difference"].values() for d in per.values())
    return [
        Target(f"times faster than {JOBLIB}", found["ratio"][JOBLIB], 2.5, at_least=True),
        Target(f"times faster than {COLD}", found["ratio"][COLD], 2.5, at_least=True),
        Target("largest difference of a metric", far, TOLERANCE),
    ]
