"""One run of W&B that can be lost without loss: whatever W&B does, the experiment goes on, and in bounded time.

Online or offline, `wandb` writes all it is told into `RUN/wandb/` first; what did not reach the server is found there
by `tinyrm sync`. Waiting for the server has two places, the start and the end, each bounded by `tracking.patience_s`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger

from tinyrm.config import TrackingConfig
from tinyrm.errors import ConfigError
from tinyrm.masking import masked
from tinyrm.tracking import service
from tinyrm.tracking.identity import Identity
from tinyrm.tracking.transcript import send_missing

log = logging.getLogger(__name__)

AXIS = "trainer/global_step"  # Lightning's name
OWNER = "owner.json"  # in the folder of an attempt that runs: the process it belongs to
SYNCED = ".synced"  # after a .wandb file's name: all of it is on the server; the mark of `wandb sync` itself


class WandbRun:
    """A run that has begun. No method raises.

    Args:
        run: of `wandb`.
        identity: which run it is.
        online: whether it reaches the server while it runs.

    Attributes:
        logger: for Lightning.
    """

    def __init__(self, run: Any, identity: Identity, *, online: bool) -> None:
        self._run, self._identity, self._online = run, identity, online
        self.logger = CarefulLogger(experiment=run)
        self._folder = Path(run.dir).parent  # RUN/wandb/[offline-]run-TIME-ID
        self._try(lambda: _own(self._folder))
        self._try(lambda: _set_axis(run))

    @classmethod
    def start(
        cls, config: TrackingConfig, folder: Path, identity: Identity, shown: Mapping[str, Any], mode: str
    ) -> WandbRun | None:
        """Begin, or go on with, a run; offline where the server does not answer in time; None where W&B is broken.

        Args:
            config: of the tracking.
            folder: the run folder.
            identity: which run it is.
            shown: its config in W&B.
            mode: online | offline.

        Raises:
            ConfigError: `wandb` is not installed.
        """
        begin = _beginning(config, folder, identity, shown)
        if mode == "online" and service.answers(config.patience_s):
            try:
                run = cls(begin("online"), identity, online=True)
                run.catch_up(folder)
                return run
            except Exception as error:
                service.went_away(_first_line(error))
                _forget()
        try:
            return cls(begin("offline"), identity, online=False)
        except Exception as error:
            log.warning("W&B cannot be used, this run goes on without it: %s", _first_line(error))
            return None

    def catch_up(self, folder: Path) -> None:
        """Send what earlier attempts wrote and the server never got: of one that was killed, or was offline.

        Args:
            folder: the run folder.
        """
        self._try(lambda: send_missing(self._run, AXIS, _attempts(folder, self._folder)))

    def summarise(self, numbers: Mapping[str, Any]) -> None:
        """Put flat numbers and texts beside the run's name."""
        self._try(lambda: self._run.summary.update(dict(numbers)))

    def keep_model(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Keep a saved model as an artifact: a version of its sweep's collection.

        Args:
            folder: of the model; its files are not copied.
            about: what its metadata hold beside sweep and trial.
        """
        import wandb

        identity = self._identity

        def keep() -> None:
            beside = {"sweep": identity.sweep, "trial": identity.trial, "run": identity.id}
            artifact = wandb.Artifact(identity.collection, type="model", metadata={**about, **beside})
            artifact.add_dir(str(folder), policy="immutable", skip_cache=True)
            self._run.log_artifact(artifact, aliases=["latest", identity.name.replace("/", "-").replace(":", "-")])

        self._try(keep)

    def finish(self, exit_code: int) -> None:
        """End the run: 0 finished, 255 killed, else failed. Waits for the server as long as `tracking.patience_s`."""
        try:
            self._run.finish(exit_code=exit_code)
        except Exception as error:
            if self._online:
                service.went_away(_first_line(error))
                _forget()
        else:
            if self._online:
                self._try(lambda: mark_synced(self._folder))
        self._try(lambda: (self._folder / OWNER).unlink(missing_ok=True))

    def _try(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:
            service.say(f"W&B: {_first_line(error)}")


class CarefulLogger(WandbLogger):
    """Lightning's own; what `wandb` raises ends the logging, not the training."""

    _broken = False

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self._broken:
            return
        try:
            super().log_metrics(metrics, step)
        except Exception as error:
            self._broken = True
            service.say(f"W&B takes no more curves of this run: {_first_line(error)}")


def _beginning(
    config: TrackingConfig, folder: Path, identity: Identity, shown: Mapping[str, Any]
) -> Callable[[str], Any]:
    """Of a run in the mode that it is then given."""
    # No crash reports to W&B: without a key nothing is to touch the network, and with one only what is tracked.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise ConfigError("tracking=wandb needs its package: pip install wandb (or choose tracking=csv)") from error
    patience = config.patience_s
    settings = wandb.Settings(
        silent=True,  # we say what there is to say
        console="off",  # run.log holds it
        disable_git=True,  # run.json and the config hold the revision
        disable_code=True,
        x_save_requirements=False,  # takes seconds; the config holds the versions that matter
        x_disable_meta=True,  # holds the command line, and with it what was typed as a password
        x_transaction_log_flush_interval=2.0,  # seconds that a killed worker may lose
        init_timeout=patience,
        finish_timeout=patience,
        finish_timeout_raises=True,
    )

    def begin(mode: str) -> Any:
        wandb.setup(settings=wandb.Settings(silent=True))  # what logs in before there is a run
        return wandb.init(
            mode=mode,  # type: ignore[arg-type]
            project=config.project,
            entity=config.entity,
            id=identity.id,
            resume="allow",  # offline it is for `wandb sync`
            name=identity.name,
            group=identity.group,
            job_type=identity.job_type,
            tags=masked(config.tags),
            config=dict(shown),
            allow_val_change=True,
            dir=folder,
            reinit="create_new",  # a run of the user's own in this process is not ours to end
            settings=settings,
        )

    return begin


def _forget() -> None:
    """Let go of a run that the server does not take: `wandb` would try on, and hold this process up when it ends.

    What it was told is on disk by now, for `tinyrm sync`. Its own way to end waits for the upload, so its service is
    killed first.
    """
    import wandb
    from wandb.sdk import wandb_setup

    with contextlib.suppress(Exception):
        wandb_setup.singleton()._connection._proc._process.kill()  # type: ignore[union-attr]
    with contextlib.suppress(Exception, SystemExit):  # it exits with the code of its service
        wandb.teardown()


def _set_axis(run: Any) -> None:
    run.define_metric(AXIS)
    run.define_metric("*", step_metric=AXIS, step_sync=True)


def _attempts(folder: Path, own: Path) -> list[Path]:
    """The files of a run's earlier attempts, oldest first."""
    found = [f for f in folder.glob("wandb/*run-*/*.wandb") if not f.parent.is_symlink() and f.parent != own]
    return sorted(found, key=lambda file: began(file.parent))


def began(attempt: Path) -> str:
    """When an attempt did, as its folder [offline-]run-TIME-ID says."""
    return attempt.name.removeprefix("offline-")


def _own(folder: Path) -> None:
    (folder / OWNER).write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}), encoding="utf-8")


def mark_synced(folder: Path) -> None:
    """Note that all of an attempt is on the server."""
    for written in folder.glob("*.wandb"):
        written.with_name(written.name + SYNCED).touch()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return str(masked(lines[0] if lines else type(error).__name__))
