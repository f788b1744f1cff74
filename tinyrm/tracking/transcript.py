"""What an attempt told W&B, read from the file that `wandb` keeps of it: whole where the attempt was killed too."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEADER, _BLOCK = 7, 32768  # of the file, and of each of LevelDB's log records in it; its blocks
_WHOLE, _LAST = 1, 4  # kinds of a piece: a record of its own, or the end of one


def rows(file: Path) -> Iterator[dict[str, Any]]:
    """Each row of the history, oldest first, without the keys that W&B adds (`_step`, `_runtime`, ...).

    Args:
        file: with the ending .wandb. A last record that is cut off, or a file that is none, ends the rows.
    """
    from google.protobuf.message import DecodeError
    from wandb.proto import wandb_internal_pb2

    messages: Any = wandb_internal_pb2  # made at import, which no type checker sees
    try:
        for raw in _records(file.read_bytes()):
            record = messages.Record.FromString(raw)
            if record.WhichOneof("record_type") == "history":
                items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
                yield {key: json.loads(value) for key, value in items.items() if not key.startswith("_")}
    except (OSError, DecodeError, ValueError):
        return


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
