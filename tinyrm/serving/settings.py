"""Limits of the service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What the service takes and how long it works on it.

    Attributes:
        max_queue: pairs that may wait; a request that would exceed it gets 429.
        max_batch: pairs scored together at most, unless one request alone brings more.
        max_wait_ms: how long the first request of a batch waits for others, where none are there.
        max_body_bytes: of a request; 413 above.
        max_text_chars: of one text; 422 above.
        max_pairs: of one /v1/compare; 422 above.
        max_responses: of one /v1/rank or /v1/reward; 422 above.
        timeout_s: from the first byte to the answer; 503 above.
        shutdown_s: how long requests under way may take once the service is told to stop.
    """

    max_queue: int = 1024
    max_batch: int = 64
    max_wait_ms: float = 2.0
    max_body_bytes: int = 4 * 2**20
    max_text_chars: int = 100_000
    max_pairs: int = 256
    max_responses: int = 64
    timeout_s: float = 30.0
    shutdown_s: float = 30.0
