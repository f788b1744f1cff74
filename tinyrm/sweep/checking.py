"""Checks before anything runs: every point of a grid, the corners and a sample of an infinite space."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .app import App, fingerprint
from .composing import Composer
from .config import SweepConfig
from .errors import SweepError, near
from .space import Space
from .storage import passwords

_SHOWN_POINTS = 3
_SHOWN_PROBLEMS = 20


@dataclass
class _Problem:
    points: list[str] = field(default_factory=list)


def check_points(
    points: Sequence[tuple[str, ...]], space: Space, fixed: Sequence[str], composer: Composer, app: App
) -> tuple[str, ...]:
    """Compose and check each point.

    Returns:
        the fingerprint of each.

    Raises:
        SweepError: with every problem of every point; a problem that several share is told once.
    """
    found: dict[str, _Problem] = {}
    digests = []
    for point in points:
        overrides = space.overrides(point)
        try:
            config = composer.compose_bare([*fixed, *overrides])
            app.check(config)
            digests.append(fingerprint(app.meaning(config)))
        except (HydraException, OmegaConfBaseException) as error:
            _note(found, app.explain(error), overrides)
        except Exception as error:
            if not hasattr(error, "problems") and not isinstance(error, ValueError):
                raise  # a defect, not a complaint
            _note(found, error, overrides)
    if found:
        raise SweepError(_told(found, len(points)))
    return tuple(digests)


def settings_problems(settings: SweepConfig, metrics: Mapping[str, str], master: DictConfig, app: App) -> list[str]:
    """What is wrong with a sweep's settings by themselves.

    Args:
        metrics: by which it goes.
        master: the config they came from.
        app: knows secrets by their looks.
    """
    wrong = [
        f"{override} has no effect: trials go to <sweep.dir>/<sweep.name>/<number>."
        for override in master.hydra.overrides.hydra
        if str(override).lstrip("+").startswith(("hydra.sweep.dir", "hydra.sweep.subdir"))
    ]
    wrong += [
        f"sweep.metrics.{metric}={direction}: maximize or minimize."
        for metric, direction in metrics.items()
        if direction not in ("maximize", "minimize")
    ]
    if settings.on_change not in ("refuse", "new"):
        wrong.append(f"sweep.on_change={settings.on_change} is not known.{near(settings.on_change, ('refuse', 'new'))}")
    for key in ("max_retries", "seed", "storage_patience_s", "check_points"):
        if getattr(settings, key) < 0:
            wrong.append(f"sweep.{key}={getattr(settings, key)} must be at least 0.")
    for key in (
        "n_trials",
        "workers",
        "nodes_per_trial",
        "trial_timeout_min",
        "trial_memory_gb",
        "lease_s",
        "heartbeat_s",
    ):
        value = getattr(settings, key)
        if value is not None and not value > 0:
            wrong.append(f"sweep.{key}={value} must be greater than 0.")
    if settings.pack < 1:
        wrong.append(f"sweep.pack={settings.pack} must be at least 1: so many trials share a worker's process.")
    for key in ("devices_per_trial", "nodes_per_trial") if settings.pack > 1 else ():
        if getattr(settings, key) > 1:
            wrong.append(
                f"sweep.pack={settings.pack}: trials that run together share one device, and "
                f"sweep.{key}={getattr(settings, key)} gives each several. Leave one of them at 1."
            )
    if settings.heartbeat_s * 2 > settings.lease_s:
        wrong.append("sweep.lease_s must be at least twice sweep.heartbeat_s: a worker must be heard of in time.")
    return [*wrong, *_secrets(settings, OmegaConf.to_container(master, resolve=False), app)]


def _secrets(settings: SweepConfig, plain: Any, app: App) -> list[str]:
    """What would be readable in the study, in multirun.yaml and in every trial's config."""
    written = "\n".join(_texts(plain))
    if any(password in written for password in passwords(settings.storage)):
        return [
            "sweep.storage holds a password, which every trial's config would show: put it into PGPASSWORD or "
            "~/.pgpass, or give the whole URL as sweep.storage='${oc.env:SWEEP_STORAGE}'."
        ]
    repeated = "hydra.overrides.", "hydra.job.override_dirname", "hydra.sweeper.settings."  # what stands elsewhere too
    found = app.secrets(plain)
    keys = [key for key in found if not key.startswith(repeated)] or found
    if not keys:
        return []
    return [
        f"{', '.join(keys)}: holds what looks like a password or a key, which every trial's config would show. Take it "
        "from the environment, as '${oc.env:NAME}'; a launcher's setup can source a file."
    ]


def sample(space: Space, count: int, seed: int) -> list[tuple[str, ...]]:
    """Corners of a space and points drawn from it, to be checked in place of all."""
    rng = random.Random(seed)
    drawn = (tuple(d.draw(rng) for d in space.dimensions) for _ in range(count))
    return list(dict.fromkeys([*space.corners(count), *drawn]))


def _texts(node: Any) -> Iterator[str]:
    """Every text in plain values."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, Sequence):
        for value in node:
            yield from _texts(value)


def _note(found: dict[str, _Problem], error: BaseException, overrides: Sequence[str]) -> None:
    told = re.sub(r"(use \+[^=\s]+)=\S*", r"\1=...", " ".join(str(error).split()))  # Hydra repeats the value
    for problem in getattr(error, "problems", None) or (told,):
        found.setdefault(str(problem), _Problem()).points.append(" ".join(overrides))


def _told(found: dict[str, _Problem], total: int) -> list[str]:
    lines = []
    for text, problem in list(found.items())[:_SHOWN_PROBLEMS]:
        points = [p for p in dict.fromkeys(problem.points) if p]
        if not points or len(problem.points) == total:
            where = "in every point" if total > 1 else ""
        else:
            where = "; ".join(points[:_SHOWN_POINTS])
            where += f" and {len(points) - _SHOWN_POINTS} more" if len(points) > _SHOWN_POINTS else ""
            where = f"in {len(problem.points)} of {total} points: {where}"
        lines.append(f"{text} [{where}]" if where else text)
    left = len(found) - _SHOWN_PROBLEMS
    return [*lines, f"... and {left} more problems"] if left > 0 else lines
