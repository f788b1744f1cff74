from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tinyrm.errors import DataError, ModelError
from tinyrm.evaluation.predictions import Predictions, read_predictions, write_predictions


def test_written_and_read_back(tmp_path, pair, scored) -> None:
    data = [pair("ä", chosen="one two", rejected="one"), pair("b", group="g"), pair("c")]
    path = tmp_path / "new" / "predictions.parquet"
    written = write_predictions(path, data, scored([2, -1, 1], [1, 0.5, -1]))
    read = read_predictions(path)
    for f in fields(Predictions):
        assert np.array_equal(getattr(read, f.name), getattr(written, f.name)), f.name
    assert read.id == ("ä", "b", "c")
    assert read.group == (None, "g", None)
    assert read.log_odds.tolist() == [1.5, -0.25, 0]
    assert read.verdict == ("chosen", "rejected", "tie")
    assert read.order_consistent.tolist() == [True, False, False]
    assert (read.chosen_words[0], read.rejected_words[0], read.chosen_chars[0], read.rejected_chars[0]) == (2, 1, 7, 3)
    assert read.tokens.tolist() == [7, 7, 7]
    assert len(read) == 3
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_what_a_bag_of_words_says_is_kept_beside(tmp_path, pair, scored) -> None:
    data, bag = [pair("a"), pair("b")], np.array([0.5, -1.0])
    write_predictions(tmp_path / "p.parquet", data, scored([1, 2]), bag)
    read = read_predictions(tmp_path / "p.parquet")
    assert read.bag_log_odds.tolist() == [0.5, -1.0]
    assert read.prompt_words.tolist() == [1, 1]


def test_files_of_earlier_versions_are_read(tmp_path, pair, scored) -> None:
    path = tmp_path / "p.parquet"
    write_predictions(path, [pair("a")], scored([1]))
    pq.write_table(pq.read_table(path).drop_columns(["prompt_words", "bag_log_odds"]), path)
    read = read_predictions(path)
    assert (read.id, read.prompt_words, read.bag_log_odds) == (("a",), None, None)


def test_the_columns_are_as_promised(tmp_path, pair, scored) -> None:
    write_predictions(tmp_path / "p.parquet", [pair("a")], scored([1]))
    assert pq.read_schema(tmp_path / "p.parquet").names == [f.name for f in fields(Predictions)]


def test_nan_is_refused_and_nothing_is_written(tmp_path, pair, scored) -> None:
    with pytest.raises(ModelError, match="pair 'a'"):
        write_predictions(tmp_path / "p.parquet", [pair("a")], scored([math.nan]))
    assert not list(tmp_path.iterdir())


def test_what_is_no_prediction_file_is_refused(tmp_path) -> None:
    with pytest.raises(DataError, match=r"cannot read the predictions in .*absent.parquet"):
        read_predictions(tmp_path / "absent.parquet")
    (tmp_path / "text.parquet").write_text("no")
    with pytest.raises(DataError, match="cannot read the predictions"):
        read_predictions(tmp_path / "text.parquet")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="it lacks section, subset"):
        read_predictions(tmp_path / "other.parquet")
