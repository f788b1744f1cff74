"""What every run leaves and obeys, whatever it computes: `run.json`, the seconds of its phases, how it ended."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tinyrm.errors import Interrupted, NonFiniteLossError, OutOfMemoryError, TinyRMError

RUN = "run.json"
# How torch, cuBLAS and a spawned process (its traceback comes as text) say it, where they do not raise its type.
_NO_MEMORY = ("can't allocate memory", "CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "\nMemoryError")


@dataclass
class Clock:
    """Seconds by phase, in the order they ran."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - began, 3)


def read_record(folder: Path) -> dict[str, Any] | None:
    """The run.json of a run folder; None where there is none."""
    try:
        record: dict[str, Any] = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record


def end_of(error: BaseException) -> str:
    """The state of a run that this has ended, as `run.json` names it."""
    if isinstance(error, Interrupted | KeyboardInterrupt):
        return "interrupted"
    if hasattr(error, "end"):  # a sweep's: pruned, timed out, ...
        return str(error.end or "interrupted")
    if isinstance(error, NonFiniteLossError):
        return "nonfinite"
    if isinstance(error, OutOfMemoryError):
        return "out_of_memory"
    return "failed"


def no_memory(error: BaseException) -> str | None:
    """What says that the memory of a device was used up ('' where nothing more is said); None for any other error."""
    told = str(error)
    lacking = isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or any(sign in told for sign in _NO_MEMORY)
    if isinstance(error, TinyRMError) or not lacking:
        return None
    return next((line.strip() for line in told.splitlines() if any(sign in line for sign in _NO_MEMORY)), told)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many CPU threads inside the block; 0 leaves torch's choice."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
