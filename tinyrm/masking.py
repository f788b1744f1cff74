"""Nothing secret leaves: keys and passwords are masked in what is recorded, logged, tracked and reported.

What names a place and not a secret stays: `${oc.env:NAME}`, and a shell's `${NAME}`.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tinyrm.files import write_text

MASK = "***"
_ELSEWHERE = r"\$\{(?:oc\.env:)?\w+\}"  # without a default, which may be a secret
_SECRET = r"password|passwd|secret|api[_-]?key|access[_-]?key|auth[_-]?token|access[_-]?token|hf_token"
_PATTERNS = (
    # user:password@ in a URL
    (re.compile(rf"(?<=://)([^\s:/@'\"]*):(?!{_ELSEWHERE}@)[^\s/'\"]*@(?=[^\s@])"), rf"\1:{MASK}@"),
    # ?sslpassword=... and ?token=... of a URL
    (re.compile(rf"(?i)(?<=[?&])(sslpassword|token)=(?!{_ELSEWHERE})[^&\s'\"]+"), rf"\1={MASK}"),
    # password=..., api_key: ..., WANDB_API_KEY=...
    (
        re.compile(
            rf"(?i)([\w-]*(?:{_SECRET}))(\\?['\"]?\s*[=:]\s*\\?['\"]?)(?!{_ELSEWHERE})(?:\$\{{[^}}]*\}}|[^\s'\",;&}}\\]+)"
        ),
        rf"\1\2{MASK}",
    ),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/-]{8,}=*"), rf"\1{MASK}"),
    (re.compile(r"\b(?:hf|sk|ghp|gho|github_pat|glpat|xox[bp])[_-][A-Za-z0-9_-]{16,}"), MASK),
)
_NAMES_A_SECRET = re.compile(rf"(?i)(?:{_SECRET}|token)$")
_IS_ELSEWHERE = re.compile(_ELSEWHERE).fullmatch
_SHORTEST = 8  # of an environment variable's value that is looked for in texts: a shorter one may be a plain word


def masked(value: Any) -> Any:
    """The same plain value without secrets.

    Masked are what looks like a key or a password in any text, what stands under a name such as `api_key`, and,
    wherever they occur, the values of environment variables with such names.

    Args:
        value: text, number, list or mapping, nested at will.
    """
    return _masked(value, _secrets_of_environment())


def written_secrets(value: Any) -> list[str]:
    """Dotted keys under which a plain value holds what looks like a secret, whatever the environment holds."""
    return list(dict.fromkeys(_differing(value, _masked(value, ()), "")))


def masked_keys(value: Any) -> list[str]:
    """Dotted keys under which :func:`masked` has put its mask."""
    return list(dict.fromkeys(key for key, text in _texts(value, "") if MASK in text))


def mask_yaml(path: Path) -> None:
    """Mask a YAML file in place; one without secrets is not touched."""
    plain = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    hidden = masked(plain)
    if hidden != plain:
        write_text(path, yaml.safe_dump(hidden, sort_keys=False, allow_unicode=True, width=1000))


class MaskingFormatter(logging.Formatter):
    """Of a log: what an exception or a library says may hold what it was given."""

    def format(self, record: logging.LogRecord) -> str:
        return str(masked(super().format(record)))


# libyaml's where it is there: Python's own takes 50 ms for a config of Hydra's.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Each text in a plain value, with its dotted key; those of a list have the list's."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, key)


def _differing(value: Any, other: Any, key: str) -> Iterator[str]:
    pairs = zip(_texts(value, key), _texts(other, key), strict=True)
    yield from (name for (name, one), (_, two) in pairs if one != two)


def _masked(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return _text(value, secrets)
    if isinstance(value, Mapping):
        return {
            key: MASK
            if inner and isinstance(inner, str) and _NAMES_A_SECRET.search(str(key)) and not _IS_ELSEWHERE(inner)
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
