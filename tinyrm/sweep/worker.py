"""A worker: claims trials and runs them, one after another, until the study is done or it is told to stop."""

from __future__ import annotations

import contextlib
import gc
import logging
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import optuna
from hydra.errors import HydraException
from hydra.types import TaskFunction
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from .app import App, fingerprint
from .claims import Claim, Left, Wait
from .composing import Composer
from .config import SweepConfig
from .context import running
from .errors import End, StorageUnavailableError, SweepInterrupted, TrialEnded, TrialPruned
from .folders import TrialFolder, idle_word
from .interrupts import held, raise_soon
from .job import run_as_job
from .leases import Host, WorkerId
from .memory import Memory
from .outcome import Outcome, Result
from .progress import Progress
from .samplers import SHARED_SEQUENCE, make_pruner, make_sampler
from .shared import is_full
from .study import Study
from .team import Team
from .watch import Watch, leave

log = logging.getLogger(__name__)

_POLL_S = 0.5  # while others still run
_WORD_S = 5.0  # how long another process of a trial may take to say what it raised


@dataclass
class Worker:
    """One process's share of a sweep.

    Attributes:
        task: what Hydra's main function calls.
        study: the sweep.
        composer: makes the configs.
        settings: the sweep's.
        app: what the application knows.
        identity: this process.
        stops: how often the sweep had been told to stop when its workers were started; None: until now.
        host: where it runs.
        team: where trials take several processes, of which this one leads.
    """

    task: TaskFunction
    study: Study
    composer: Composer
    settings: SweepConfig
    app: App
    identity: WorkerId
    stops: int | None = None
    host: Host = field(default_factory=Host)
    team: Team | None = None
    header: dict[str, Any] = field(init=False)
    failed: int = field(init=False, default=0)  # trials of this worker that ended as they should not

    def __post_init__(self) -> None:
        self.header = self.study.header()
        self._signals = _StopSignals()
        self._memory = Memory(self.settings.trial_memory_gb, self.host)
        self._stops = self.study.stops() if self.stops is None else self.stops

    def run(self) -> int:
        """Work until nothing is left; give how many trials this worker finished.

        Raises:
            SweepInterrupted: told to stop, by a signal or through the storage.
            StorageUnavailableError: the storage, or the disk under the trials, is gone or full.
        """
        if self.host.here and self.settings.trial_timeout_min is not None:
            log.info(
                "A trial that hangs in C beyond its time ends this process, and the sweep: see hydra/launcher=local."
            )
        finished = 0
        with self._signals:
            while True:
                claim: Claim | Wait | None = None
                try:
                    if self.study.stops() > self._stops:
                        raise SweepInterrupted(f"sweep {self.study.name} was told to stop.")
                    with held():  # a claim that the storage has recorded must reach us
                        claim = self.study.claim(
                            self.identity,
                            lease_s=self.settings.lease_s,
                            max_retries=self.settings.max_retries,
                            left=self._left,
                        )
                    if isinstance(claim, Wait):
                        time.sleep(_POLL_S)
                        continue
                except KeyboardInterrupt as stopped:
                    self._give_back(claim)
                    raise SweepInterrupted("stopped between two trials.", whole=self.host.here) from stopped
                except StorageUnavailableError:
                    self._give_back(claim)
                    raise
                if claim is None:
                    return finished
                finished += self._attempt(claim)

    def _attempt(self, claim: Claim) -> bool:
        """Run one trial to its end; whether it has one now."""
        folder = self._folder(claim.number)
        try:
            outcome = self._outcome(claim, folder)
            with held():
                told = self._tell(claim, folder, outcome)
        except TrialEnded as ended:  # without an end of its own: another worker's now, or waiting again
            log.warning("Trial %s: %s", claim.number, ended)
            self._release(claim)
            return False
        except (KeyboardInterrupt, SweepInterrupted) as stopped:
            self._release(claim)
            whole = stopped.whole if isinstance(stopped, SweepInterrupted) else self.host.here
            message = f"stopped in trial {claim.number}, which waits with its checkpoint."
            raise SweepInterrupted(message, whole=whole) from stopped
        except StorageUnavailableError:
            self._release(claim)
            raise
        if not told:
            log.warning("Trial %s has been taken over by another worker; its result counts.", claim.number)
        self.failed += told and not End(outcome.end).as_it_should
        if self.team is not None and self.team.led and outcome.end != End.COMPLETE:
            leave(f"trial {claim.number} did not end alike in all its processes, so its worker starts anew.")
        if outcome.end == End.OUT_OF_MEMORY:
            gc.collect()
            if self._memory.is_spoilt():
                leave(f"trial {claim.number} has left memory behind that its worker cannot free, so its worker ends.")
        return told

    def _tell(self, claim: Claim, folder: TrialFolder, outcome: Outcome) -> bool:
        """Keep the result beside what the task left, then tell the storage: one of the two is enough to keep it.

        Raises:
            StorageUnavailableError: either is gone or full.
        """
        try:
            folder.keep(outcome)
        except StorageUnavailableError:
            self.study.finish(claim, outcome, self._values(outcome))
            raise
        return self.study.finish(claim, outcome, self._values(outcome))

    def _give_back(self, claim: Claim | Wait | None) -> None:
        """Leave no trial behind as if its worker had died: neither the claimed one nor one whose claim got lost."""
        if isinstance(claim, Claim):
            self._release(claim)
        elif claim is None:  # the storage may have recorded one before it went away
            with contextlib.suppress(OSError):
                idle_word(Path(self.header["folder"]), self.identity.name).touch()

    def _release(self, claim: Claim) -> None:
        """Put a trial back among the waiting; where the storage cannot be told, leave word in its folder."""
        with contextlib.suppress(KeyboardInterrupt), held():
            try:
                released = Study(self.study.storage, self.study.name, 0)  # it has just been waited for
                released.release(claim)
            except StorageUnavailableError:
                with contextlib.suppress(OSError):
                    self._folder(claim.number).released(claim.attempt).touch()

    def _left(self, number: int, attempt: int, worker: str) -> Left:
        """What an attempt of a trial left in its folder, whose worker is gone."""
        folder = self._folder(number)
        with contextlib.suppress(OSError):
            trace = folder.hang(attempt).read_text(encoding="utf-8")
            if trace:
                limit = self.settings.trial_timeout_min
                message = f"ran longer than sweep.trial_timeout_min={limit}, and hung in C"
                return Left(outcome=Outcome(End.TIMED_OUT, message=message, traceback=trace))
        kept = folder.kept()
        complete = kept is not None and kept.end == End.COMPLETE
        words = (folder.released(attempt), idle_word(Path(self.header["folder"]), worker))
        return Left(died=not complete and not any(word.exists() for word in words))

    def _folder(self, number: int) -> TrialFolder:
        return TrialFolder(Path(self.header["folder"]) / str(number), self.header.get("id"), number)

    def _values(self, outcome: Outcome) -> list[float] | None:
        complete = outcome.end == End.COMPLETE
        return [float(outcome.values[m] or 0.0) for m in self.header["metrics"]] if complete else None

    def _outcome(self, claim: Claim, folder: TrialFolder) -> Outcome:
        began = time.monotonic()
        digest = None
        try:
            overrides = self._chosen(claim)
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
            outcome = Outcome.of_result(Result.of(self._called(claim, config, bare, folder), metrics), metrics)
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
        outcome.seconds = round(time.monotonic() - began, 3)
        return outcome

    def _called(self, claim: Claim, config: DictConfig, bare: DictConfig, folder: TrialFolder) -> Any:
        """What the task returns.

        Raises:
            SweepInterrupted: a signal came; whatever the task made of it, its result would be half of one.
        """
        progress = Progress(
            self.study,
            claim,
            lambda: self._search(claim),
            folder.path,
            pruning=self.settings.pruner != "none",
            metric=next(iter(self.header["metrics"])),
        )
        hang = folder.hang(claim.attempt)
        watch = Watch(
            *(self.study, claim, progress, self.settings, self._stops),
            hang=hang,
            memory=self._memory,
            host=self.host,
            team=self.team,
        )
        self._memory.begin()
        try:
            with running(progress), watch:
                returned = run_as_job(self.task, config, bare, folder.path, claim.number, self.composer.context)
        except (TrialEnded, StorageUnavailableError):
            raise
        except BaseException as error:
            if self._signals.came:
                raise self._stopped(watch) from error
            if isinstance(error, SystemExit):
                raise RuntimeError(f"the task ended its process: exit code {error.code}") from error
            self._blame(error)
            raise
        finally:
            watch.close()
        if self._signals.came:
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

    def _chosen(self, claim: Claim) -> tuple[str, ...]:
        """The trial's overrides; where they are not known yet, the sampler chooses now."""
        if claim.overrides is not None:
            return claim.overrides
        space = claim.slot.space
        shared = self.header["sampler"] in SHARED_SEQUENCE
        with self.study.storage.lock(self.study.name) if shared else contextlib.nullcontext():
            trial = optuna.trial.Trial(self._search(claim), claim.trial_id)
            texts = [dimension.suggest(trial) for dimension in space.dimensions]
        overrides = space.overrides(texts)
        self.study.describe(claim, overrides)
        return overrides

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


class _StopSignals:
    """SIGTERM stops like Ctrl-C. A task may put its own handlers over ours while it runs.

    Attributes:
        came: whether one did.
    """

    def __init__(self) -> None:
        self.came = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: Any) -> None:
        self.came = True
        raise_soon(KeyboardInterrupt(signal.Signals(number).name))
