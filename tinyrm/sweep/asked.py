"""What a command line asks for, without running it: the sweep's name and each point of its grid, composed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from .composing import Composer
from .errors import SweepError
from .space import parse
from .sweeper import settings_of


@dataclass(frozen=True, eq=False)
class Asked:
    """A grid that could be run.

    Attributes:
        name: of the sweep; None where the question makes one.
        storage: its URL.
        master: the config composed for the whole, with the `hydra` node.
        points: parameters of each point, as typed.
        configs: of each point, without the `hydra` node.
    """

    name: str | None
    storage: str
    master: DictConfig
    points: tuple[dict[str, str], ...]
    configs: tuple[DictConfig, ...]


def asked(folder: Path, overrides: Sequence[str], config_name: str = "config") -> Asked:
    """What `-m OVERRIDES` asks for; nothing is checked but that it composes.

    Args:
        folder: of the configs, absolute.

    Raises:
        SweepError: it is no grid, or its grammar is wrong.
        HydraException, OmegaConfBaseException: as Hydra raises them.
    """
    with _hydra(folder) as context:
        loader = context.config_loader
        master = loader.load_configuration(config_name, list(overrides), run_mode=RunMode.MULTIRUN)
        settings = settings_of(master)
        typed = [str(o) for o in master.hydra.overrides.task]
        space, fixed = parse([*(f"{k}={v}" for k, v in settings.params.items()), *typed], settings.arms, loader)
        if not space.finite:
            endless = ", ".join(d.name for d in space.dimensions if not d.finite)
            raise SweepError(f"only a grid can be listed, and {endless} has no end: give choices or a range.")
        composer = Composer(context, master)
        names = [d.name for d in space.dimensions]
        grid = list(space.grid())
        return Asked(
            settings.name,
            settings.storage,
            master,
            tuple(dict(zip(names, point, strict=True)) for point in grid),
            tuple(composer.compose_bare([*fixed, *space.overrides(point)]) for point in grid),
        )


@contextmanager
def _hydra(folder: Path) -> Iterator[HydraContext]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(folder)):
        yield HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=Callbacks())
