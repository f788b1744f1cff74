"""A model of each kind, and a real server."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tinyrm.serving.app import create_app
from tinyrm.serving.model import RewardModel
from tinyrm.serving.settings import Settings

Serve = Callable[..., contextlib.AbstractContextManager[str]]


@pytest.fixture(scope="session", params=["cloze", "bradley_terry"])
def run_folder(request: pytest.FixtureRequest) -> Path:
    """A run folder of each objective."""
    found: Path = request.getfixturevalue("cloze_run" if request.param == "cloze" else "single_run")
    return found


@pytest.fixture(scope="session")
def served() -> Serve:
    """`with served(model, key, **limits) as address`: a service on a real port, in a thread."""

    @contextlib.contextmanager
    def serve(model: RewardModel, key: str | None = None, **limits: Any) -> Iterator[str]:
        app: Any = create_app(model, Settings(**limits), key=key)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
        assert not thread.is_alive()

    return serve
