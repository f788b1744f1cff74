"""What a sweep and its trials keep in their folders, for whoever comes next.

Folders are found by name and number, which another sweep of another storage may have too: what counts is the sweep's
identity, which only its header and its folders hold.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from .errors import End, StorageUnavailableError
from .outcome import OUTCOME, Outcome

RESULT = "result.json"
_MARK = ".sweep"


def mark(folder: Path, identity: str | None) -> None:
    """Say in a sweep's folder whose it is, so that it is known again where it is moved to."""
    if identity is not None:
        (folder / _MARK).write_text(identity + "\n", encoding="utf-8")


def owner_of(folder: Path) -> str | None:
    """The sweep whose folder this is; None where none has said so."""
    with contextlib.suppress(OSError, ValueError):
        return (folder / _MARK).read_text(encoding="utf-8").strip()
    return None


def idle_word(folder: Path, worker: str) -> Path:
    """A file that says that a worker ended between two trials: what it holds in the storage, it never began."""
    return folder / f".idle.{worker.replace('/', '_')}"


@dataclass(frozen=True)
class TrialFolder:
    """One trial's.

    Attributes:
        path: of the folder.
        sweep: the identity of its sweep.
        number: the trial's.
    """

    path: Path
    sweep: str | None
    number: int

    def keep(self, outcome: Outcome) -> None:
        """Write the result beside what the task left, whole or not at all, before the storage is told.

        Raises:
            StorageUnavailableError: the disk is full.
        """
        whole = {"sweep": self.sweep, "trial": self.number, OUTCOME: outcome.as_json()}
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            temporary = self.path / f".{RESULT}.{os.getpid()}.tmp"
            temporary.write_text(json.dumps(whole, indent=2), encoding="utf-8")
            temporary.replace(self.path / RESULT)
        except OSError as error:
            raise StorageUnavailableError(
                f"cannot write {self.path / RESULT}: {error.strerror}. Make room, then resume."
            ) from error

    def kept(self) -> Outcome | None:
        """How this very trial ended in an earlier attempt, whether or not the storage could be told."""
        try:
            whole = json.loads((self.path / RESULT).read_text(encoding="utf-8"))
            own = (whole.get("sweep"), whole.get("trial", self.number)) == (self.sweep, self.number)
            return Outcome.from_json(whole[OUTCOME]) if own else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def complete(self, digest: str) -> Outcome | None:
        """The same, where it is the result of the config with this fingerprint."""
        outcome = self.kept()
        return outcome if outcome and outcome.fingerprint == digest and outcome.end == End.COMPLETE else None

    def released(self, attempt: int) -> Path:
        """A file that says that a worker gave the trial back, and that only the storage does not know."""
        return self.path / f"released.{attempt}"

    def hang(self, attempt: int) -> Path:
        """Where a timer writes, at which line a trial hung, before it ends the process."""
        return self.path / f"hang.{attempt}.txt"
