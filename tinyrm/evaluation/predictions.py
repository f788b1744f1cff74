"""`predictions.parquet`: one row a pair, enough to recompute every metric and to compare two runs pair by pair.

`dev_predictions.parquet` has the same columns for the dev pairs, by which a temperature may be fitted and a threshold
chosen. Its log-odds are those of the evaluation of dev that chose the weights: in both orders, in training's precision
and with the adapter beside the weights, where test pairs are scored with both merged, by default in float32.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tinyrm.errors import DataError
from tinyrm.evaluation.units import check_scores, consistent, words
from tinyrm.files import atomic_path
from tinyrm.types import PairScores, PreferencePair

PREDICTIONS = "predictions.parquet"  # in a run folder
DEV_PREDICTIONS = "dev_predictions.parquet"
_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("section", pa.string(), nullable=False),
        pa.field("subset", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("log_odds_chosen_first", pa.float64(), nullable=False),
        pa.field("log_odds_chosen_second", pa.float64(), nullable=False),
        pa.field("log_odds", pa.float64(), nullable=False),
        pa.field("verdict", pa.string(), nullable=False),
        pa.field("order_consistent", pa.bool_(), nullable=False),
        pa.field("chosen_words", pa.int64(), nullable=False),
        pa.field("rejected_words", pa.int64(), nullable=False),
        pa.field("chosen_chars", pa.int64(), nullable=False),
        pa.field("rejected_chars", pa.int64(), nullable=False),
        pa.field("tokens", pa.int64(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
        pa.field("prompt_words", pa.int64()),
        pa.field("bag_log_odds", pa.float64()),
    ]
)
_ADDED = {"prompt_words", "bag_log_odds"}  # columns that files of earlier versions lack
_VERDICTS = {1: "chosen", -1: "rejected", 0: "tie"}


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The columns of `predictions.parquet`; every array is (n,), in the order of the file.

    `log_odds*` are natural-log odds that the chosen response is better (shown first, shown second, mean of both);
    `verdict` is 'chosen', 'rejected' or 'tie' by the sign of the mean; words are runs between white space, chars are
    Unicode code points; `tokens` of the encoded pair in one order; `bag_log_odds` are those of a bag of words fitted on
    the run's own train pairs (:mod:`tinyrm.evaluation.bag`). The last two are None where the file does not have them.
    """

    id: tuple[str, ...]
    section: tuple[str, ...]
    subset: tuple[str, ...]
    group: tuple[str | None, ...]
    source: tuple[str, ...]
    log_odds_chosen_first: NDArray[np.float64]
    log_odds_chosen_second: NDArray[np.float64]
    log_odds: NDArray[np.float64]
    verdict: tuple[str, ...]
    order_consistent: NDArray[np.bool_]
    chosen_words: NDArray[np.int64]
    rejected_words: NDArray[np.int64]
    chosen_chars: NDArray[np.int64]
    rejected_chars: NDArray[np.int64]
    tokens: NDArray[np.int64]
    truncated: NDArray[np.bool_]
    prompt_words: NDArray[np.int64] | None = None
    bag_log_odds: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.id)

    @property
    def scores(self) -> PairScores:
        """The scores the file was written from."""
        return PairScores(self.log_odds_chosen_first, self.log_odds_chosen_second, self.truncated, self.tokens)


def predictions(
    pairs: Sequence[PreferencePair], scores: PairScores, bag: NDArray[np.float64] | None = None
) -> Predictions:
    """The table of these scores.

    Args:
        bag: (n,) log-odds of a bag of words for the same pairs.

    Raises:
        DataError, ModelError: as :func:`tinyrm.evaluation.units.check_scores` (no pairs, an id twice, NaN).
    """
    check_scores(pairs, scores)
    return Predictions(
        id=tuple(pair.id for pair in pairs),
        section=tuple(pair.section for pair in pairs),
        subset=tuple(pair.subset for pair in pairs),
        group=tuple(pair.group for pair in pairs),
        source=tuple(pair.source for pair in pairs),
        log_odds_chosen_first=scores.chosen_first,
        log_odds_chosen_second=scores.chosen_second,
        log_odds=scores.log_odds,
        verdict=tuple(_VERDICTS[int(sign)] for sign in np.sign(scores.log_odds)),
        order_consistent=consistent(scores),
        chosen_words=np.array([words(pair.chosen) for pair in pairs], dtype=np.int64),
        rejected_words=np.array([words(pair.rejected) for pair in pairs], dtype=np.int64),
        chosen_chars=np.array([len(pair.chosen) for pair in pairs], dtype=np.int64),
        rejected_chars=np.array([len(pair.rejected) for pair in pairs], dtype=np.int64),
        tokens=scores.tokens,
        truncated=scores.truncated,
        prompt_words=np.array([words(pair.prompt_text) for pair in pairs], dtype=np.int64),
        bag_log_odds=bag,
    )


def write_predictions(
    path: str | os.PathLike[str],
    pairs: Sequence[PreferencePair],
    scores: PairScores,
    bag: NDArray[np.float64] | None = None,
) -> Predictions:
    """Write the table of these scores to `path`, whole or not at all, and give it back.

    Args:
        bag: see :func:`predictions`.

    Raises:
        DataError, ModelError: see :func:`predictions`.
        StorageError: no space or no permission.
    """
    table = predictions(pairs, scores, bag)
    arrays = [_array(getattr(table, column.name), column.type, len(table)) for column in _SCHEMA]
    with atomic_path(path) as temporary:
        pq.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA), temporary, compression="zstd")
    return table


def read_predictions(path: str | os.PathLike[str]) -> Predictions:
    """Read what :func:`write_predictions` wrote.

    Raises:
        DataError: the file is missing, no Parquet, or lacks a column.
    """
    try:
        table = pq.read_table(Path(path))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot read the predictions in {os.fspath(path)}: {error}") from error
    absent = [name for name in _SCHEMA.names if name not in table.column_names and name not in _ADDED]
    if absent:
        raise DataError(f"{os.fspath(path)} holds no predictions of TinyRM: it lacks {', '.join(absent)}.")
    columns: dict[str, Any] = {}
    for column in _SCHEMA:
        if column.name in _ADDED and (column.name not in table.column_names or table[column.name].null_count):
            columns[column.name] = None
            continue
        values = table[column.name].cast(column.type)
        columns[column.name] = tuple(values.to_pylist()) if pa.types.is_string(column.type) else values.to_numpy()
    return Predictions(**{f.name: columns[f.name] for f in fields(Predictions)})


def _array(values: Any, kind: pa.DataType, length: int) -> pa.Array:
    return pa.nulls(length, kind) if values is None else pa.array(values, type=kind)
