"""`tinyrm sync`: upload to W&B what was tracked while it could not be reached, each attempt of a run once."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyrm.errors import ConfigError, TinyRMError
from tinyrm.tracking import service
from tinyrm.tracking.transcript import read_transcript, send_missing
from tinyrm.tracking.wandb_run import AXIS, OWNER, SYNCED, began, mark_synced

log = logging.getLogger(__name__)

_AT_ONCE = 200  # files a call of `wandb sync`, of which it uploads five at a time
_HEADER = 7  # bytes of a file without a record; `wandb sync` refuses all files where one is so
_GIVE_UP = 3  # runs in a row that could not be uploaded
_SILENT_S = 120.0  # an attempt on another machine that has written nothing for so long has ended
# `wandb sync` tries for hours by default.
_PATIENCE = {
    "WANDB_X_GRAPHQL_RETRY_MAX": "3",
    "WANDB_X_GRAPHQL_RETRY_WAIT_MAX_SECONDS": "5",
    "WANDB_X_FILE_STREAM_RETRY_MAX": "3",
    "WANDB_X_FILE_STREAM_RETRY_WAIT_MAX_SECONDS": "5",
    "WANDB_X_FILE_TRANSFER_RETRY_MAX": "3",
    "WANDB_ERROR_REPORTING": "false",
}


@dataclass(frozen=True)
class Synced:
    """What came of it: attempts uploaded now, there before, and still running."""

    uploaded: int
    there: int
    running: int


def sync(folders: Sequence[Path]) -> Synced:
    """Upload every attempt below `folders` that is not on the server yet.

    Args:
        folders: run folders, sweep folders, or folders of such.

    Raises:
        ConfigError: a folder is not there, or there is no key.
        TinyRMError: not all could be uploaded; what is missing is tried again by the next call.
    """
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        raise ConfigError(f"there is no folder {', '.join(missing)}.")
    files = sorted({file.resolve() for folder in folders for file in _written(folder)})
    there = [file for file in files if _is_synced(file)]
    running = [file for file in files if file not in there and _is_running(file.parent)]
    waiting = [f for f in files if f not in there and f not in running and not _is_past(f, there)]
    if waiting:
        if not service.has_key():
            raise ConfigError(
                f"{len(waiting)} runs wait for W&B, but there is no key: `wandb login`, or WANDB_API_KEY."
            )
        for file in waiting:
            if not file.parent.name.startswith("offline-"):
                _complete(file)
        _upload_all([file for file in waiting if not _is_synced(file)])
    left = [file for file in waiting if not _is_synced(file)]
    if left:
        raise TinyRMError(
            f"{len(left)} of {len(waiting)} runs could not be uploaded to {service.address()}, the first of them "
            f"{left[0].parent}. Try again later: nothing is uploaded twice."
        )
    return Synced(len(waiting), len(there), len(running))


def _written(folder: Path) -> Iterator[Path]:
    """Each attempt's file, in a run folder's `wandb/`, below `folder` or in it."""
    for file in folder.glob("**/wandb/*run-*/*.wandb"):
        # Not latest-run, a link; and not one whose process was killed before it had written anything.
        if not file.parent.is_symlink() and file.stat().st_size > _HEADER:
            yield file


def _is_synced(file: Path) -> bool:
    return file.with_name(file.name + SYNCED).exists()


def _is_past(file: Path, there: Sequence[Path]) -> bool:
    """Whether a later attempt of the same run is on the server: that went on before it, and says how the run ended."""
    return any(t.stem == file.stem and began(t.parent) > began(file.parent) for t in there)


def _is_running(attempt: Path) -> bool:
    """Whether the process that writes it is alive, as far as that can be told."""
    try:
        owner = json.loads((attempt / OWNER).read_text(encoding="utf-8"))
        if owner["host"] == socket.gethostname():
            os.kill(int(owner["pid"]), 0)
            return True
        return any(time.time() - file.stat().st_mtime < _SILENT_S for file in attempt.glob("*.wandb"))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _complete(file: Path) -> None:
    """Send what the server lacks of an attempt that was online: `wandb sync` would send all its rows once more.

    An artifact that had not been sent is not: it stays in the run folder. Where this fails, `wandb sync` tries.
    """
    import wandb

    told = read_transcript(file)
    if told.run is None:
        return
    try:
        with tempfile.TemporaryDirectory() as scratch:
            settings = wandb.Settings(
                silent=True, console="off", disable_git=True, disable_code=True, x_disable_meta=True,
                x_save_requirements=False, init_timeout=30, finish_timeout=60, finish_timeout_raises=True,
            )  # fmt: skip
            run = wandb.init(
                mode="online", project=told.run.project or None, entity=told.run.entity or None, id=told.run.run_id,
                resume="must", dir=scratch, reinit="create_new", settings=settings,
            )  # fmt: skip
            send_missing(run, AXIS, [file])
            run.summary.update(told.summary)
            run.finish(exit_code=told.exit_code)
        mark_synced(file.parent)
    except Exception as error:  # as a server that does not know the run
        log.warning("W&B: %s", str(error).splitlines()[0] if str(error) else type(error).__name__)


def _upload_all(files: Sequence[Path]) -> None:
    """All at once, as that is fastest; where one is damaged that leaves the others, and each run is tried by itself."""
    for first in range(0, len(files), _AT_ONCE):
        _upload(files[first : first + _AT_ONCE])
    runs: dict[str, list[Path]] = {}
    for file in files:
        if not _is_synced(file):
            runs.setdefault(file.stem, []).append(file)
    in_a_row = 0
    for attempts in runs.values() if len(runs) > 1 else ():
        _upload(attempts)
        in_a_row = 0 if _is_synced(attempts[-1]) else in_a_row + 1
        if in_a_row == _GIVE_UP:
            return  # not the files, but the server


def _upload(files: Sequence[Path]) -> None:
    """By `wandb sync` itself, which takes the attempts of one run in their order and marks what it has uploaded."""
    command = [sys.executable, "-m", "wandb", "sync", "--include-online", *map(str, files)]
    with tempfile.TemporaryDirectory() as scratch:  # for its own logs
        environment = {**_PATIENCE, **os.environ, "WANDB_DIR": scratch}
        environment.pop("WANDB_MODE", None)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        log.warning("wandb sync: %s", (done.stderr or done.stdout).strip()[-2000:])
