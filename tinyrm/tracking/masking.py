"""Nothing secret leaves in what is tracked: keys and passwords are masked in configs and messages."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
_NAMES_A_SECRET = re.compile(r"(?i)(password|passwd|secret|token|api_?key|access_?key)$")
_IN_URL = (
    re.compile(r"(?<=://)([^\s:/@'\"]*):[^\s/@'\"]+(?=@)"),  # user:password@
    re.compile(r"(?i)(?<=[?&])(password|sslpassword|token|api_?key)=[^&\s'\"]+"),
)
_SHORTEST = 8  # of an environment variable's value that is looked for in texts: a shorter one may be a plain word


def masked(value: Any) -> Any:
    """The same plain value without secrets.

    Masked are passwords in URLs, what stands under a name such as `api_key`, and, wherever they occur, the values of
    environment variables with such names.

    Args:
        value: text, number, list or mapping, nested at will.
    """
    return _masked(value, _secrets_of_environment())


def _masked(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return _text(value, secrets)
    if isinstance(value, Mapping):
        return {
            key: MASK
            if inner and isinstance(inner, str) and _NAMES_A_SECRET.search(str(key))
            else _masked(inner, secrets)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_masked(inner, secrets) for inner in value]
    return value


def _text(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
    text = _IN_URL[0].sub(rf"\1:{MASK}", text)
    return _IN_URL[1].sub(rf"\1={MASK}", text)


def _secrets_of_environment() -> tuple[str, ...]:
    named = {v for k, v in os.environ.items() if _NAMES_A_SECRET.search(k) and len(v) >= _SHORTEST}
    return tuple(sorted(named, key=len, reverse=True))  # the longest first: one may hold another
