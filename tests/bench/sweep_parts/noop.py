"""(a) What a sweep costs for each trial that does nothing, beside other sweepers; and the checks before launch."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from .common import APPS, Target, timed
from .foreign import FOREIGN_CONFIG, optuna_sweeper_python, plain_config

OURS_LOCAL, OURS_BASIC = "ours, local launcher, 2 workers", "ours, basic launcher, in process"
OPTUNA = "Optuna 5 study.optimize, SQLite"
OPTUNA_WAL = "Optuna 5 study.optimize, SQLite as we set it (WAL)"
BASIC, JOBLIB = "Hydra basic sweeper, basic launcher", "Hydra basic sweeper, joblib launcher, 2 jobs"
RIVAL = "hydra-optuna-sweeper 1.3.0, joblib launcher, 2 jobs"
RIVAL_SQLITE = f"{RIVAL}, SQLite"
TOY, OWN = "toy (1 key)", "this project's config"
CHECKED = ("adapter.rank=4,8,16,32,64", "freeze=0,1,2,3,4", "seed=range(0,20)", "prompt=terse,judge")  # 1,000 points


@dataclass(frozen=True)
class Contender:
    """One way to sweep one app.

    Attributes:
        app: TOY or OWN.
        command: gives the command line for a number of trials and the folder that is to hold them.
        trial: pattern of a file that each trial leaves below that folder; None where trials leave none.
    """

    name: str
    app: str
    command: Callable[[int, Path], list[str | Path]]
    trial: str | None


def contenders(environment: Path, dumped: Path) -> list[Contender]:
    """All, on both apps."""
    other = optuna_sweeper_python(environment)
    ours = {OURS_LOCAL: ["hydra/launcher=local"], OURS_BASIC: ["hydra/launcher=basic"]}
    basic = {BASIC: ["hydra/launcher=basic"], JOBLIB: ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]}
    found = []
    for name, launcher in ours.items():
        pull = ["hydra/sweeper=pull", *launcher]
        found.append(Contender(name, TOY, _ours("noop.py", "hydra.sweeper.settings", "x", pull), "m/*/*/result.json"))
        found.append(Contender(name, OWN, _ours("noop_own.py", "sweep", "seed", launcher), "m/*/*/result.json"))
    for name, launcher in basic.items():
        found.append(Contender(name, TOY, _basic("noop.py", [], "x", launcher), "m/*/.hydra/config.yaml"))
        own = ["-cn", FOREIGN_CONFIG, "hydra/help=tinyrm", "hydra/job_logging=tinyrm"]
        found.append(Contender(name, OWN, _basic("noop_own.py", own, "seed", launcher), "m/*/.hydra/config.yaml"))
    for name, storage in {RIVAL: False, RIVAL_SQLITE: True}.items():
        found.append(Contender(name, TOY, _rival(other, [], "x", storage), "m/*/.hydra/config.yaml"))
        found.append(Contender(name, OWN, _rival(other, ["-cp", dumped], "seed", storage), "m/*/.hydra/config.yaml"))
    for name, how in {OPTUNA: [], OPTUNA_WAL: ["wal"]}.items():
        found.append(Contender(name, TOY, _optuna(how), None))
    return found


def _ours(script: str, settings: str, key: str, choices: list[str]) -> Callable[[int, Path], list[str | Path]]:
    return lambda trials, folder: [
        *(sys.executable, APPS / script, "-m", *choices),
        *(f"{settings}.dir={folder}/m", f"{settings}.workers=2", f"{key}=range(0,{trials})"),
    ]


def _basic(script: str, config: list[str], key: str, choices: list[str]) -> Callable[[int, Path], list[str | Path]]:
    return lambda trials, folder: [
        *(sys.executable, APPS / script, "-m", *config, "hydra/sweeper=basic", *choices),
        *(f"hydra.sweep.dir={folder}/m", f"{key}=range(0,{trials})"),
    ]


def _rival(python: Path, config: list[str | Path], key: str, storage: bool) -> Callable[[int, Path], list[str | Path]]:
    """Its random sampler, which costs least; in memory, its default, or in SQLite, where a study outlives the call."""
    return lambda trials, folder: [
        *(python, APPS / "noop.py", "-m", *config, "hydra/sweeper=optuna", "hydra/sweeper/sampler=random"),
        *("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2"),
        *(f"hydra.sweeper.n_trials={trials}", f"hydra.sweep.dir={folder}/m", f"{key}=int(interval(0,1000000))"),
        *((f"hydra.sweeper.storage=sqlite:///{folder}/study.db", "hydra.sweeper.study_name=s") if storage else ()),
    ]


def _optuna(how: list[str]) -> Callable[[int, Path], list[str | Path]]:
    return lambda trials, folder: [sys.executable, APPS / "plain_optuna.py", str(trials), folder / "study.db", *how]


def measure(scratch: Path, environment: Path, quick: bool, only: str, repeats: int) -> dict[str, Any]:
    """Milliseconds a trial for each contender, and seconds of the checks.

    Args:
        only: contenders whose name or app holds this text.
        repeats: how often each is timed, in turn.
    """
    few, many = (5, 25) if quick else (20, 220)
    racing = contenders(environment, plain_config(scratch / "plain"))
    racing = [c for c in racing if only in c.name or only in c.app]
    seconds: dict[tuple[str, str], list[tuple[float, float]]] = {(c.app, c.name): [] for c in racing}
    for repeat in range(repeats):
        for number, contender in enumerate(racing):
            pair = []
            for trials in (few, many):
                folder = scratch / f"{repeat}-{number}-{trials}"
                pair.append(timed(contender.command(trials, folder), folder))
                left = len(list(folder.glob(contender.trial))) if contender.trial else trials
                if left != trials:
                    raise RuntimeError(f"{contender.name} on {contender.app}: {left} of {trials} trials in {folder}")
            seconds[contender.app, contender.name].append((pair[0], pair[1]))
            print(f"  {contender.app}: {contender.name}: {pair[0]:.2f} s, {pair[1]:.2f} s", flush=True)
    rows = [_row(app, name, pairs, many - few) for (app, name), pairs in seconds.items()]
    found: dict[str, Any] = {"trials": [few, many], "repeats": repeats, "rows": rows}
    if not only:
        found["checks"] = _checks(scratch)
    return found


def _row(app: str, name: str, pairs: list[tuple[float, float]], more: int) -> dict[str, Any]:
    slopes = [1000 * (b - a) / more for a, b in pairs]
    return {
        "app": app,
        "name": name,
        "ms_per_trial": statistics.median(slopes),
        "lowest": min(slopes),
        "highest": max(slopes),
        "seconds": pairs,
    }


def _checks(scratch: Path) -> dict[str, Any]:
    timed([sys.executable, APPS / "check_points.py", *CHECKED], scratch / "checks")
    text = (scratch / "checks" / "output.txt").read_text(encoding="utf-8")
    return dict(json.loads(text.strip().splitlines()[-1]))


def table(found: dict[str, Any]) -> Table:
    """For people."""
    few, many = found["trials"]
    shown = Table(
        title=f"(a) ms a trial that does nothing: slope from {few} to {many} trials, median (lowest, highest)"
    )
    for column in ("sweeper", "app"):
        shown.add_column(column)
    for column in ("ms a trial", "lowest", "highest", f"{few} trials, s"):
        shown.add_column(column, justify="right")
    for row in sorted(found["rows"], key=lambda r: (r["app"], r["ms_per_trial"])):
        first = statistics.median(a for a, _ in row["seconds"])
        figures = (row["ms_per_trial"], row["lowest"], row["highest"], first)
        shown.add_row(row["name"], row["app"], *(f"{f:.1f}" for f in figures))
    if "checks" in found:
        checks = found["checks"]
        shown.caption = (
            f"checking {checks['points']:,} points of this project's config before launch: {checks['check_s']:.1f} s "
            f"(and {checks['imports_s']:.1f} s to import what checks them). hydra-optuna-sweeper composes a plain YAML "
            "dump of this project's config, of the same groups and keys, without the schema; the other foreign "
            "sweepers compose conf/experiment.yaml."
        )
    return shown


def targets(found: dict[str, Any]) -> list[Target]:
    """Of the issue."""
    cost = {(r["app"], r["name"]): r["ms_per_trial"] for r in found["rows"]}
    made = []
    for app in (TOY, OWN):
        for name in (OURS_LOCAL, OURS_BASIC):
            if (app, name) in cost:
                made.append(Target(f"ms a no-op trial, {name}, {app}", cost[app, name], 40))
            if (app, name) in cost and cost.get((app, RIVAL)):
                ratio = cost[app, name] / cost[app, RIVAL]
                made.append(Target(f"share of {RIVAL}, {name}, {app}", ratio, 1 / 3))
    if "checks" in found:
        made.append(Target("s to check 1,000 points", found["checks"]["check_s"], 10))
    return made
