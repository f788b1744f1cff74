"""`tinyrm plan | reproduce | results`: the studies of claims, from what they take to what they found."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tinyrm import sweep
from tinyrm.config import register

if TYPE_CHECKING:
    from tinyrm.planning import Rate, StudyPlan

COMMANDS = ("plan", "reproduce", "results")
Run = Callable[[Sequence[str]], None]


def add_commands(commands: Any) -> None:
    """Add the three to the subcommands of `tinyrm`."""
    plan = commands.add_parser("plan", help="what a study takes: trials, hours, disk, the effect it can show")
    plan.add_argument("name", help="of a study in sweeps/, as claim_freeze")
    plan.add_argument("overrides", nargs="*", help="as of run.py: data.path=FOLDER seed=0,1,2,3 ...")
    plan.add_argument("--size", help="small | full, of a study that has them")
    plan.add_argument("--rate", type=float, metavar="TFLOPS", help="what your device reaches in training")
    plan.add_argument(
        "--measure", action="store_true", help="measure a rate here for each backbone, not the first alone"
    )
    again = commands.add_parser("reproduce", help="run a study and compare it with its committed record")
    again.add_argument("name", help="of a study in sweeps/, as claim_freeze")
    again.add_argument("overrides", nargs="*", help="as of run.py, beside the study's own")
    again.add_argument("--size", default="small", help="small (default) | full")
    again.add_argument("--data", type=Path, help="folder of the pairs, for a small study")
    again.add_argument("--workers", type=int, help="how many trials at once")
    again.add_argument("--results", type=Path, default=Path("sweeps/results"), help="folder of the records")
    results = commands.add_parser("results", help="RESULTS.md from the records of finished studies")
    results.add_argument("names", nargs="*", help="finished studies to record first; none: only write RESULTS.md anew")
    results.add_argument("--storage", help="where they are (default: sweep.storage's own default)")
    results.add_argument("--note", action="append", default=[], help="what a reader must know of how they came about")
    results.add_argument("--results", type=Path, default=Path("sweeps/results"), help="folder of the records")
    results.add_argument("--out", type=Path, default=Path("RESULTS.md"), help="the page (default: RESULTS.md)")


def take_overrides(options: argparse.Namespace, left: Sequence[str]) -> bool:
    """Add what argparse could not place: overrides that stand behind an option. False where they are none."""
    if options.command not in ("plan", "reproduce") or not all("=" in w and not w.startswith("-") for w in left):
        return False
    options.overrides += left
    return True


def run_command(options: argparse.Namespace, run: Run) -> None:
    """Do what was asked.

    Args:
        options: parsed by what :func:`add_commands` added.
        run: starts `run.py` with these arguments.
    """
    register()
    sweep.register(group="sweep")
    if options.command == "plan":
        _plan(options)
    elif options.command == "results":
        from tinyrm.report.results import record_studies, write_page

        record_studies(options.names, options.storage, options.results, options.note)
        print(f"written to: {write_page(options.results, options.out)}")
    else:
        from tinyrm.reproducing import reproduce

        reproduce(options, run)


def _plan(options: argparse.Namespace) -> None:
    from tinyrm.planning import Rate, assumed_rates, measured_rate, plan, study_overrides

    found = plan([*study_overrides(options.name, options.size), *options.overrides])
    rates = [Rate(options.rate, "given by --rate")] if options.rate else []
    if options.measure or not rates:
        configs = {arm.config.model.id: arm.config for arm in found.arms}
        rates += [measured_rate(c) for c in (list(configs.values()) if options.measure else [found.arms[0].config])]
    print_plan(found, [*rates, *assumed_rates()], Console() if sys.stdout.isatty() else Console(width=130))


def print_plan(found: StudyPlan, rates: Sequence[Rate], console: Console) -> None:
    """The plan on a terminal."""
    console.print(Text(f"{found.name}: {found.trials} trials. {found.statement}", style="bold"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = ("arm", "trials", "trained", "train pairs", "test pairs", "tokens a row", "PFLOP a trial", "MB a trial")
    for column in columns:
        table.add_column(column, justify="left" if column == "arm" else "right")
    for arm in found.arms:
        length = f"{arm.work.length}" if arm.work.known else f"<= {arm.work.length}"
        numbers = (arm.seeds, f"{arm.costs.trained:,}", f"{arm.work.train:,}", f"{arm.work.test:,}", length)
        table.add_row(Text(arm.name), *map(str, numbers), f"{arm.flops / 1e15:,.3g}", f"{arm.disk / 1e6:,.1f}")
    console.print(table)
    for name, flops in found.warmups.items():
        console.print(Text(f"warm-up {name}: {flops / 1e15:,.3g} PFLOP, once for all seeds"))
    if not all(arm.work.known for arm in found.arms):
        console.print(
            Text("The data are not here: pairs as the hub counts them, rows as long as prompt.max_tokens lets them be.")
        )
    console.print(Text(f"In all {found.flops / 1e15:,.3g} PFLOP. Hours of one device:"))
    for rate in rates:
        said = rate.source if rate.measured else f"assumed, not measured: {rate.source}"
        console.print(Text(f"  {found.hours(rate):,.2f} h at {rate.tflops:,.3g} TFLOP/s ({said})"))
    disk = sum(arm.seeds * arm.disk for arm in found.arms)
    console.print(
        Text(
            f"Disk: {disk / 1e9:,.2f} GB of checkpoints, models and predictions; at most {found.store / 1e9:,.1f} GB "
            f"of frozen layers' output, where storing it pays. Trials are kept in {found.storage}."
        )
    )
    if found.detectable:
        claim = found.arms[0]
        console.print(Text(f"Smallest difference that {claim.seeds} seeds can be expected to show, in points:"))
        for name, effect in found.detectable.items():
            console.print(Text(f"  {100 * effect:.1f}  {name}"))
