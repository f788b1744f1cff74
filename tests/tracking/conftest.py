"""What the tests of tracking share: an environment without a key, and a reader of what W&B is told."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tinyrm.tracking import service

_BLOCK = 32768
# A training of seconds.
SMALL = [
    "model=tiny",
    "model.shape.num_hidden_layers=3",
    "data.synthetic.train_pairs=24",
    "data.synthetic.dev_pairs=12",
    "data.synthetic.test_pairs=9",
    "prompt.max_tokens=96",
    "trainer.threads=1",
    "trainer.accelerator=cpu",
]


class Told:
    """What one attempt wrote for W&B: config, summary, history, the run's own record and how it ended."""

    def __init__(self, file: Path) -> None:
        self.file = file
        from wandb.proto.wandb_internal_pb2 import Record

        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.artifacts: list[Any] = []
        self.exit_code: int | None = None
        self.stats = 0
        for raw in _records(file.read_bytes()):
            record = Record.FromString(raw)
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.run = record.run
                self.config |= _items(record.run.config.update)
            elif kind == "config":
                self.config |= _items(record.config.update)
            elif kind == "summary":
                self.summary |= _items(record.summary.update)
            elif kind == "history":
                self.history.append(_items(record.history.item))
            elif kind == "artifact":
                self.artifacts.append(record.artifact)
            elif kind == "stats":
                self.stats += 1
            elif kind == "exit":
                self.exit_code = record.exit.exit_code


def _items(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(content: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format after a header of 7 bytes."""
    place, parts = 7, b""
    while place + 7 <= len(content):
        if _BLOCK - place % _BLOCK < 7:
            place += _BLOCK - place % _BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Overrides of a training of seconds."""
    return list(SMALL)


@pytest.fixture
def told() -> Callable[[Path], list[Told]]:
    """Reads what the attempts of a run folder wrote for W&B, oldest first."""

    def read(folder: Path) -> list[Told]:
        import wandb

        wandb.teardown()  # its service has then written all of it
        found = [f for f in folder.glob("wandb/*run-*/*.wandb") if not f.parent.is_symlink()]
        return [Told(f) for f in sorted(found, key=lambda f: f.parent.name.removeprefix("offline-"))]

    return read


class Listener:
    """A server that takes every connection and never answers.

    Attributes:
        url: its address.
        connections: how many came.
    """

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.connections = 0
        self._kept: list[socket.socket] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._kept.append(self._socket.accept()[0])
                self.connections += 1

    def close(self) -> None:
        for each in (self._socket, *self._kept):
            each.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """On loopback."""
    server = Listener()
    yield server
    server.close()


@pytest.fixture
def server(no_key: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """W&B's address leads to a server that takes what is sent, and there is a key for it: see wandb_server.py."""
    place = Path(__file__).with_name("wandb_server.py")
    spec = importlib.util.spec_from_file_location("wandb_server", place)
    assert spec is not None and spec.loader is not None
    module = sys.modules["wandb_server"] = importlib.util.module_from_spec(spec)  # dataclasses look there
    spec.loader.exec_module(module)
    with module.serving() as found:
        monkeypatch.setenv("WANDB_BASE_URL", found.url)
        monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield found


@pytest.fixture
def no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """W&B is not switched off, there is no key for it, and this process has said and learnt nothing about it."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NETRC", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(service, "_said", set())
    monkeypatch.setattr(service, "_away", [])
    yield
    import wandb

    wandb.teardown()  # forgets address, key and mode
