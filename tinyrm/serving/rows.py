"""Rows of JSONL, Parquet and CSV files through the model and out again, to be gone on with where it was stopped.

What is finished goes line by line into `OUT.part`; when all is done it becomes OUT, whole or not at all. The same
command started again skips what `OUT.part` holds, after checking that it came from the same rows and settings.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tinyrm.data.readers.folder import ENDINGS, format_of
from tinyrm.data.readers.jsonl import open_jsonl
from tinyrm.data.readers.table import Row, Table
from tinyrm.data.readers.tabular import open_csv, open_parquet
from tinyrm.errors import DataError, StorageError
from tinyrm.files import atomic_path, storage_errors

STANDARD = "-"  # stdin or stdout, as JSON Lines
CHUNK = 256  # rows scored and written together
_OPEN: Mapping[str, Callable[[Path, str], Table]] = {"jsonl": open_jsonl, "parquet": open_parquet, "csv": open_csv}

Made = tuple[str, dict[str, Any]]  # 'out' or 'rejects', and the row for it
Process = Callable[[Table, list[Row]], list[Made]]


def open_rows(path: str) -> Table:
    """The rows of a file, or of stdin.

    Raises:
        DataError: it is missing or of no format we read.
    """
    if path == STANDARD:
        return Table("stdin", "stdin", "line", None, lambda _columns: _stdin())
    return _OPEN[_format(path)](Path(path).expanduser(), Path(path).name)


def check_outputs(outputs: Mapping[str, str], *, replace: bool) -> dict[str, Path]:
    """The files among the outputs; before anything expensive.

    Raises:
        DataError: of no format we write.
        StorageError: one is there already.
    """
    files = {name: Path(path).expanduser() for name, path in outputs.items() if path != STANDARD}
    for path in files.values():
        _format(str(path))
        if path.suffix == ".gz":
            raise DataError(f"{path}: written plain; leave out .gz, or write to - and pack it yourself.")
        if path.exists() and not replace:
            raise StorageError(f"{path} is there already: give another name, or --replace.")
    return files


def run_rows(
    table: Table,
    process: Process,
    outputs: Mapping[str, str],
    settings: Mapping[str, Any],
    *,
    replace: bool = False,
    progress: Callable[[int], None] = lambda rows: None,
) -> int:
    """Send every row through `process` into the outputs; give how many rows there were.

    Args:
        table: of :func:`open_rows`.
        process: one result for each row of a chunk.
        outputs: 'out' (and 'rejects') -> file or '-'.
        settings: what decides the results, besides the rows.
        replace: write over files that are there.
        progress: told how many rows are done, the skipped ones among them.

    Raises:
        DataError: a bad row, or an `OUT.part` that came from other rows or settings.
        StorageError: an output is there already, or cannot be written.
    """
    files = check_outputs(outputs, replace=replace)
    rows = table.rows(None)
    if "out" not in files:
        return _stream(table, rows, process, progress)
    part = files["out"].with_name(files["out"].name + ".part")
    with storage_errors(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        done = _resume(part, json.dumps(settings, sort_keys=True))
        skipped = [_mark(row) for row in itertools.islice(rows, len(done))]
        if skipped != done:
            raise DataError(f"{part} was made from other rows than {table.label} has now: remove it to begin anew.")
        total = len(done)
        progress(total)
        with part.open("a", encoding="utf-8") as file:
            while chunk := list(itertools.islice(rows, CHUNK)):
                for row, (name, values) in zip(chunk, process(table, chunk), strict=True):
                    file.write(json.dumps([_mark(row), name, values]) + "\n")
                file.flush()
                total += len(chunk)
                progress(total)
    for name, path in files.items():
        _write(path, part, name)
    part.unlink()
    return total


def _format(path: str) -> str:
    found = format_of(Path(path))
    if found is None:
        known = " ".join(ending for endings in ENDINGS.values() for ending in endings)
        raise DataError(f"{path}: none of the formats {known}. JSON Lines come from stdin and go to stdout with '-'.")
    return found


def _stdin() -> Iterator[Row]:
    for number, line in enumerate(sys.stdin.buffer, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise DataError(f"stdin, line {number}: not JSON ({error}). Expected one JSON object a line.") from error
        if not isinstance(value, dict):
            raise DataError(f"stdin, line {number}: no JSON object. Expected one JSON object a line.")
        yield Row(number, value)


def _stream(table: Table, rows: Iterator[Row], process: Process, progress: Callable[[int], None]) -> int:
    """To stdout, a row as soon as its chunk is done; from a pipe each row is a chunk, which may be waited for."""
    total = 0
    while chunk := list(itertools.islice(rows, 1 if table.key == "stdin" else CHUNK)):
        for name, values in process(table, chunk):
            if name == "out":
                sys.stdout.write(json.dumps(values) + "\n")
        sys.stdout.flush()
        total += len(chunk)
        progress(total)
    return total


def _mark(row: Row) -> str:
    """Names the content of a row."""
    return hashlib.sha256(json.dumps(row.values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _resume(part: Path, settings: str) -> list[str]:
    """Marks of the rows that `part` holds, half a line at its end cut off; begins the file where there is none."""
    if not part.exists() or not part.stat().st_size:
        part.write_text(settings + "\n", encoding="utf-8")
        return []
    with part.open("r+b") as file:
        first = file.readline()
        if first.decode(errors="replace").strip() != settings:
            raise DataError(f"{part} was made by another model or with other options: remove it to begin anew.")
        marks, end = [], file.tell()
        for line in file:
            if not line.endswith(b"\n"):
                break
            marks.append(str(json.loads(line)[0]))
            end += len(line)
        file.truncate(end)
    return marks


def _kept(part: Path, name: str) -> Iterator[dict[str, Any]]:
    with part.open(encoding="utf-8") as file:
        next(file)
        for line in file:
            _, kind, values = json.loads(line)
            if kind == name:
                yield values


def _write(path: Path, part: Path, name: str) -> None:
    with atomic_path(path) as temporary:
        kind = _format(str(path))
        if kind == "parquet":
            _write_parquet(temporary, part, name)
            return
        with temporary.open("w", encoding="utf-8", newline="" if kind == "csv" else None) as file:
            if kind == "jsonl":
                file.writelines(json.dumps(values) + "\n" for values in _kept(part, name))
                return
            columns = list(dict.fromkeys(column for values in _kept(part, name) for column in values))
            writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerow(columns)
            writer.writerows([_cell(values.get(column)) for column in columns] for values in _kept(part, name))


def _cell(value: Any) -> Any:
    plain = value is None or isinstance(value, str | int | float)
    text = value if plain else json.dumps(value)
    return text.encode("utf-8", "replace").decode() if isinstance(text, str) else text


def _write_parquet(path: Path, part: Path, name: str) -> None:
    import pyarrow
    import pyarrow.parquet

    def tables() -> Iterator[Any]:
        rows = _kept(part, name)
        while chunk := list(itertools.islice(rows, 2048)):
            yield pyarrow.Table.from_pylist(chunk)

    schema = pyarrow.unify_schemas([t.schema for t in tables()] or [pyarrow.schema([])], promote_options="permissive")
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        rows = _kept(part, name)
        while chunk := list(itertools.islice(rows, 2048)):
            writer.write_table(pyarrow.Table.from_pylist(chunk, schema=schema))
