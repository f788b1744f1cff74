"""TinyRM: train tiny reward models, and find out by sweeps what makes them good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinyrm.serving import Comparison as Comparison
    from tinyrm.serving import Ranking as Ranking
    from tinyrm.serving import RewardModel as RewardModel

__all__ = ["Comparison", "Ranking", "RewardModel"]


def __getattr__(name: str) -> Any:
    """Load what is used with `from tinyrm import ...` when it is: torch takes seconds, `tinyrm --help` needs none."""
    if name in __all__:
        from tinyrm import serving

        return getattr(serving, name)
    raise AttributeError(f"module 'tinyrm' has no attribute {name!r}")
