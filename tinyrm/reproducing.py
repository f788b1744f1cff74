"""`tinyrm reproduce`: run a study again and hold it against the record in the repository."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tinyrm.config import config_dir
from tinyrm.errors import ConfigError, ReproductionError, did_you_mean
from tinyrm.planning import study_overrides
from tinyrm.report.results import read_records, record_of
from tinyrm.sweep import TrialsFailedError, open_studies
from tinyrm.sweep.asked import asked
from tinyrm.sweep.space import quoted

Run = Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class Same:
    """A contrast of a record beside the one found now.

    Attributes:
        before, now: of the record and of this run; None where this run could not judge it.
    """

    before: Mapping[str, Any]
    now: Mapping[str, Any] | None

    @property
    def verdict(self) -> bool:
        """Whether both say the same."""
        return self.now is not None and self.now["verdict"] == self.before["verdict"]

    @property
    def within(self) -> bool:
        """Whether the effect lies in the recorded interval."""
        if self.now is None:
            return False
        low, value, high = self.before["effect"]["low"], self.now["effect"]["value"], self.before["effect"]["high"]
        return bool(low - 1e-9 <= value <= high + 1e-9)


def reproduce(options: argparse.Namespace, run: Run) -> None:
    """Run the study (or go on with it) in `multirun/` of this folder, judge it, print the comparison.

    Args:
        options: name, size, data, workers, overrides, results.
        run: starts `run.py` with these arguments.

    Raises:
        ConfigError: no such study or record.
        ReproductionError: a verdict differs, or an effect lies outside the recorded interval.
    """
    command = study_overrides(options.name, options.size)
    command += [f"data.path={quoted(options.data.absolute())}"] if options.data else []
    command += [f"sweep.workers={options.workers}"] if options.workers else []
    command += options.overrides
    question = asked(config_dir(), command)
    record = _record(options.results, str(question.name))
    try:
        run(["-m", *command])
    except TrialsFailedError as error:
        Console(stderr=True).print(Text(f"{error}\nJudged by the trials that are complete."))
    found = record_of(open_studies([str(question.name)], question.storage)[0])
    pairs = compared(record, found)
    console = Console()
    console.print(_table(pairs))
    if record["fingerprints"] != found["fingerprints"]:
        console.print(Text("The data are not those of the record: their fingerprints differ."))
    wrong = [same.before["name"] for same in pairs if not (same.verdict and same.within)]
    if wrong:
        raise ReproductionError(f"{len(wrong)} of {len(pairs)} contrasts are not as recorded: {'; '.join(wrong)}.")
    console.print(Text(f"{record['name']} is reproduced: same verdicts, every effect within the recorded interval."))


def compared(record: Mapping[str, Any], found: Mapping[str, Any]) -> list[Same]:
    """Each contrast of the record beside what was found now."""
    now = {c["name"]: c for c in found["contrasts"]}
    return [Same(c, now.get(c["name"])) for c in record["contrasts"]]


def _record(folder: Any, name: str) -> dict[str, Any]:
    records = {record["name"]: record for record in read_records(folder)}
    if name not in records:
        near = did_you_mean(name, records) if records else " There are none yet: `tinyrm results NAME` makes one."
        raise ConfigError(f"there is no record of {name} in {folder}.{near}")
    return records[name]


def _table(pairs: Sequence[Same]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("contrast", "recorded", "now", "verdict", "effect"):
        table.add_column(column)
    for same in pairs:
        within = "within" if same.within else "outside"
        said = "same" if same.verdict else "differs"
        cells = (_shown(same.before), _shown(same.now) if same.now else "not judged")
        table.add_row(Text(same.before["name"]), *cells, said, within)
    return table


def _shown(contrast: Mapping[str, Any]) -> str:
    effect = contrast["effect"]
    low, high = (100 * effect[key] for key in ("low", "high"))
    return f"{contrast['verdict']} {100 * effect['value']:+.1f} ({low:+.1f} to {high:+.1f})"
