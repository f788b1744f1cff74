"""One attempt of one claimed trial, from its overrides to how it ended."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from hydra.errors import HydraException
from hydra.types import TaskFunction
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from .app import App, fingerprint
from .claims import Claim
from .composing import Composer
from .config import SweepConfig
from .context import running
from .errors import End, StorageUnavailableError, SweepInterrupted, TrialEnded, TrialPruned
from .folders import TrialFolder
from .job import run_as_job
from .leases import Host
from .memory import Memory
from .outcome import Outcome, Result
from .progress import Progress
from .samplers import SHARED_SEQUENCE, make_pruner, make_sampler
from .seat import Seat
from .shared import is_full
from .study import Study
from .team import Team
from .watch import Watch

log = logging.getLogger(__name__)

_WORD_S = 5.0  # how long another process of a trial may take to say what it raised


@dataclass
class Runner:
    """What a worker runs trials with. Several threads may use it, in turn.

    Attributes:
        task: what Hydra's main function calls.
        study, composer, settings, app: of the sweep.
        host, memory: of the worker.
        stops: how often the sweep had been told to stop when the worker began.
        team: where trials take several processes, of which this one leads.
    """

    task: TaskFunction
    study: Study
    composer: Composer
    settings: SweepConfig
    app: App
    host: Host
    memory: Memory
    stops: int
    team: Team | None = None
    header: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.header = self.study.header()

    def folder(self, number: int) -> TrialFolder:
        """A trial's folder."""
        return TrialFolder(Path(self.header["folder"]) / str(number), self.header.get("id"), number)

    def values(self, outcome: Outcome) -> list[float] | None:
        """Of the sweep's metrics, for a complete trial."""
        complete = outcome.end == End.COMPLETE
        return [float(outcome.values[m] or 0.0) for m in self.header["metrics"]] if complete else None

    def chosen(self, claim: Claim) -> Claim:
        """The claim with its overrides; where they are not known yet, the sampler chooses now."""
        if claim.overrides is not None:
            return claim
        space = claim.slot.space
        shared = self.header["sampler"] in SHARED_SEQUENCE
        with self.study.storage.lock(self.study.name) if shared else contextlib.nullcontext():
            trial = optuna.trial.Trial(self._search(claim), claim.trial_id)
            texts = [dimension.suggest(trial) for dimension in space.dimensions]
        overrides = space.overrides(texts)
        self.study.describe(claim, overrides)
        return replace(claim, overrides=overrides)

    def outcome(self, claim: Claim, seat: Seat) -> Outcome:
        """Run a trial.

        Raises:
            TrialEnded: without an end of its own: it is another worker's now, or goes back.
            SweepInterrupted: its worker was told to stop.
            StorageUnavailableError: the storage, or the disk under the trials, is gone or full.
        """
        began, folder = seat.seconds(), self.folder(claim.number)
        digest = None
        try:
            overrides = self.chosen(claim).overrides or ()
            whole = [*claim.slot.fixed, *overrides]
            config, bare = self.composer.compose(whole), self.composer.compose_bare(whole)
            digest = fingerprint(self.app.meaning(bare))
            known = folder.complete(digest) or self._equal(claim, digest)
            if known is not None:
                return known
            folder.path.mkdir(parents=True, exist_ok=True)
            if self.team is not None:
                self.team.lead(claim.number, whole)
            metrics = list(self.header["metrics"])
            outcome = Outcome.of_result(Result.of(self._called(claim, config, bare, seat), metrics), metrics)
        except (KeyboardInterrupt, SweepInterrupted, StorageUnavailableError):
            raise
        except TrialEnded as ended:
            if ended.end is None:
                raise
            outcome = Outcome.of_error(ended, ended.end)
        except Exception as error:
            outcome = self._classified(error, claim)
        outcome.message, outcome.traceback = (
            text and self.app.hidden(text) for text in (outcome.message, outcome.traceback)
        )
        outcome.fingerprint, outcome.devices = digest, claim.worker.devices
        outcome.seconds = round(seat.seconds() - began, 3)
        return outcome

    def _called(self, claim: Claim, config: DictConfig, bare: DictConfig, seat: Seat) -> Any:
        """What the task returns.

        Raises:
            SweepInterrupted: a signal came; whatever the task made of it, its result would be half of one.
        """
        folder = self.folder(claim.number)
        progress = Progress(
            self.study,
            claim,
            lambda: self._search(claim),
            folder.path,
            pruning=self.settings.pruner != "none",
            metric=next(iter(self.header["metrics"])),
            seat=seat,
        )
        watch = Watch(
            *(self.study, claim, progress, self.settings, self.stops),
            hang=folder.hang(claim.attempt),
            memory=self.memory,
            host=self.host,
            seat=seat,
            team=self.team,
        )
        try:
            with running(progress), watch:
                returned = run_as_job(self.task, config, bare, folder.path, claim.number, self.composer.context)
        except (TrialEnded, StorageUnavailableError):
            raise
        except BaseException as error:
            if seat.stopped:
                raise self._stopped(watch) from error
            if isinstance(error, SystemExit):
                raise RuntimeError(f"the task ended its process: exit code {error.code}") from error
            self._blame(error)
            raise
        finally:
            watch.close()
        if seat.stopped:
            raise self._stopped(watch)
        return returned

    def _blame(self, error: BaseException) -> None:
        """Raise what another process of the trial raised, where that is why this one did."""
        if self.team is not None and isinstance(error, Exception):
            told = self.team.failure(_WORD_S)  # or Slurm ends us meanwhile, for that process is gone
            if told is not None:
                raise TrialEnded(End.FAILED, told) from error

    def _stopped(self, watch: Watch) -> SweepInterrupted:
        return SweepInterrupted("stopped by a signal.", whole=watch.told_to_stop or self.host.here)

    def _search(self, claim: Claim) -> optuna.Study:
        """The study as Optuna sees it, with the sampler and the pruner of a trial."""
        settings = self.settings
        sampler = make_sampler(self.header["sampler"], settings.sampler_options, settings.seed, claim.number)
        return self.study.optuna_study(sampler, make_pruner(settings.pruner, settings.pruner_options))

    def _equal(self, claim: Claim, digest: str) -> Outcome | None:
        """The result of an equal config, where a sampler came back to it."""
        if claim.slot.texts is not None:
            return None  # a grid leaves equal points out beforehand
        found = self.study.same_as(digest)
        if found is None:
            return None
        number, outcome, _ = found
        outcome.same_as = number if outcome.same_as is None else outcome.same_as
        return outcome

    def _classified(self, error: Exception, claim: Claim) -> Outcome:
        """How a trial that raised is recorded.

        Raises:
            StorageUnavailableError: the disk is full; no other trial could do better.
        """
        if is_full(error) or getattr(error, "stops_sweep", False):
            raise StorageUnavailableError(f"trial {claim.number}: {error} Make room, then resume; it waits.") from error
        if isinstance(error, HydraException | OmegaConfBaseException):
            error = self.app.explain(error)
        end = End.FAILED
        if isinstance(error, TrialPruned | optuna.TrialPruned):
            end = End.PRUNED
        elif isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            end = End.OUT_OF_MEMORY
        elif isinstance(error, FloatingPointError):
            end = End.NONFINITE
        outcome = Outcome.of_error(error, end)
        if end != End.PRUNED:
            log.error("Trial %s %s: %s", claim.number, end.value.replace("_", " "), outcome.message)
        return outcome
