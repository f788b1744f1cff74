"""What stands before the service: limits of size and time, the API key, counting, headers."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import time
from typing import Any

from tinyrm.serving.metrics import Metrics
from tinyrm.serving.settings import Settings

_OPEN = frozenset({"/", "/docs", "/page.js", "/page.css", "/docs.js", "/openapi.json", "/healthz"})  # need no key
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
]


class _TooLargeError(Exception):
    """The body is larger than it may be; whatever the application makes of that is not sent."""


class Guard:
    """An ASGI application around another."""

    def __init__(self, app: Any, settings: Settings, metrics: Metrics, key: str | None, paths: frozenset[str]) -> None:
        self.app, self.settings, self.metrics, self.paths = app, settings, metrics, paths
        self.key = key.encode() if key else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        # Only known paths: whoever asks for many others must not fill the memory with counters.
        path = scope["path"] if scope["path"] in self.paths else "other"

        async def sending(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        try:
            await self._guarded(scope, receive, sending, lambda: status)
        finally:
            self.metrics.requests.labels(path, str(status)).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - started)

    async def _guarded(self, scope: Any, receive: Any, send: Any, status: Any) -> None:
        headers = dict(scope["headers"])
        if not self._allowed(scope["path"], headers):
            return await _refuse(
                send, 401, "give the API key: Authorization: Bearer KEY", (b"www-authenticate", b"Bearer")
            )
        limit, got = self.settings.max_body_bytes, 0
        told = headers.get(b"content-length", b"0")
        if told.isdigit() and int(told) > limit:
            return await _refuse(send, 413, f"the request has {int(told)} bytes, of at most {limit}.")

        async def receiving() -> Any:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > limit:
                raise _TooLargeError
            return message

        async def sending(message: Any) -> None:
            if got <= limit:
                await send(message)

        try:
            async with asyncio.timeout(self.settings.timeout_s):
                with contextlib.suppress(_TooLargeError):
                    await self.app(scope, receiving, sending)
            if got > limit and not status():
                return await _refuse(send, 413, f"the request has more than {limit} bytes.")
        except TimeoutError:
            if not status():
                return await _refuse(send, 503, f"no answer in {self.settings.timeout_s:g} s.", (b"retry-after", b"1"))
        return None

    def _allowed(self, path: str, headers: dict[bytes, bytes]) -> bool:
        if self.key is None or path in _OPEN:
            return True
        given = headers.get(b"authorization", b"")
        return hmac.compare_digest(given, b"Bearer " + self.key)


async def _refuse(send: Any, status: int, detail: str, *headers: tuple[bytes, bytes]) -> None:
    body = json.dumps({"detail": detail}).encode()
    kind = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*kind, *headers]})
    await send({"type": "http.response.body", "body": body})
