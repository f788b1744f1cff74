"""What an application may tell the engine about its configs. Everything has a default that fits any Hydra app."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig

from .composing import flatten
from .errors import SweepError


class App:
    """Override what the application knows better, and name the object in `hydra.sweeper.app`.

    Attributes:
        metrics: by which a sweep goes where `sweep.metrics` is empty: name -> maximize | minimize.
        preload: modules that every trial needs and that take long to import: workers do so while points are checked.
        affinity: config keys, the most telling first, such that trials with the same values there share some of their
            work: each worker goes on with points akin to its last one, as long as there are any.
        packable: config keys such that trials which differ in no other may run together in one process (`sweep.pack`),
            each in a thread, in turn; they pass their turn on by `Progress.advance`.
    """

    metrics: Mapping[str, str] = {"value": "maximize"}
    preload: Sequence[str] = ()
    affinity: Sequence[str] = ()
    packable: Sequence[str] = ()

    def check(self, config: DictConfig) -> None:
        """Raise where a trial with this config could not run. Called for every point before anything runs.

        An exception with a tuple `problems` has each of them listed.
        """

    def begin(self, config: DictConfig, points: Sequence[Mapping[str, Any]]) -> Sequence[str]:
        """Called once, when every point has been checked and before anything runs: what to say of the sweep by then.

        May raise as :meth:`check` does, of what is wrong with the sweep as a whole.

        Args:
            config: without what varies.
            points: of a grid, their parameters as typed; none where a sampler chooses.
        """
        return ()

    def explain(self, error: Exception) -> Exception:
        """A complaint of Hydra's or OmegaConf's in the application's own words."""
        return error

    def meaning(self, config: DictConfig) -> Mapping[str, Any]:
        """What of a config decides its result, by dotted key: configs with the same meaning are equal."""
        return flatten(config)

    def state(self) -> Callable[[], None]:
        """Take down what of the process a trial may change while it runs; give what puts it back.

        For trials that run in turn. The engine itself sees to Hydra's config, the log, warnings, the working directory,
        the environment, and to the random numbers of Python and NumPy.
        """
        return lambda: None

    def identity(self) -> Mapping[str, str]:
        """What beside the config decides a result (the code): a sweep goes on only with the same."""
        return {}

    def secrets(self, config: Mapping[str, Any]) -> Sequence[str]:
        """Dotted keys of a plain config under which a password or a key is written out: such a sweep is refused."""
        return ()

    def hidden(self, text: str) -> str:
        """A trial's message or traceback as the study may keep it: without what is secret."""
        return text

    def conclusions(self, study: Any) -> Sequence[str]:
        """What to print below the table of a sweep that is done; what it raises is logged, no more.

        Args:
            study: a :class:`~.study.Study`, to be read.
        """
        return ()

    def finished(self, study: Any) -> None:
        """Called by the last one out, when a sweep's table has been written. What it raises is logged, no more.

        Args:
            study: a :class:`~.study.Study`, to be read.
        """


def load_app(path: str | None) -> App:
    """The object named by `hydra.sweeper.app`.

    Raises:
        SweepError: there is no such object, or it lacks a function.
    """
    if path is None:
        return App()
    try:
        found = get_object(path)
        app = found() if isinstance(found, type) else found
    except Exception as error:  # get_object runs the module
        raise SweepError(f"hydra.sweeper.app={path} cannot be loaded: {error}") from error
    if not isinstance(app, App):
        raise SweepError(f"hydra.sweeper.app={path} must be an App of the sweep engine.")
    return app


def fingerprint(meaning: Mapping[str, Any]) -> str:
    """16 hex digits that equal configs share."""
    text = json.dumps(meaning, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
