"""What using a model costs: the library, the service under load, a soak, a GRPO run. `make bench-serve BENCH_ARGS=RUN`.

Prints one line of JSON a part. RUN is a run folder, for example that of `make demo`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from serve_parts import grpo, library, load

from tinyrm.serving.model import RewardModel

PARTS = ("library", "load", "soak", "grpo")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="seconds in place of minutes")
    parser.add_argument("--backend", default="auto", help="of the library's part")
    parser.add_argument("--out", type=Path, help="all of it as JSON")
    options = parser.parse_args()
    parts = options.only.split(",")
    if wrong := set(parts) - set(PARTS):
        parser.error(f"--only {', '.join(sorted(wrong))}: give some of {', '.join(PARTS)}")
    quick = options.quick
    model = RewardModel.from_pretrained(options.run, truncation="ignore", backend=options.backend)
    steps = {
        "library": lambda: library.measure(model, 40 if quick else 1000, 5 if quick else 200),
        "load": lambda: load.measure(options.run, load.Expected(model, 64), 1.0 if quick else 15.0),
        "soak": lambda: load.soak(options.run, load.Expected(model, 64), 0.05 if quick else 10.0),
        "grpo": lambda: [grpo.measure(model, 3 if quick else 60, seed) for seed in range(1 if quick else 3)],
    }
    found = {}
    for part in parts:
        found[part] = steps[part]()
        print(json.dumps({part: found[part]}), flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
