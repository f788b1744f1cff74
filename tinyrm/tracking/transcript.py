"""What an attempt told W&B, read from the file that `wandb` keeps of it: whole where the attempt was killed too."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_HEADER, _BLOCK = 7, 32768  # of the file, and of each of LevelDB's log records in it; its blocks
_WHOLE, _LAST = 1, 4  # kinds of a piece: a record of its own, or the end of one


@dataclass
class Transcript:
    """What an attempt told.

    Attributes:
        run: of `wandb`: project, entity, run_id; None where it ended before it was said.
        rows: of the history, oldest first, without the keys that W&B adds (`_step`, `_runtime`, ...).
        summary: what stands beside the run's name.
        exit_code: 255 for one that was killed.
    """

    run: Any = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int = 255


def read_transcript(file: Path) -> Transcript:
    """Of a file with the ending .wandb; a last record that is cut off, or a file that is none, ends it."""
    from google.protobuf.message import DecodeError
    from wandb.proto import wandb_internal_pb2

    messages: Any = wandb_internal_pb2  # made at import, which no type checker sees
    found = Transcript()
    try:
        for raw in _records(file.read_bytes()):
            record = messages.Record.FromString(raw)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                found.run = record.run
            elif kind == "history":
                found.rows.append(_values(record.history.item))
            elif kind == "summary":
                found.summary |= _values(record.summary.update)
            elif kind == "exit":
                found.exit_code = record.exit.exit_code
    except (OSError, DecodeError, ValueError):
        pass
    return found


def send_missing(run: Any, axis: str, files: Iterable[Path]) -> None:
    """Log to a run what its server lacks of earlier attempts.

    Args:
        run: of `wandb`, gone on with under their id.
        axis: of the rows, by which what is there is told from what is not.
        files: of the attempts, oldest first.
    """
    known = run.summary.get(axis, -1)  # the server's
    for file in files:
        missing = [row for row in read_transcript(file).rows if row.get(axis, -1) > known]
        for row in missing:
            run.log(row)
        known = max([known, *(row[axis] for row in missing)])


def _values(items: Any) -> dict[str, Any]:
    named = {item.key or "/".join(item.nested_key): item.value_json for item in items}
    return {key: json.loads(value) for key, value in named.items() if not key.startswith("_")}


def _records(content: bytes) -> Iterator[bytes]:
    place, parts = _HEADER, b""
    while place + _HEADER <= len(content):
        rest = _BLOCK - place % _BLOCK
        if rest < _HEADER:  # no piece begins there
            place += rest
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + _HEADER])
        if place + _HEADER + length > len(content):
            return  # its writer was killed
        parts += content[place + _HEADER : place + _HEADER + length]
        place += _HEADER + length
        if kind in (_WHOLE, _LAST):
            yield parts
            parts = b""
