"""The service under load, in a process of its own: wrong and lost answers, latency, memory."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tinyrm.data.synthetic import generate
from tinyrm.serving.model import RewardModel

_NEAR = 1e-3  # float32 in another batch


class Expected:
    """Requests with the log-odds that the library gives."""

    def __init__(self, model: RewardModel, pairs: int) -> None:
        self.pairs = generate("test", pairs, seed=2, max_difficulty=2)
        self.log_odds = [one.log_odds for one in model.compare_pairs(self.pairs)]

    def body(self, n: int) -> dict[str, Any]:
        pair = self.pairs[n % len(self.pairs)]
        return {"pairs": [{"prompt": pair.prompt_text, "a": pair.chosen, "b": pair.rejected}]}

    def right(self, n: int, answer: httpx.Response) -> bool:
        found = answer.json()["results"][0]["log_odds"]
        return bool(abs(found - self.log_odds[n % len(self.pairs)]) < _NEAR)


@contextlib.contextmanager
def service(run: Path) -> Iterator[tuple[str, int]]:
    """Address and process id of `tinyrm serve`."""
    command = [sys.executable, "-m", "tinyrm.cli", "serve", str(run), "--port", "0", "--max-queue", "256"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = ""
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", said)):
            line = process.stderr.readline()
            if not line:
                raise SystemExit(said)
            said += line
        yield found[0], process.pid
        process.send_signal(signal.SIGTERM)
        if process.wait(60):
            raise SystemExit("the service did not end in order")
    finally:
        process.kill()


def measure(run: Path, expected: Expected, seconds: float) -> dict[str, Any]:
    """Concurrency 1, 8 and 64, each `seconds` long; then ten times the requests that the last came to."""
    found: dict[str, Any] = {}
    with service(run) as (address, pid):
        asyncio.run(_closed(address, expected, 1, 3))  # warm
        for concurrency in (1, 8, 64):
            found[f"concurrency {concurrency}"] = asyncio.run(_closed(address, expected, concurrency, seconds))
        rate = 10 * found["concurrency 64"]["per_second"]
        found["overload"] = {"asked_per_second": rate, **asyncio.run(_open(address, expected, rate, seconds))}
        found["memory_mib"] = memory_mib(pid)
    return found


def soak(run: Path, expected: Expected, minutes: float) -> dict[str, Any]:
    """Concurrency 8 for as long as that; memory every half minute."""
    memory = []
    with service(run) as (address, pid):

        async def play() -> dict[str, Any]:
            load = asyncio.create_task(_closed(address, expected, 8, 60 * minutes))
            while not load.done():
                await asyncio.wait([load], timeout=30)
                memory.append(memory_mib(pid))
            return await load

        return {**asyncio.run(play()), "memory_mib": memory}


def memory_mib(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


async def _closed(address: str, expected: Expected, concurrency: int, seconds: float) -> dict[str, Any]:
    """Each of so many clients asks again as soon as it has its answer."""
    tally = _Tally(expected)
    end = time.perf_counter() + seconds
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=concurrency)) as client:

        async def ask(own: int) -> None:
            n = own
            while time.perf_counter() < end:
                await tally.one(client, address, n)
                n += concurrency

        await asyncio.gather(*(ask(own) for own in range(concurrency)))
    return tally.result()


async def _open(address: str, expected: Expected, rate: float, seconds: float) -> dict[str, Any]:
    """So many requests a second, whatever has been answered."""
    tally = _Tally(expected)
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=1000)) as client:
        tasks = []
        started = time.perf_counter()
        for n in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, started + n / rate - time.perf_counter()))
            tasks.append(asyncio.create_task(tally.one(client, address, n)))
        await asyncio.gather(*tasks)
    return tally.result()


class _Tally:
    def __init__(self, expected: Expected) -> None:
        self.expected, self.counts, self.taken = expected, Counter[str](), list[float]()
        self.started = time.perf_counter()

    async def one(self, client: httpx.AsyncClient, address: str, n: int) -> None:
        begun = time.perf_counter()
        try:
            answer = await client.post(f"{address}/v1/compare", json=self.expected.body(n))
        except httpx.HTTPError as error:
            self.counts[f"lost: {type(error).__name__}"] += 1
            return
        if answer.status_code != 200:
            self.counts[f"status {answer.status_code}"] += 1
            return
        self.counts["right" if self.expected.right(n, answer) else "wrong"] += 1
        self.taken.append(1000 * (time.perf_counter() - begun))

    def result(self) -> dict[str, Any]:
        """Counts, answers a second, latency of those that were answered."""
        seconds = time.perf_counter() - self.started
        p50, p99 = np.percentile(self.taken, [50, 99]).tolist() if self.taken else (float("nan"),) * 2
        return {"counts": dict(self.counts), "per_second": len(self.taken) / seconds, "p50_ms": p50, "p99_ms": p99}
