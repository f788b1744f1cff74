"""Training: the LightningModule, its batches, checkpoints and stopping."""

from tinyrm.training.callbacks import history_of
from tinyrm.training.datamodule import PairDataModule, ScoreStream
from tinyrm.training.fit import FitResult, can_multiply_bf16, choose_precision, fit
from tinyrm.training.frozen import FrozenStore
from tinyrm.training.history import BEST, HISTORY, LAST, History
from tinyrm.training.module import TinyRM

__all__ = [
    "BEST",
    "HISTORY",
    "LAST",
    "FitResult",
    "FrozenStore",
    "History",
    "PairDataModule",
    "ScoreStream",
    "TinyRM",
    "can_multiply_bf16",
    "choose_precision",
    "fit",
    "history_of",
]
