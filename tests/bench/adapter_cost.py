"""Trained parameters, peak memory and training speed of adapters by freezing depth, as a Markdown table.

    python tests/bench/adapter_cost.py [OVERRIDES of run.py ...]

Each row is one short run in a process of its own (so that peak memory is its own), one after the other. Ratios within
one table compare; absolute speeds are those of the machine at that moment.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIZES = ["model=minilm", "data.max_train_pairs=300", "data.max_dev_pairs=16", "data.max_test_pairs=16"]


def measure(folder: Path, overrides: list[str]) -> dict[str, float]:
    """Run once; the figures of its run.json."""
    command = [sys.executable, "run.py", f"hydra.run.dir={folder}", "tracking=none", *SIZES, *overrides]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return {
        "trained": record["parameters"]["trained"],
        "memory": record["peak_memory_mib"]["process"],
        "speed": record["throughput"]["pairs_per_second"],
        "tokens": record["throughput"]["tokens_per_second"],
    }


def main() -> None:
    print("| adapter | freeze | trained parameters | peak memory, MiB | pairs/s | tokens/s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as scratch:
        for row, (adapter, freeze) in enumerate(product(("dora", "lora", "full"), (0, 3, 5))):
            found = measure(Path(scratch) / str(row), [f"adapter={adapter}", f"freeze={freeze}", *sys.argv[1:]])
            print(
                f"| {adapter} | {freeze} | {found['trained']:,} | {found['memory']:,} | {found['speed']:.1f} "
                f"| {found['tokens']:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
