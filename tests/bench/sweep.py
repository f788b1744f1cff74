"""What the sweep engine costs and gains, beside other sweepers on the same machine: `make bench-sweep`.

    a  cost of a trial that does nothing, and of the checks before launch
    b  makespan of a real grid on two workers, and whether its metrics are equal
    c  many processes on PostgreSQL
    d  how ask, status and resume grow with the study

Tables go to stdout, every figure into a JSON file. Meaningful on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from sweep_parts import claims, growth, makespan, noop
from sweep_parts.common import ROOT, Target, machine


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="a,b,c,d", help="parts, as in a,c")
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that everything runs")
    parser.add_argument("--out", type=Path, default=Path("bench-sweep.json"), help="where the figures go")
    parser.add_argument("--scratch", type=Path, help="an empty folder on a local disk; kept (default: a temporary one)")
    parser.add_argument(
        "--environment",
        type=Path,
        default=ROOT / ".venv-bench",
        help="virtual environment of hydra-optuna-sweeper, made where missing",
    )
    parser.add_argument("--contenders", default="", help="a: only those whose name or app holds this text")
    parser.add_argument("--repeats", type=int, default=3, help="a: how often each contender is timed")
    parser.add_argument("--size", nargs="*", default=[], help="b: overrides that set the size of data and training")
    parser.add_argument("--postgres", help="c: URL of an empty database; else a server is started")
    options = parser.parse_args()
    parts = options.only.split(",")
    if not set(parts) <= set("abcd"):
        parser.error(f"--only {options.only}: parts are a, b, c and d")
    with tempfile.TemporaryDirectory(prefix="bench-sweep-") as temporary:
        scratch = (options.scratch or Path(temporary)).absolute()
        return _run(options, parts, scratch)


def _run(options: argparse.Namespace, parts: list[str], scratch: Path) -> int:
    console = Console() if sys.stdout.isatty() else Console(width=140)
    found: dict[str, Any] = {"machine": machine(), "quick": options.quick}
    targets: list[Target] = []
    for part in parts:
        print(f"part {part}", flush=True)
        place = scratch / part
        place.mkdir(parents=True, exist_ok=True)
        if part == "a":
            where = options.environment.absolute()
            figures = noop.measure(place, where, options.quick, options.contenders, options.repeats)
            console.print(noop.table(figures))
            targets += noop.targets(figures)
        elif part == "b":
            figures = makespan.measure(place, options.quick, tuple(options.size))
            console.print(makespan.table(figures))
            targets += makespan.targets(figures)
        elif part == "c":
            figures = claims.measure(place, options.quick, options.postgres)
            console.print(claims.table(figures))
            targets += claims.targets(figures)
        else:
            figures = growth.measure(place, options.quick)
            console.print(growth.table(figures))
        found[part] = figures
        found["targets"] = [t.as_json() for t in targets]
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    for target in targets:
        console.print(target.line(), highlight=False)
    console.print(f"figures: {options.out}", highlight=False)
    return 0 if options.quick or all(t.met for t in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
