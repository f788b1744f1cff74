"""A real server in a thread, for tests."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn

from tinyrm.serving.app import create_app
from tinyrm.serving.model import RewardModel
from tinyrm.serving.settings import Settings


@contextlib.contextmanager
def served(model: RewardModel, key: str | None = None, **limits: Any) -> Iterator[str]:
    """The address of a service of `model`."""
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
