"""`tinyrm sync` sends what waits, and says what it cannot: real offline runs, and a real server that refuses them."""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from tinyrm.cli import main
from tinyrm.errors import ConfigError, TinyRMError
from tinyrm.tracking.syncing import sync

pytestmark = pytest.mark.usefixtures("no_key")
Attempt = Callable[..., Path]


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    """Writes an attempt as a run does without a key; gives its file."""

    def write(folder: str, run_id: str = "r1") -> Path:
        place = tmp_path / "runs" / folder
        place.mkdir(parents=True, exist_ok=True)
        run = wandb.init(mode="offline", dir=place, id=run_id, project="p", settings=wandb.Settings(silent=True))
        run.log({"loss": 1.0})
        run.finish()
        wandb.teardown()
        files = [f for f in place.glob("wandb/offline-run-*/*.wandb") if not f.parent.is_symlink()]
        return max(files, key=lambda f: f.parent.name)

    return write


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers everything with 403, at once, and counts."""

    asked = 0

    def do_POST(self) -> None:
        type(self).asked += 1
        self.send_response(403)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Refusing]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    Refusing.asked = 0
    yield Refusing
    server.shutdown()


def mark(file: Path) -> None:
    file.with_name(file.name + ".synced").touch()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no folder .*nowhere"):
        sync([tmp_path / "nowhere"])


def test_without_a_key_it_says_how_many_wait(tmp_path: Path, attempt: Attempt) -> None:
    attempt("a", "a1")
    attempt("b", "b1")
    with pytest.raises(ConfigError, match="2 runs wait for W&B, but there is no key: `wandb login`"):
        sync([tmp_path / "runs"])


def test_what_is_there_is_not_sent_again(
    tmp_path: Path, attempt: Attempt, refusing: type[Refusing], capsys: pytest.CaptureFixture[str]
) -> None:
    mark(attempt("a"))
    done = sync([tmp_path / "runs"])
    assert (done.uploaded, done.there, done.running, refusing.asked) == (0, 1, 0, 0)
    assert main(["sync", str(tmp_path / "runs")]) == 0
    assert capsys.readouterr().out == "0 runs uploaded to W&B; 1 were there before\n"


def test_an_earlier_attempt_is_not_put_over_a_later_one(
    tmp_path: Path, attempt: Attempt, refusing: type[Refusing]
) -> None:
    attempt("a")
    time.sleep(1.1)  # its folder's name counts seconds
    mark(attempt("a"))
    done = sync([tmp_path / "runs"])
    assert (done.uploaded, done.there, refusing.asked) == (0, 1, 0)


def test_a_run_that_goes_on_is_left_alone(tmp_path: Path, attempt: Attempt, refusing: type[Refusing]) -> None:
    owner = attempt("a").parent / "owner.json"
    owner.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}), encoding="utf-8")
    assert sync([tmp_path / "runs"]).running == 1
    owner.write_text(json.dumps({"host": "elsewhere", "pid": 1}), encoding="utf-8")
    assert sync([tmp_path / "runs"]).running == 1  # written to a moment ago
    assert refusing.asked == 0


def test_a_server_that_refuses_leaves_everything_for_another_time(
    tmp_path: Path, attempt: Attempt, refusing: type[Refusing]
) -> None:
    file = attempt("a")
    with pytest.raises(TinyRMError, match=r"1 of 1 runs could not be uploaded to http://127\.0\.0\.1"):
        sync([tmp_path / "runs"])
    assert refusing.asked > 0
    assert file.is_file() and not file.with_name(file.name + ".synced").exists()
