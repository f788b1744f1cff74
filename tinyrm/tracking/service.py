"""Whether W&B's server is to be used, and what this process has learnt about it."""

from __future__ import annotations

import logging
import netrc
import os
import time
from pathlib import Path
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

_RETRY_S = 600.0  # so long a server that did not answer is left alone: each try may cost a trial its patience
_PROBE_S = 5.0
_PUBLIC = "https://api.wandb.ai"
_MODES = {"online": "online", "run": "online", "shared": "online", "offline": "offline", "dryrun": "offline"}

_said: set[str] = set()
_away: list[float] = []  # when the server did not answer, by time.monotonic(); the last counts


def mode() -> str:
    """`online`, `offline` or `disabled`: by WANDB_MODE where it is set, else online where there is a key.

    Why it is offline is said once a process.
    """
    given = os.environ.get("WANDB_MODE", "").lower()
    if given == "disabled" or os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1"):
        return "disabled"
    if _MODES.get(given) == "offline":
        say("W&B is offline (WANDB_MODE). Upload later with: tinyrm sync FOLDER")
        return "offline"
    if not has_key():
        say(
            "W&B is offline: there is no key (`wandb login`, or WANDB_API_KEY). Upload later with: tinyrm sync FOLDER"
            " (tracking=csv or none leaves W&B out)"
        )
        return "offline"
    return "offline" if is_away() else "online"


def has_key() -> bool:
    """Whether there is a key for the server, in the environment or where `wandb login` puts it."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    places = [Path(given)] if (given := os.environ.get("NETRC")) else [Path.home() / n for n in (".netrc", "_netrc")]
    for place in places:
        try:
            if netrc.netrc(place).hosts.get(urlsplit(address()).netloc):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False


def address() -> str:
    """Of the server."""
    return os.environ.get("WANDB_BASE_URL") or _PUBLIC


def is_away() -> bool:
    """Whether the server did not answer a short while ago."""
    return bool(_away) and time.monotonic() - _away[-1] < _RETRY_S


def answers(patience_s: float) -> bool:
    """Whether the server says anything; asked before each run, as `wandb.init` alone would take all its patience.

    Args:
        patience_s: most that it may take.
    """
    import requests  # of wandb; knows about proxies

    try:
        status = requests.get(f"{address().rstrip('/')}/healthz", timeout=min(patience_s, _PROBE_S)).status_code
    except requests.RequestException as error:
        went_away(type(error).__name__)
        return False
    if status >= 500:
        went_away(f"HTTP {status}")
        return False
    return True


def went_away(reason: str) -> None:
    """Leave the server alone for a while, and say why, once."""
    known = is_away()
    _away.append(time.monotonic())
    if not known:
        log.warning(
            "W&B at %s does not answer (%s): tracking goes on offline. Upload later with: tinyrm sync FOLDER",
            address(),
            reason,
        )


def say(message: str) -> None:
    """Say it, unless this process has."""
    if message not in _said:
        _said.add(message)
        log.info(message)
