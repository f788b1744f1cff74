"""Signals that raise, kept out of the middle of what must not be cut in two.

A signal's handler runs between any two steps of the main thread: an exception from there could leave a lock held, or
lose the answer of a claim that the storage has already recorded.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

_depth = 0
_pending: BaseException | None = None


def raise_soon(error: BaseException) -> None:
    """For a signal's handler: raise `error` now, or where the main thread leaves :func:`held`."""
    global _pending  # noqa: PLW0603
    if not _depth:
        raise error
    _pending = _pending or error


@contextlib.contextmanager
def signals_order(order: Callable[[], object]) -> Iterator[list[int]]:
    """Let the first SIGINT or SIGTERM in the block call `order`, in a thread of its own, and the next one raise.

    For whoever waits for processes that are to end by themselves: what raises in the middle of a foreign launcher makes
    it kill them. Whatever sets handlers of its own inside the block gets the signals itself.

    Yields:
        the signals that came.
    """
    received: list[int] = []

    def handle(number: int, frame: object) -> None:
        received.append(number)
        if len(received) > 1:
            raise KeyboardInterrupt(signal.Signals(number).name)
        threading.Thread(target=order, name="stop-order", daemon=True).start()

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Hold back what signals raise until the (outermost) block has been left."""
    global _depth  # noqa: PLW0603
    if threading.current_thread() is not threading.main_thread():  # which handlers never interrupt
        yield
        return
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
    if not _depth:
        check()


def check() -> None:
    """Raise now what was held back: for the pauses inside a long block."""
    global _pending
    if _pending is not None and threading.current_thread() is threading.main_thread():
        error, _pending = _pending, None
        raise error
