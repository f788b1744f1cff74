"""`tinyrm compare | rank | filter | doctor`: files in and out, stdin and stdout, going on, errors."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from tinyrm.cli import main
from tinyrm.serving import rows as rows_module
from tinyrm.serving.model import RewardModel

ROWS = [{"prompt": f"What is {n}+1?", "a": f"It is {n + 1}.", "b": f"It is {n}.", "id": n} for n in range(6)]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_compare_gives_the_library_s_verdicts(cloze_run: Path, tmp_path: Path) -> None:
    assert (
        main(["compare", str(cloze_run), jsonl(tmp_path / "in.jsonl", ROWS), "--out", str(tmp_path / "o.jsonl")]) == 0
    )
    model = RewardModel.from_pretrained(cloze_run)
    for row, made in zip(ROWS, read(tmp_path / "o.jsonl"), strict=True):
        verdict = model.compare(row["prompt"], row["a"], row["b"])
        assert {name: made[name] for name in row} == row
        assert made["log_odds"] == pytest.approx(verdict.log_odds, abs=1e-5)
        assert made["probability"] == pytest.approx(verdict.probability, abs=1e-5)
        assert (made["better"], made["truncated"]) == (verdict.better, False)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["in.jsonl", "o.jsonl"]


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_other_formats_say_the_same(ending: str, cloze_run: Path, tmp_path: Path) -> None:
    source, made = tmp_path / f"in.{ending}", tmp_path / f"out.{ending}"
    if ending == "parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), source)
    else:
        with source.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(ROWS[0]), delimiter="\t" if ending == "tsv" else ",")
            writer.writeheader()
            writer.writerows(ROWS)
    assert main(["compare", str(cloze_run), str(source), "--out", str(made)]) == 0
    assert (
        main(["compare", str(cloze_run), jsonl(tmp_path / "in.jsonl", ROWS), "--out", str(tmp_path / "o.jsonl")]) == 0
    )
    plain = [row["log_odds"] for row in read(tmp_path / "o.jsonl")]
    if ending == "parquet":
        found = pyarrow.parquet.read_table(made).to_pylist()
    else:
        with made.open(newline="") as file:
            found = list(csv.DictReader(file, delimiter="\t" if ending == "tsv" else ","))
    assert [float(row["log_odds"]) for row in found] == plain
    assert [row["prompt"] for row in found] == [row["prompt"] for row in ROWS]


def test_stdin_to_stdout(cloze_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(json.dumps(row) + "\n" for row in ROWS[:2])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert main(["compare", str(cloze_run)]) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == [0, 1]


def test_rank_orders_lists(cloze_run: Path, tmp_path: Path) -> None:
    rows = [{"q": "2+2?", "responses": ["4", "5", "4", "six"]}, {"q": "Hi", "responses": ["Hello"]}]
    command = ["rank", str(cloze_run), jsonl(tmp_path / "in.jsonl", rows), "--columns", "prompt=q"]
    assert main([*command, "--out", str(tmp_path / "o.jsonl")]) == 0
    first, second = read(tmp_path / "o.jsonl")
    ranking = RewardModel.from_pretrained(cloze_run).rank("2+2?", rows[0]["responses"])
    assert first["order"] == list(ranking.order) and first["strengths"] == pytest.approx(ranking.strengths, abs=1e-5)
    assert second["order"] == [0] and second["low"] == [None]
    with (tmp_path / "in.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["q", "responses"], ["2+2?", json.dumps(rows[0]["responses"])]])
    command[2] = str(tmp_path / "in.csv")
    assert main([*command, "--out", str(tmp_path / "o.parquet")]) == 0
    assert pyarrow.parquet.read_table(tmp_path / "o.parquet").to_pylist()[0]["order"] == list(ranking.order)


def test_filter_parts_the_pairs(cloze_run: Path, tmp_path: Path) -> None:
    rows = [{"prompt": r["prompt"], "chosen": r["a"], "rejected": r["b"]} for r in ROWS]
    rows += [{**r, "chosen": r["rejected"], "rejected": r["chosen"]} for r in rows]  # one of each two is right
    command = ["filter", str(cloze_run), jsonl(tmp_path / "in.jsonl", rows), "--out", str(tmp_path / "kept.jsonl")]
    assert main([*command, "--rejects", str(tmp_path / "rest.jsonl")]) == 0
    kept, rest = read(tmp_path / "kept.jsonl"), read(tmp_path / "rest.jsonl")
    assert len(kept) == len(rest) == len(ROWS)
    assert all(row["probability"] >= 0.5 for row in kept) and all(row["probability"] < 0.5 for row in rest)
    sure = ["--min-probability", "1.1", "--replace"]
    assert main([*command, *sure]) == 0 and read(tmp_path / "kept.jsonl") == []


def test_what_was_stopped_goes_on(cloze_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "CHUNK", 2)
    command = ["compare", str(cloze_run), jsonl(tmp_path / "in.jsonl", ROWS), "--out", str(tmp_path / "out.jsonl")]
    scored: list[int] = []
    whole = RewardModel.compare_pairs

    def stopping(self: RewardModel, pairs: Any) -> Any:
        scored.append(len(pairs))
        if len(scored) == 3:
            raise KeyboardInterrupt
        return whole(self, pairs)

    monkeypatch.setattr(RewardModel, "compare_pairs", stopping)
    assert main(command) == 130
    part = tmp_path / "out.jsonl.part"
    assert not (tmp_path / "out.jsonl").exists() and len(part.read_text().splitlines()) == 5
    with part.open("a") as file:
        file.write('["torn')  # as a power cut leaves it
    assert main(command) == 0
    assert scored == [2, 2, 2, 2] and not part.exists()
    assert [row["id"] for row in read(tmp_path / "out.jsonl")] == list(range(6))


def test_another_file_or_other_options_do_not_go_on(
    cloze_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, "CHUNK", 2)
    bad = [*ROWS[:2], {"prompt": "p", "a": "a"}]
    command = ["compare", str(cloze_run), jsonl(tmp_path / "in.jsonl", bad), "--out", str(tmp_path / "out.jsonl")]
    assert main(command) == 2
    assert "in.jsonl, line 3: no column 'b'. Columns: prompt, a." in capsys.readouterr().err
    assert main([*command, "--prefix", "x_"]) == 2
    assert "with other options: remove it" in capsys.readouterr().err
    jsonl(tmp_path / "in.jsonl", ROWS[::-1])
    assert main(command) == 2
    assert "other rows than" in capsys.readouterr().err
    jsonl(tmp_path / "in.jsonl", ROWS)  # the bad line mended, the ones before it as they were
    assert main(command) == 0 and len(read(tmp_path / "out.jsonl")) == 6
    assert main(command) == 5
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "options", "told"),
    [
        (
            {"promt": "p", "a": "a", "b": "b"},
            [],
            "no column 'prompt'. Columns: promt, a, b. Did you mean 'promt'? Name",
        ),
        ({"prompt": "p", "a": 3, "b": "b"}, [], "in.jsonl, line 1: a: int. Expected text"),
        ({"prompt": "p", "a": "a", "b": "b", "better": 1}, [], "has a column 'better' already: give --prefix"),
        ({"prompt": "p", "a": "a", "b": "b"}, ["--columns", "promt=x"], "no field 'promt'. Did you mean 'prompt'?"),
        ({"prompt": "p", "a": "a", "b": "b"}, ["--out", "x.txt"], "none of the formats .jsonl"),
        ({"prompt": "p", "a": "word " * 900, "b": "b"}, ["--truncation", "error"], "do not fit in 512 tokens"),
        ({"prompt": "p", "a": "a", "b": "b"}, ["--backend", "fp32"], "--backend fp32 is not known"),
    ],
)
def test_errors_say_what_would_be_right(
    row: dict[str, Any], options: list[str], told: str, cloze_run: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(["compare", str(cloze_run), jsonl(tmp_path / "in.jsonl", [row]), *options]) == 2
    assert told in capsys.readouterr().err


def test_chosen_and_rejected_are_read_as_a_and_b(cloze_run: Path, tmp_path: Path) -> None:
    rows = [{"prompt": "p", "chosen": "x", "rejected": "y"}]
    command = ["compare", str(cloze_run), jsonl(tmp_path / "in.jsonl", rows), "--out", str(tmp_path / "o.jsonl")]
    assert main(command) == 0
    assert len(read(tmp_path / "o.jsonl")) == 1


def test_doctor_says_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["torch"] and found["cpu"]["cores"] >= 1 and found["offline"]
    assert set(found["extras"]) >= {"hub", "serve", "trl", "onnx"}
    assert found["extras"]["onnx"] == []
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "extra onnx" in shown and "ready" in shown and "float32" in shown
