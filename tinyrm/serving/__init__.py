"""A trained model in use: library, files, service, and the tools it is called from."""

from tinyrm.serving.model import Comparison, RewardModel, TruncationWarning
from tinyrm.serving.ranking import Ranking

__all__ = ["Comparison", "Ranking", "RewardModel", "TruncationWarning"]
