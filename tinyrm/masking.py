"""Nothing secret leaves: keys and passwords are masked in what is tracked and in what is reported."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
_SECRET = r"password|passwd|secret|api[_-]?key|access[_-]?key|auth[_-]?token|access[_-]?token|hf_token"
_PATTERNS = (
    # user:password@ in a URL
    (re.compile(r"(?<=://)([^\s:/@'\"]*):[^\s/'\"]*@(?=[^\s@])"), rf"\1:{MASK}@"),
    # ?sslpassword=... and ?token=... of a URL
    (re.compile(r"(?i)(?<=[?&])(sslpassword|token)=[^&\s'\"]+"), rf"\1={MASK}"),
    # password=..., api_key: ..., WANDB_API_KEY=...
    (re.compile(rf"(?i)([\w-]*(?:{_SECRET}))(\\?['\"]?\s*[=:]\s*\\?['\"]?)[^\s'\",;&}}\\]+"), rf"\1\2{MASK}"),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/-]{8,}=*"), rf"\1{MASK}"),
    (re.compile(r"\b(?:hf|sk|ghp|gho|github_pat|glpat|xox[bp])[_-][A-Za-z0-9_-]{16,}"), MASK),
)
_NAMES_A_SECRET = re.compile(rf"(?i)(?:{_SECRET}|token)$")
_SHORTEST = 8  # of an environment variable's value that is looked for in texts: a shorter one may be a plain word


def masked(value: Any) -> Any:
    """The same plain value without secrets.

    Masked are what looks like a key or a password in any text, what stands under a name such as `api_key`, and,
    wherever they occur, the values of environment variables with such names.

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
        return type(value)(_masked(inner, secrets) for inner in value)
    return value


def _text(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        text = text.replace(secret, MASK)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def _secrets_of_environment() -> tuple[str, ...]:
    named = {v for k, v in os.environ.items() if _NAMES_A_SECRET.search(k) and len(v) >= _SHORTEST}
    return tuple(sorted(named, key=len, reverse=True))  # the longest first: one may hold another
