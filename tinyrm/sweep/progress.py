"""What a running task knows of its trial: report to the pruner, say how far it is, see its folder and devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from .claims import Claim
from .errors import TrialEnded, TrialPruned
from .seat import Seat
from .study import Study

_SAMPLES = "samples:{}"


class Progress:
    """A task's line to its sweep.

    Args:
        study: the sweep.
        claim: its trial.
        search: gives the study as Optuna sees it, with the pruner in force.
        folder: the trial's own.
        pruning: whether any pruner is in force.
        metric: which one reports are of: the first of the sweep's.
        seat: how the trial sits in its process.
    """

    def __init__(
        self,
        study: Study,
        claim: Claim,
        search: Callable[[], optuna.Study],
        folder: Path,
        pruning: bool,
        metric: str,
        seat: Seat,
    ) -> None:
        self.metric = metric
        self.sweep = study.name
        self.number = claim.number
        self.attempt = claim.attempt
        self.folder = folder
        self.devices = claim.worker.devices
        self.fraction: float | None = None
        self.ending: TrialEnded | None = None  # set by the watch: the task is to end
        self._study, self._claim, self._search, self._pruning, self._seat = study, claim, search, pruning, seat

    @property
    def shared(self) -> dict[str, Any] | None:
        """What the trials of a pack keep for one another, by name; None where this one is alone in its process."""
        return self._seat.shared

    @property
    def together(self) -> int:
        """How many trials began beside each other in this process, this one included."""
        return self._seat.size

    @property
    def asked_to_stop(self) -> bool:
        """Whether the task should write a checkpoint and raise, where no signal tells it so: in a pack.

        The :meth:`advance` after the one in which it was told raises in any case.
        """
        return self._seat.asked_to_stop

    def advance(self, fraction: float | None = None) -> None:
        """Say how much is done, from 0 to 1. Costs nothing; the next heartbeat carries it.

        In a pack this is where the other trials take their turns: call it after each step.

        Raises:
            TrialEnded: the trial has been told to end, or its worker to stop where no signal could raise that.
        """
        if fraction is not None:
            self.fraction = fraction
        self.heed()
        self._seat.pass_on()
        if self.ending is not None:  # else the task may see by itself that it is asked to stop
            raise self.ending

    def heed(self) -> None:
        """What :meth:`advance` raises, without a turn for the others: where they wait for what this trial makes."""
        if self.ending is not None:
            raise self.ending
        if self.asked_to_stop:
            raise TrialEnded(None, "its worker was told to stop")

    @property
    def seconds(self) -> float:
        """A clock that runs while the trial does: in a pack, not during the others' turns."""
        return self._seat.seconds()

    def report(self, value: float, step: int, samples: Sequence[float] | None = None) -> None:
        """Report an intermediate value of `metric`.

        Args:
            value: at this step.
            step: 1, 2, ...: the evaluation, not the batch, so that pruners compare like with like.
            samples: the value of each single example, in an order that every trial shares, for a paired pruner.

        Raises:
            TrialPruned: the pruner sees no hope. Let it pass.
            TrialEnded: the trial has been told to end.
        """
        if self.ending is not None:
            raise self.ending
        storage, trial_id = self._study.storage.optuna, self._claim.trial_id
        self._study._patiently(lambda: storage.set_trial_intermediate_value(trial_id, step, float(value)))
        if not self._pruning:
            return
        if samples is not None:
            plain = [round(float(s), 5) for s in samples]
            self._study._patiently(lambda: storage.set_trial_user_attr(trial_id, _SAMPLES.format(step), plain))
        if self._study._patiently(lambda: self._hopeless(storage.get_trial(trial_id), step)):
            raise TrialPruned(f"pruned at step {step} with {value:.4g}")

    def _hopeless(self, trial: FrozenTrial, step: int) -> bool:
        search = self._search()
        if isinstance(search.pruner, optuna.pruners.WilcoxonPruner):
            return _paired(search, trial, step)
        return search.pruner.prune(search, trial)


def _paired(search: optuna.Study, trial: FrozenTrial, step: int) -> bool:
    """Optuna's Wilcoxon pruner over examples: this trial against the best one, at the same step.

    That pruner takes the steps of a trial for its examples; here a trial has examples at each step, so it is shown the
    examples of one step.
    """
    key = _SAMPLES.format(step)
    complete = [t for t in search.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if key in t.user_attrs]
    if key not in trial.user_attrs or not complete:
        return False
    highest = search.direction == optuna.study.StudyDirection.MAXIMIZE
    best = (max if highest else min)(complete, key=lambda t: t.value or 0.0)

    def shown(samples: list[float], **rest: Any) -> FrozenTrial:
        return optuna.trial.create_trial(intermediate_values=dict(enumerate(samples)), **rest)

    alone = optuna.create_study(direction=search.direction)
    alone.add_trial(shown(best.user_attrs[key], value=best.value))
    return search.pruner.prune(alone, shown(trial.user_attrs[key], state=TrialState.RUNNING))
