"""Interpreters of the `local` launcher: each starts with its devices, some before there is work for them.

What a worker imports takes longer than most checks; so it is imported while the sweep is being checked. Whoever is
handed nothing ends by itself, also where the launcher was killed: its standard input closes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

from .devices import Slot

Process = subprocess.Popen[bytes]


def spawn(slot: Slot, output: IO[bytes] | int, modules: Sequence[str] = ()) -> Process:
    """A fresh interpreter with the environment of `slot`, which imports `modules` and waits for a job."""
    return subprocess.Popen(
        [sys.executable, "-m", __package__ + ".local_job", *modules],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **slot.environment(), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        start_new_session=True,  # Ctrl-C reaches the launcher alone, which asks each job to stop
    )


def hand(process: Process, job: bytes) -> None:
    """Give a waiting interpreter its job, without waiting until it has read it."""

    def write() -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError), process.stdin as pipe:  # it may have died
            pipe.write(job)

    threading.Thread(target=write, daemon=True).start()


class EarlyProcesses:
    """Interpreters that were started before there was work for them.

    Args:
        slots: one is started for each.
        modules: that they import.
    """

    def __init__(self, slots: Sequence[Slot], modules: Sequence[str]) -> None:
        self._waiting = [(slot, spawn(slot, subprocess.DEVNULL, modules)) for slot in slots]

    def take(self, slot: Slot) -> Process | None:
        """One that has this slot's environment and lives; None where there is none."""
        for entry in self._waiting:
            if entry[0] == slot and entry[1].poll() is None:
                self._waiting.remove(entry)
                return entry[1]
        return None

    def close(self) -> None:
        """End those that were not taken."""
        for _, process in self._waiting:
            process.kill()
            process.communicate()
        self._waiting.clear()
