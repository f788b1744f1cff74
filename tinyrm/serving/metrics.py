"""What /metrics tells, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_PAIRS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one service."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("tinyrm_requests", "requests", ["path", "status"], registry=self.registry)
        self.seconds = Histogram(
            "tinyrm_request_seconds", "time to the answer", ["path"], buckets=_SECONDS, registry=self.registry
        )
        self.batch = Histogram("tinyrm_batch_pairs", "pairs scored together", buckets=_PAIRS, registry=self.registry)
        self.truncated = Counter("tinyrm_truncated", "answers about a text that was cut", registry=self.registry)
        queue = Gauge("tinyrm_queue_pairs", "pairs that wait", registry=self.registry)
        queue.set_function(waiting)

    def text(self) -> bytes:
        """The page."""
        return generate_latest(self.registry)
