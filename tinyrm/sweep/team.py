"""A trial on several machines: of the processes of a worker the first claims trials, the others take part in them.

Slurm starts and ends them together, as the tasks of one job. The others hear of a trial by files in a folder of the
sweep, which all nodes see; what they compute together, and how they talk while they do, is their task's own business.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from hydra.types import TaskFunction

from .composing import Composer
from .context import following
from .errors import SweepInterrupted
from .job import run_as_job

log = logging.getLogger(__name__)

_POLL_S = 0.2
_GRACE_S = 3.0  # for a process that still computes when all is over
_DISMISSED = "dismissed"
RANKS = "ranks"  # in a trial's folder: what the others log


@dataclass(frozen=True)
class Order:
    """A trial to take part in.

    Attributes:
        number: of the trial.
        overrides: that make its config.
    """

    number: int
    overrides: tuple[str, ...]


class Team:
    """The processes of one worker, as one of them sees it.

    Args:
        folder: for their words, new whenever the job starts.
        rank: which process this is; 0 leads.

    Attributes:
        led: whether the leader has called the others to a trial yet.
    """

    def __init__(self, folder: Path, rank: int) -> None:
        self.folder, self.rank, self.led = folder, rank, False
        self._orders = 0
        folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def here(cls, sweep: Path) -> Team:
        """The tasks of this job of Slurm's, which works on the sweep with this folder."""
        env = os.environ
        start = f"{env['SLURM_JOB_ID']}-{env.get('SLURM_RESTART_COUNT', '0')}"
        return cls(sweep / "workers" / "teams" / start, int(env["SLURM_PROCID"]))

    # --- the leader

    def lead(self, number: int, overrides: Sequence[str]) -> None:
        """Call the others to a trial."""
        self._write(f"{self._orders}.json", json.dumps({"number": number, "overrides": list(overrides)}))
        self._orders, self.led = self._orders + 1, True

    def failure(self, wait_s: float = 0) -> str | None:
        """What another process raised; None where none has said so within that time."""
        until = time.monotonic() + wait_s
        while True:
            for word in sorted(self.folder.glob("failed.*")):
                return f"process {word.suffix[1:]}: {word.read_text(encoding='utf-8').strip()}"
            if time.monotonic() >= until:
                return None
            time.sleep(_POLL_S)

    def dismiss(self) -> None:
        """Let the others end."""
        with contextlib.suppress(OSError):
            self._write(_DISMISSED, "")

    # --- the others

    @property
    def dismissed(self) -> bool:
        """Whether the leader is done."""
        return (self.folder / _DISMISSED).exists()

    def orders(self) -> Iterator[Order]:
        """Trials to take part in, until the leader is done."""
        while True:
            path = self.folder / f"{self._orders}.json"
            if path.exists():
                found = json.loads(path.read_text(encoding="utf-8"))
                self._orders += 1
                yield Order(int(found["number"]), tuple(found["overrides"]))
            elif self.dismissed:
                return
            else:
                time.sleep(_POLL_S)

    def fail(self, error: BaseException) -> None:
        """Tell the leader what this process raised."""
        told = "".join(traceback.format_exception(error))
        self._write(f"failed.{self.rank}", f"{type(error).__name__}: {error}\n{told}")

    def _write(self, name: str, text: str) -> None:
        temporary = self.folder / f".{name}.{self.rank}"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.folder / name)


def follow(team: Team, task: TaskFunction, composer: Composer, sweep: Path) -> NoReturn:
    """Take part in what the leader runs, until it is done; one that has failed or been stopped waits for that too.

    The process then ends with 0, at once: how its job ends is the leader's to say, and Slurm ends all as soon as one
    of them fails.

    Args:
        sweep: the folder of the trials.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):  # the leader gets them too
        signal.signal(number, lambda number, frame: None)
    threading.Thread(target=_end_soon_after, args=(team,), name="dismissal", daemon=True).start()
    for order in team.orders():
        trial = sweep / str(order.number)
        config, bare = composer.compose(order.overrides), composer.compose_bare(order.overrides)
        try:
            with following(trial):
                folder = trial / RANKS / str(team.rank)
                run_as_job(task, config, bare, folder, order.number, composer.context)
        except (KeyboardInterrupt, SweepInterrupted) as error:
            log.info("%s", error or "stopped.")  # with all the others
            break
        except Exception as error:
            log.exception("Trial %s failed in process %s.", order.number, team.rank)
            team.fail(error)
            break
    while not team.dismissed:
        time.sleep(_POLL_S)
    _end()


def _end_soon_after(team: Team) -> NoReturn:
    """End this process where it computes still, though the leader is done: it waits for one that is gone."""
    while not team.dismissed:
        time.sleep(_POLL_S)
    time.sleep(_GRACE_S)
    _end()


def _end() -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)  # an interpreter that shuts down has no handlers, and a signal would still end it
