"""`tinyrm serve`: the service on a port."""

from __future__ import annotations

import ipaddress
import logging
import os
import signal
from importlib import util
from typing import Any

from tinyrm.errors import ConfigError
from tinyrm.serving.model import RewardModel

log = logging.getLogger(__name__)

KEY = "TINYRM_API_KEY"
_PACKAGES = {"fastapi": "fastapi", "uvicorn": "uvicorn", "prometheus_client": "prometheus-client"}


def check_serve(host: str) -> None:
    """Raise where the service cannot be had, before a model is loaded.

    Raises:
        ConfigError: the extra is not installed, or others could reach it without a key.
    """
    missing = [name for module, name in _PACKAGES.items() if util.find_spec(module) is None]
    if missing:
        raise ConfigError(f"tinyrm serve needs {', '.join(missing)}: pip install 'tinyrm[serve]'")
    if not _is_loopback(host) and not os.environ.get(KEY):
        raise ConfigError(f"--host {host} lets other machines in: set {KEY} to a key that they must give.")


def serve(model: RewardModel, host: str, port: int, **limits: Any) -> None:
    """Answer until SIGTERM or Ctrl-C; then finish what was begun.

    Args:
        model: what judges.
        host, port: where; port 0 takes a free one.
        limits: fields of :class:`tinyrm.serving.settings.Settings`.
    """
    import uvicorn

    from tinyrm.serving.app import create_app
    from tinyrm.serving.settings import Settings

    settings = Settings(**limits)
    model.truncation = "ignore"  # every answer says so for itself
    app = create_app(model, settings, key=os.environ.get(KEY) or None)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,  # the command's own
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,  # longer than clients keep theirs: none sends into a connection that is being closed
        timeout_graceful_shutdown=int(settings.shutdown_s),
        limit_concurrency=4096,
    )
    # When it has ended, uvicorn hands the signal on to whoever had it before; being told to stop is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
