"""TinyRM: train tiny reward models, and find out by sweeps what makes them good."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinyrm.serving.model import Comparison as Comparison
    from tinyrm.serving.model import RewardModel as RewardModel
    from tinyrm.serving.ranking import Ranking as Ranking

_PLACES = {
    "Comparison": "tinyrm.serving.model",
    "Ranking": "tinyrm.serving.ranking",
    "RewardModel": "tinyrm.serving.model",
}
__all__ = ["Comparison", "Ranking", "RewardModel"]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is: torch takes seconds, and `tinyrm --help` needs none."""
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'tinyrm' has no attribute {name!r}")
