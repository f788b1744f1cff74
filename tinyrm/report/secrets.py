"""Nothing secret in a report: what looks like a key or a password is masked in every text that comes from outside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
_PATTERNS = (
    # user:password@ in a URL
    (re.compile(r"(?<=://)([^\s:/@'\"]*):[^\s/'\"]*@(?=[^\s@])"), rf"\1:{MASK}@"),
    # password=..., api_key: ..., WANDB_API_KEY=...
    (
        re.compile(
            r"(?i)([\w-]*(?:password|passwd|secret|api[_-]?key|access[_-]?key|auth[_-]?token|access[_-]?token|hf_token))"
            r"(\\?['\"]?\s*[=:]\s*\\?['\"]?)[^\s'\",;&}\\]+"
        ),
        rf"\1\2{MASK}",
    ),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/-]{8,}=*"), rf"\1{MASK}"),
    (re.compile(r"\b(?:hf|sk|ghp|gho|github_pat|glpat|xox[bp])[_-][A-Za-z0-9_-]{16,}"), MASK),
)


def masked(text: str) -> str:
    """`text` without what looks like a key or a password."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def masked_values(value: Any) -> Any:
    """The same for every text in plain values; what a key like `password` holds is masked whole."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {k: MASK if _names_a_secret(str(k)) and v else masked_values(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(masked_values(v) for v in value)
    return value


def _names_a_secret(key: str) -> bool:
    return bool(re.search(r"(?i)(?:password|passwd|secret|api[_-]?key|auth[_-]?token|access[_-]?token)$", key))
