"""How fast training and scoring are, beside what people would otherwise write, on this machine: `make bench`.

Each contender runs in a process of its own, one after the other, on the same pairs; ratios within one table compare.
`--data FOLDER` takes real pairs (train/dev/test files), else the synthetic suite is used. `--quick` runs everything on
a toy model, to see that it works: its times say nothing. How a sweep grows with its trials: `make bench-sweep`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from speed_parts.grid import measure_grid
from speed_parts.packed import measure_pack
from speed_parts.scoring import BACKENDS, EXACT, SCORED_MODEL, STORED, TOLERANCE, losses
from speed_parts.setup import FULL, QUICK
from speed_parts.tables import grid_table, growth_table, loss_table, pack_table, step_table, table
from sweep_parts.common import ROOT, Target, machine

TRL = "trl==1.16.0"  # for its RewardTrainer; put into a folder of its own, never a dependency
PARTS = ("training", "reward", "scoring", "steps", "growth", "grid", "pack")
TRAINING = ("plain loop", "ours, speed=plain", "ours, no store", "ours", "ours, stored")
REWARD = ("reward: TRL", "reward: ours")
SCORING = (SCORED_MODEL, "score: pipeline", EXACT, *BACKENDS, STORED)
# What the second of two is asked to be, times the first.
WANTED = (
    ("plain loop", "ours", 6.0),
    ("plain loop", "ours, stored", 12.0),
    ("reward: TRL", "reward: ours", 1.5),
    ("score: pipeline", EXACT, 3.0),
    *(("score: pipeline", name, 3.0) for name in BACKENDS),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a folder of pairs")
    parser.add_argument("--model", type=Path, help="a run of a Bradley-Terry MiniLM to score with, else one is trained")
    parser.add_argument("--only", default="", help=f"parts, as in training,steps (all: {','.join(PARTS)})")
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads of each contender")
    parser.add_argument("--out", type=Path, default=Path("bench-speed.json"), help="where the figures go")
    parser.add_argument(
        "--trl", type=Path, default=ROOT / ".venv-bench-trl", help="folder of TRL, filled where missing"
    )
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--cache", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        return _contend(options)
    console = Console() if sys.stdout.isatty() else Console(width=130)
    found = _measure(options, options.only.split(",") if options.only else list(PARTS))
    targets = _targets(found)
    found["targets"] = [t.as_json() for t in targets]
    options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    tables = {
        "contenders": table,
        "losses": loss_table,
        "steps": step_table,
        "growth": growth_table,
        "grid": grid_table,
        "pack": pack_table,
    }
    for part, shown in tables.items():
        if found.get(part):
            console.print(shown(found[part]))
    for target in targets:
        console.print(target.line(), highlight=False)
    console.print(f"figures: {options.out}", highlight=False)
    compared = [(row, found[part]["tolerance"]) for part in ("grid", "pack") for row in _compared(found.get(part))]
    different = any(row["largest_difference"] > tolerance for row, tolerance in compared)
    if different:
        console.print("numbers of trials that should be equal differ", highlight=False)
    for name, limit in TOLERANCE.items():
        if found["losses"].get(name, {"largest_difference": 0.0})["largest_difference"] > limit:
            console.print(f"{name}: the log-odds differ", highlight=False)
            different = True
    missed = not options.quick and not all(t.met for t in targets)  # in quick runs times say nothing, equality does
    return int(different or missed)


def _measure(options: argparse.Namespace, parts: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"machine": machine(), "threads": options.threads, "quick": options.quick}
    groups = {"training": TRAINING, "reward": REWARD, "scoring": SCORING}
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as scratch:
        found["contenders"] = {}
        if options.model:
            (Path(scratch) / "cache").mkdir()
            (Path(scratch) / "cache" / "model").symlink_to(options.model.resolve())
        for name in [n for part, group in groups.items() if part in parts for n in group]:
            if name == SCORED_MODEL and options.model:
                continue
            found["contenders"][name] = figures = _run(name, options, Path(scratch))
            print(f"  {name}: {figures['pairs_per_second']:.2f} pairs/s", flush=True)
        found["losses"] = losses(found["contenders"])
        if "steps" in parts:
            found["steps"] = _run("steps", options, Path(scratch))
        if "growth" in parts:
            found["growth"] = _run("growth", options, Path(scratch))
        if "grid" in parts:
            found["grid"] = measure_grid(Path(scratch), options.data, options.quick)
        if "pack" in parts:
            found["pack"] = measure_pack(Path(scratch), options.data, options.quick)
    return found


def _compared(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """What of a part holds a `largest_difference`."""
    return [] if part is None else part.get("rows", [part])


def _targets(found: dict[str, Any]) -> list[Target]:
    speeds = {name: own["pairs_per_second"] for name, own in found["contenders"].items()}
    targets = [Target(f"{b} / {a}", speeds[b] / speeds[a], wanted, True) for a, b, wanted in WANTED if a in speeds]
    if "steps" in found:
        ms = found["steps"]["ms"]
        targets.append(Target("DoRA step / LoRA step", ms["dora"] / ms["lora"], 1.15))
        targets.append(Target("training FLOP/s / GEMM FLOP/s", found["steps"]["share"], 0.7, at_least=True))
    if "grid" in found:
        targets.append(Target("grid: times faster", found["grid"]["ratio"], 8.0, at_least=True))
    return targets


def _run(name: str, options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """A contender's figures, from a process of its own."""
    group = "store" if name in ("ours", "ours, stored", STORED) else name
    cache = scratch / "cache" / re.sub(r"\W+", "-", group)
    out = scratch / "figures.json"
    command = [sys.executable, __file__, "--contender", name, "--cache", str(cache), "--out", str(out)]
    command += ["--threads", str(options.threads), *(["--quick"] if options.quick else [])]
    command += ["--data", options.data] if options.data else []
    threads = {key: str(options.threads) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    quiet = {"TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1"}
    path = {"PYTHONPATH": str(_trl(options.trl))} if name == "reward: TRL" else {}
    for _ in range(2 if name == STORED else 1):  # the first fills it
        env = {**os.environ, **threads, **quiet, **path}
        done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{name}:\n{done.stderr[-3000:]}")
    figures: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return figures


def _trl(folder: Path) -> Path:
    """A folder with TRL alone; what it needs is there already."""
    if not (folder / "trl").is_dir():
        print(f"installing {TRL} into {folder}", flush=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--target", str(folder), TRL], check=True)
    return folder


def _contend(options: argparse.Namespace) -> int:
    """What a contender's process does."""
    import resource

    import torch
    from speed_parts.contenders import CONTENDERS

    torch.set_num_threads(options.threads)
    figures = CONTENDERS[options.contender](QUICK if options.quick else FULL, options.data, options.cache)
    figures["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    store = Path(options.cache) / "prefix"
    figures["store_mib"] = sum(p.stat().st_size for p in store.glob("*/*") if p.is_file()) // 2**20
    options.out.write_text(json.dumps(figures), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
