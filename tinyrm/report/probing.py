"""`tinyrm probe RUN ...`: what is behind the accuracy of some runs. Its libraries load when it is asked for."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from tinyrm.errors import DataError


def add_command(commands: Any) -> None:
    """Add `probe` to the `tinyrm` command's parsers."""
    parser = commands.add_parser("probe", help="what is behind an accuracy: order, length, words, calibration")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, trials, or a sweep's folder")
    parser.add_argument("--json", action="store_true", help="as JSON, by folder")


def run_command(options: argparse.Namespace) -> None:
    """Print the probes of the folders that were given.

    Raises:
        DataError: one holds no predictions.
    """
    from tinyrm.evaluation.probes import read_probes
    from tinyrm.report.probe_table import COLUMN, LABEL, probe_tables

    found = {str(folder): read_probes(folder) for given in options.runs for folder in folders_of(given)}
    if options.json:
        print(json.dumps({name: each.to_json() for name, each in found.items()}, indent=2, allow_nan=False))
        return
    console = Console() if sys.stdout.isatty() else Console(width=max(110, LABEL + COLUMN * min(len(found), 4)))
    for table in probe_tables(found, console.width):
        console.print(table)


def folders_of(given: Path) -> list[Path]:
    """The run folder itself, or those of the trials below a sweep's folder, by number.

    Raises:
        DataError: there are no predictions in either.
    """
    from tinyrm.evaluation.predictions import PREDICTIONS

    if (given / PREDICTIONS).is_file():
        return [given]
    trials = [path.parent for path in given.glob(f"*/{PREDICTIONS}") if path.parent.name.isdigit()]
    if not trials:
        raise DataError(
            f"{given} holds no {PREDICTIONS}: give the folder of a run that has ended, of an evaluation "
            "(`tinyrm eval`), or of a sweep (multirun/NAME)."
        )
    return sorted(trials, key=lambda path: int(path.name))
