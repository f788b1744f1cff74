"""Trials of one worker together (sweep.pack) beside the same one after another: equal numbers, time, memory."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

from sweep_parts.common import ROOT, environment, timed
from sweep_parts.makespan import differences, metrics_below

GRID = ("adapter.rank=4,8", "optimizer.lr=1e-4,3e-4")  # one data order: every pass of the frozen layers is shared
TRIALS = 4
TOLERANCE = 1e-6  # of any number of metrics.json
STORES = ("off", "auto")  # speed.prefix


def measure_pack(scratch: Path, data: str | None, quick: bool) -> dict[str, Any]:
    """Seconds, CPU seconds, memory and the largest difference of any number, without and with the store."""
    sizes = (24, 12, 12) if quick else (64, 32, 64)
    fixed = ["trainer.threads=1", "trainer.precision=32", "tracking=none", "hydra/launcher=basic"]
    fixed += ["model=tiny", "freeze=1"] if quick else ["model=minilm", "freeze=4"]
    fixed += [f"data.max_{part}_pairs={n}" for part, n in zip(("train", "dev", "test"), sizes, strict=True)]
    fixed += ["data=jsonl", f"data.path={data}"] if data else []
    rows = [_row(scratch, [*fixed, f"speed.prefix={store}"], store) for store in (STORES[:1] if quick else STORES)]
    return {"grid": [*fixed, *GRID], "trials": TRIALS, "rows": rows, "tolerance": TOLERANCE}


def _row(scratch: Path, fixed: list[str], store: str) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for pack in (1, TRIALS):
        folder = scratch / f"pack-{store}-{pack}"
        command = [sys.executable, ROOT / "run.py", "-m", f"sweep.dir={folder}/m", f"sweep.pack={pack}", *fixed, *GRID]
        before = _cpu()
        seconds = timed(command, folder, environment(TINYRM_CACHE=str(folder / "cache")))
        cpu = _cpu() - before
        numbers = metrics_below(folder / "m", [g.partition("=")[0] for g in GRID])
        if len(numbers) != TRIALS:
            raise RuntimeError(f"{len(numbers)} of {TRIALS} trials ended, below {folder}")
        records = [json.loads(p.read_text(encoding="utf-8")) for p in (folder / "m").rglob("run.json")]
        memory = max(record["peak_memory_mib"]["process"] for record in records)
        found[str(pack)] = {"seconds": seconds, "cpu_seconds": cpu, "peak_memory_mib": memory, "numbers": numbers}
        print(f"  speed.prefix={store} sweep.pack={pack}: {seconds:.1f} s, {cpu:.1f} CPU s, {memory} MiB", flush=True)
    far = differences(*(own.pop("numbers") for own in found.values()))
    return {"store": store, "packs": found, "largest_difference": max(far.values())}


def _cpu() -> float:
    """Seconds of the processor that commands have taken so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
