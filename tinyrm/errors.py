"""The errors a person can cause or must know about: one base, a few meanings.

Everything raised on purpose derives from :class:`TinyRMError`; the entry points print its message without a traceback
and exit with its `exit_code`. Any other exception is a defect of TinyRM and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class TinyRMError(Exception):
    """Base of every error with a message meant for the person at the terminal."""

    exit_code: int = 1


class ConfigError(TinyRMError):
    """The composed config cannot be run. Holds every problem found, not only the first.

    Args:
        problems: one message each: what is wrong, where, and what would be right.
    """

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        if len(self.problems) == 1:
            message = self.problems[0]
        else:
            listed = "\n".join(f"  {i}. {p}" for i, p in enumerate(self.problems, 1))
            message = f"{len(self.problems)} problems in this config:\n{listed}"
        super().__init__(message)

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class DataError(TinyRMError):
    """A data source is missing, unreadable or does not hold what its schema promises (names file and line)."""

    exit_code = 2


class ModelError(TinyRMError):
    """A backbone is unknown, cannot be had, or is not what it claims to be."""

    exit_code = 2


class ReproductionError(TinyRMError):
    """A study that was run again does not say what its record says."""


class NonFiniteLossError(TinyRMError, FloatingPointError):
    """The training loss became NaN or infinite. The run ends; its last good checkpoint is kept."""

    exit_code = 4


class OutOfMemoryError(TinyRMError, MemoryError):
    """A run needs more memory than its device has; says what would make it smaller."""

    exit_code = 6


class Interrupted(TinyRMError):  # noqa: N818 (an end, not an error)
    """Stopped by a signal after saving a checkpoint from which the run continues."""

    exit_code = 130


class StorageError(TinyRMError):
    """A file could not be written: no space, no permission. Nothing half-written stays under a final name."""

    exit_code = 5
    stops_sweep = True  # the next trial would meet the same


def did_you_mean(word: str, choices: Iterable[str], limit: int = 3) -> str:
    """' Did you mean x?' for the nearest choices, else the list of all of them (both start with a blank)."""
    known = sorted(set(choices))
    near = difflib.get_close_matches(word, known, n=limit, cutoff=0.6)
    if near:
        return f" Did you mean {' or '.join(repr(n) for n in near)}?"
    return f" Choose one of: {', '.join(known)}." if known else ""
