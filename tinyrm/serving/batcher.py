"""Dynamic batching: pairs of requests that come close together are scored together."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tinyrm.errors import TinyRMError
from tinyrm.serving.model import Comparison
from tinyrm.serving.settings import Settings
from tinyrm.types import PreferencePair

Compare = Callable[[list[PreferencePair]], list[Comparison]]


class QueueFullError(TinyRMError):
    """More pairs are waiting than may: the request should come again later."""


class StoppingError(TinyRMError):
    """The service is being stopped and takes nothing more."""


@dataclass
class _Job:
    pairs: list[PreferencePair]
    answer: asyncio.Future[list[Comparison]]


class Batcher:
    """A bounded queue before a model that one thread runs.

    A request's pairs are answered together and in their order. One that is no longer waited for is dropped before it
    is scored. Belongs to one event loop.

    Args:
        compare: scores pairs; runs in a thread of its own.
        settings: size of queue and batch, and how long to wait for company.
        scored: told the number of pairs of every batch.
    """

    def __init__(
        self, compare: Compare, settings: Settings, scored: Callable[[int], None] = lambda pairs: None
    ) -> None:
        self._compare, self._settings, self._scored = compare, settings, scored
        self._jobs: deque[_Job] = deque()
        self._waiting = 0
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._worker: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def waiting(self) -> int:
        """Pairs in the queue."""
        return self._waiting

    def start(self) -> None:
        """Begin to answer; from within the event loop."""
        self._worker = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Answer what is waiting, take nothing more, end."""
        self._stopping = True
        self._arrived.set()
        if self._worker is not None:
            await self._worker
        self._thread.shutdown()

    async def submit(self, pairs: Sequence[PreferencePair]) -> list[Comparison]:
        """The verdicts on these pairs.

        Raises:
            QueueFullError: they would not fit in the queue.
            StoppingError: after :meth:`stop`.
        """
        if self._stopping:
            raise StoppingError("the service is stopping.")
        if not pairs:
            return []
        if self._waiting + len(pairs) > self._settings.max_queue and (self._waiting or len(pairs) > self._largest):
            raise QueueFullError(f"{self._waiting} pairs are waiting already, of at most {self._settings.max_queue}.")
        job = _Job(list(pairs), asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._waiting += len(job.pairs)
        self._arrived.set()
        return await job.answer

    @property
    def _largest(self) -> int:
        """One request alone may always be taken, however small the queue was made."""
        return max(self._settings.max_pairs, self._settings.max_responses**2)

    async def _run(self) -> None:
        while True:
            if not self._jobs:
                if self._stopping:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                continue
            if self._waiting < self._settings.max_batch and not self._stopping:
                await asyncio.sleep(self._settings.max_wait_ms / 1000)
            batch = self._take()
            if batch:
                await self._answer(batch)

    def _take(self) -> list[_Job]:
        batch: list[_Job] = []
        size = 0
        while self._jobs and (not batch or size + len(self._jobs[0].pairs) <= self._settings.max_batch):
            job = self._jobs.popleft()
            self._waiting -= len(job.pairs)
            if not job.answer.done():  # else its request was cancelled
                batch.append(job)
                size += len(job.pairs)
        return batch

    async def _answer(self, batch: list[_Job]) -> None:
        pairs = [pair for job in batch for pair in job.pairs]
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._thread, self._compare, pairs)
        except Exception as error:
            for job in batch:
                with contextlib.suppress(asyncio.InvalidStateError):
                    job.answer.set_exception(error)
            return
        self._scored(len(pairs))
        start = 0
        for job in batch:
            end = start + len(job.pairs)
            if not job.answer.done():
                job.answer.set_result(found[start:end])
            start = end
