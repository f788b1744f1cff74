"""Whether this code runs in a trial, and in which: asked often, so it imports nothing."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .progress import Progress

_current: contextvars.ContextVar[Progress | None] = contextvars.ContextVar("sweep_progress", default=None)


def current_progress() -> Progress | None:
    """The line of the trial this code runs in to its sweep; None outside of a sweep."""
    return _current.get()


def in_trial() -> bool:
    """Whether this code runs in a trial of a sweep."""
    return _current.get() is not None


@contextlib.contextmanager
def running(progress: Progress) -> Iterator[None]:
    """Make `progress` the current one for the block."""
    token = _current.set(progress)
    try:
        yield
    finally:
        _current.reset(token)
