"""Which column of a row is what, and what the model says of the row."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinyrm.data.readers.table import Row, Table
from tinyrm.errors import DataError, did_you_mean
from tinyrm.serving.model import Comparison, RewardModel
from tinyrm.serving.ranking import Ranking
from tinyrm.serving.rows import Made
from tinyrm.serving.texts import pair_of

FIELDS = {
    "compare": ("prompt", "a", "b"),
    "rank": ("prompt", "responses"),
    "filter": ("prompt", "chosen", "rejected"),
}
_ELSE = {"a": "chosen", "b": "rejected"}  # read where there is no column of the field's own name


def renames(command: str, given: str) -> dict[str, str]:
    """Field -> column, from 'a=chosen,b=rejected'.

    Raises:
        DataError: no such field.
    """
    asked = dict(part.partition("=")[::2] for part in given.split(",") if part)
    for field in asked:
        if field not in FIELDS[command]:
            raise DataError(f"--columns: `{command}` has no field {field!r}.{did_you_mean(field, FIELDS[command])}")
    return asked


def fields_of(table: Table, row: Row, command: str, asked: Mapping[str, str]) -> list[Any]:
    """The values of the fields of a command, in their order.

    Raises:
        DataError: a column is missing: which, which there are, and the nearest.
    """
    found = []
    for field in FIELDS[command]:
        column = asked.get(field, field)
        if column not in row.values and field not in asked and _ELSE.get(field) in row.values:
            column = _ELSE[field]
        if column not in row.values:
            near = did_you_mean(column, row.values)
            raise DataError(
                f"{table.place(row.number)}: no column {column!r}. Columns: {', '.join(row.values) or 'none'}."
                f"{near if near.startswith(' Did') else ''} Name yours with --columns {field}=YOUR_COLUMN."
            )
        found.append(row.values[column])
    return found


@dataclass(frozen=True)
class Task:
    """What a command does with a chunk of rows.

    Attributes:
        command: of :data:`FIELDS`.
        model: what judges.
        columns: field -> column.
        prefix: before the names of the columns that are added.
        method: of `rank`.
        min_probability, consistent: what `filter` keeps.
    """

    command: str
    model: RewardModel
    columns: Mapping[str, str]
    prefix: str = ""
    method: str = "auto"
    min_probability: float = 0.5
    consistent: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the results."""
        own = (self.command, dict(self.columns), self.prefix, self.method, self.min_probability, self.consistent)
        return {"model": self.model.name, "backend": self.model.backend.name, "options": own}

    def __call__(self, table: Table, rows: list[Row]) -> list[Made]:
        texts = [fields_of(table, row, self.command, self.columns) for row in rows]
        if self.command == "rank":
            return [self._ranked(table, row, *own) for row, own in zip(rows, texts, strict=True)]
        pairs = []
        for row, own in zip(rows, texts, strict=True):
            with _at(table, row):
                pairs.append(pair_of(*own))
        verdicts = self.model.compare_pairs(pairs)
        return [self._compared(table, row, verdict) for row, verdict in zip(rows, verdicts, strict=True)]

    def _compared(self, table: Table, row: Row, verdict: Comparison) -> Made:
        kept = verdict.probability >= self.min_probability and (verdict.order_consistent or not self.consistent)
        name = "out" if self.command == "compare" or kept else "rejects"
        return name, self._joined(table, row, comparison_values(verdict))

    def _ranked(self, table: Table, row: Row, prompt: Any, responses: Any) -> Made:
        with _at(table, row):
            if isinstance(responses, str):  # of a CSV file
                try:
                    responses = json.loads(responses)
                except ValueError as error:
                    raise DataError('responses: expected a list, in CSV as JSON: ["...", "..."].') from error
            if not isinstance(responses, Sequence):
                raise DataError(f"responses: {type(responses).__name__}. Expected a list of texts.")
            ranking = self.model.rank(prompt, responses, method=self.method)
        return "out", self._joined(table, row, ranking_values(ranking))

    def _joined(self, table: Table, row: Row, added: Mapping[str, Any]) -> dict[str, Any]:
        named = {self.prefix + name: value for name, value in added.items()}
        if twice := sorted(set(named) & set(row.values)):
            raise DataError(f"{table.place(row.number)}: has a column {twice[0]!r} already: give --prefix rm_.")
        return {**row.values, **named}


class _at:  # noqa: N801 (reads as a word)
    """Names the row in what goes wrong with it."""

    def __init__(self, table: Table, row: Row) -> None:
        self.place = table.place(row.number)

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, DataError):
            raise DataError(f"{self.place}: {error}") from error


def comparison_values(verdict: Comparison) -> dict[str, Any]:
    """A comparison as plain values."""
    return {
        "log_odds": verdict.log_odds,
        "probability": verdict.probability,
        "better": verdict.better,
        "order_consistent": verdict.order_consistent,
        "truncated": verdict.truncated,
    }


def ranking_values(ranking: Ranking) -> dict[str, Any]:
    """A ranking as plain values; an interval that is not known is null."""

    def known(numbers: Sequence[float]) -> list[float | None]:
        return [None if math.isnan(number) else number for number in numbers]

    return {
        "order": list(ranking.order),
        "best": ranking.best,
        "strengths": list(ranking.strengths),
        "low": known(ranking.low),
        "high": known(ranking.high),
        "comparisons": ranking.comparisons,
        "inconsistent": ranking.inconsistent,
        "truncated": ranking.truncated,
    }
