"""W&B's server is down, slow or broken: a run waits so long and no longer, goes on offline, and says it once."""

from __future__ import annotations

import http.server
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tinyrm.config import compose
from tinyrm.experiment import run

pytestmark = pytest.mark.usefixtures("no_key")


class Handler(http.server.BaseHTTPRequestHandler):
    """Says that it is well, and then answers every question with 500, or not at all."""

    silent = False

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        if self.silent:
            time.sleep(60)
        self.send_response(500)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Silent(Handler):
    silent = True


@pytest.fixture(params=[Handler, Silent], ids=["answers-500", "never-answers"])
def broken(request: pytest.FixtureRequest) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), request.param)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def online(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", url)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if "does not answer" in r.message]


def test_a_server_that_takes_connections_and_is_silent(
    small: list[str], tmp_path: Path, listener: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    online(monkeypatch, listener.url)
    for number in range(3):
        run(compose([*small, "tracking.patience_s=2", f"seed={number}"]), tmp_path / str(number))
        assert list((tmp_path / str(number) / "wandb").glob("offline-run-*"))
    assert len(said(caplog)) == 1
    assert listener.connections == 1  # what the first has learnt the others need not try


def test_a_server_that_fails_when_the_run_begins(
    small: list[str], tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    online(monkeypatch, broken)
    caplog.set_level(logging.INFO, "tinyrm.tracking")
    result = run(compose([*small, "tracking.patience_s=2"]), tmp_path / "run")
    assert result.record["state"] == "complete"
    assert len(said(caplog)) == 1
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert not list((tmp_path / "run" / "wandb").glob("*/*.synced"))
