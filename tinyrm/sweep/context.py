"""Whether this code runs in a trial, and in which: asked often, so it imports nothing."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .progress import Progress

_current: contextvars.ContextVar[Progress | None] = contextvars.ContextVar("sweep_progress", default=None)
_followed: contextvars.ContextVar[Path | None] = contextvars.ContextVar("sweep_followed", default=None)


def current_progress() -> Progress | None:
    """The line of the trial this code runs in to its sweep; None outside of a sweep."""
    return _current.get()


def in_trial() -> bool:
    """Whether this code runs in a trial of a sweep."""
    return _current.get() is not None


def followed_trial() -> Path | None:
    """The folder of the trial in which this process takes part beside the one that claimed it; None anywhere else.

    There a task does its share of the work, and leaves results to the other: what it returns is not looked at.
    """
    return _followed.get()


@contextlib.contextmanager
def following(folder: Path) -> Iterator[None]:
    """Let :func:`followed_trial` give `folder` in the block."""
    token = _followed.set(folder)
    try:
        yield
    finally:
        _followed.reset(token)


@contextlib.contextmanager
def running(progress: Progress) -> Iterator[None]:
    """Make `progress` the current one for the block."""
    token = _current.set(progress)
    try:
        yield
    finally:
        _current.reset(token)
