"""Optuna's samplers and pruners by name, with their options checked before anything runs."""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from .errors import near

GRID = "grid"
SAMPLERS: dict[str, type[BaseSampler]] = {
    "random": optuna.samplers.RandomSampler,
    "tpe": optuna.samplers.TPESampler,
    "gp": optuna.samplers.GPSampler,
    "cmaes": optuna.samplers.CmaEsSampler,
    "qmc": optuna.samplers.QMCSampler,
    "nsga2": optuna.samplers.NSGAIISampler,
}
PRUNERS: dict[str, type[BasePruner]] = {
    "none": optuna.pruners.NopPruner,
    "median": optuna.pruners.MedianPruner,
    "percentile": optuna.pruners.PercentilePruner,
    "successive_halving": optuna.pruners.SuccessiveHalvingPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "wilcoxon": optuna.pruners.WilcoxonPruner,
}
WILCOXON = "wilcoxon"
_PERCENTILE_DEFAULT = {"percentile": 25.0}  # Optuna has none: keep the best quarter
_SEVERAL_METRICS = ("grid", "random", "tpe", "gp", "qmc", "nsga2")
SHARED_SEQUENCE = ("qmc",)  # one sequence, of which every worker takes the next point, one at a time


def make_sampler(name: str, options: Mapping[str, Any], seed: int, number: int) -> BaseSampler:
    """The sampler that chooses the trial `number`.

    Its random state follows from seed and number alone: workers neither repeat each other nor depend on who comes
    first.
    """
    if name == GRID:
        return optuna.samplers.RandomSampler(seed=seed)  # never asked: the plan holds the points
    own = seed if name in SHARED_SEQUENCE else (seed * 1_000_003 + number) % 2**32
    with _calm():
        return SAMPLERS[name](**{"seed": own, **options})


def make_pruner(name: str, options: Mapping[str, Any]) -> BasePruner:
    """The pruner."""
    if name == "percentile":
        options = {**_PERCENTILE_DEFAULT, **options}
    with _calm():
        return PRUNERS[name](**options)


@contextlib.contextmanager
def _calm() -> Iterator[None]:
    """Optuna calls QMC, GP and Wilcoxon experimental at every use; whoever chose one knows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def problems(
    sampler: str,
    sampler_options: Mapping[str, Any],
    pruner: str,
    pruner_options: Mapping[str, Any],
    metrics: Sequence[str],
) -> list[str]:
    """What is wrong with a choice of sampler and pruner."""
    found = []
    if sampler != GRID:
        found += _check("sampler", sampler, sampler_options, SAMPLERS)
    elif sampler_options:
        found.append("sweep.sampler_options: a grid has none.")
    found += _check("pruner", pruner, pruner_options, PRUNERS)
    if len(metrics) > 1:
        if sampler in SAMPLERS and sampler not in _SEVERAL_METRICS:
            found.append(
                f"sweep.sampler={sampler} takes one metric; there are {len(metrics)}: use one of "
                f"{', '.join(_SEVERAL_METRICS)}."
            )
        if pruner != "none":
            found.append(f"sweep.pruner={pruner} takes one metric; there are {len(metrics)}: use sweep.pruner=none.")
    if found:
        return found
    try:
        make_sampler(sampler, sampler_options, 0, 0)
        make_pruner(pruner, pruner_options)
    except ImportError as error:
        found.append(f"sweep.sampler={sampler} needs another package: {error}")
    except (TypeError, ValueError) as error:
        found.append(f"sweep.sampler={sampler} sweep.pruner={pruner}: {error}")
    return found


def _check(what: str, name: str, options: Mapping[str, Any], known: Mapping[str, type]) -> list[str]:
    if name not in known:
        names = [*known, *(("auto", GRID) if what == "sampler" else ())]
        return [f"sweep.{what}={name} is not known.{near(name, names)}"]
    taken = [p for p in inspect.signature(known[name]).parameters if p != "seed"]
    return [
        f"sweep.{what}_options: {known[name].__name__} has no {option!r}.{near(option, taken)}"
        for option in options
        if option not in taken
    ]
