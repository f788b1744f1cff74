"""A trained model to call: compare two responses, rank many, reward a group."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from huggingface_hub import snapshot_download
from numpy.typing import NDArray
from scipy.special import expit

from tinyrm.config import EvaluationConfig, compose
from tinyrm.errors import DataError, ModelError, did_you_mean
from tinyrm.evaluation.backends import Backend, choose_backend
from tinyrm.evaluation.scoring import score
from tinyrm.model import OnnxNet, RewardNet, SavedModel, load_model, merged_net
from tinyrm.model.backbone import hub_errors
from tinyrm.prompting import EncodedPairs, tokenize
from tinyrm.serving.group import drive, ranking_task
from tinyrm.serving.ranking import Ranking
from tinyrm.serving.texts import Prompt, Response, pair_of
from tinyrm.types import PreferencePair

TRUNCATION = ("warn", "error", "ignore")


class TruncationWarning(UserWarning):
    """A text did not fit the model's context and was scored without its middle."""


@dataclass(frozen=True)
class Comparison:
    """Which of two responses is better.

    Attributes:
        log_odds: natural-log odds that the first response (a) is better: mean over both orders of presentation.
        a_first, a_second: the two it is the mean of, with `a` shown as option A and as option B. Equal for an
            objective that sees each response alone.
        cut_tokens: how many tokens of prompt, a and b did not fit and were left out.
    """

    log_odds: float
    a_first: float
    a_second: float
    cut_tokens: tuple[int, int, int] = (0, 0, 0)

    @property
    def probability(self) -> float:
        """That `a` is better, 0 to 1."""
        return float(expit(self.log_odds))

    @property
    def order_consistent(self) -> bool:
        """Both orders come to the same verdict."""
        return bool(np.sign(self.a_first) == np.sign(self.a_second))

    @property
    def truncated(self) -> bool:
        """Some text was cut."""
        return any(self.cut_tokens)

    @property
    def better(self) -> str:
        """'a', 'b' or 'tie'."""
        return "tie" if self.log_odds == 0 else "a" if self.log_odds > 0 else "b"


class RewardModel:
    """A saved TinyRM, ready to be called.

    Safe to call from several threads: they take turns. Numbers are those of `tinyrm eval` on the same pairs, to the
    rounding that a batch of other lengths brings.

    Args:
        saved: of :func:`tinyrm.model.load_model`.
        backend: what scores: 'auto' (float32), 'float32', 'bf16', 'int8' or 'onnx'; on a GPU where there is one.
        batch_tokens: tokens of one batch.
        truncation: what happens when a text is cut: 'warn', 'error' or 'ignore'; each result says so in any case.

    Raises:
        ModelError: the backend cannot be had here.
    """

    def __init__(
        self,
        saved: SavedModel,
        *,
        backend: str = "auto",
        batch_tokens: int = EvaluationConfig().batch_tokens,
        truncation: str = "warn",
    ) -> None:
        if truncation not in TRUNCATION:
            raise ModelError(f"truncation={truncation!r} is not known.{did_you_mean(truncation, TRUNCATION)}")
        self.description = saved.description
        self.layout, self.tokenizer = saved.layout, saved.tokenizer
        self.batch_tokens, self.truncation = batch_tokens, truncation
        # A fast tokenizer refuses a second thread, a net takes memory for each: one of both at a time.
        self._encoding, self._scoring = threading.Lock(), threading.Lock()
        self.backend: Backend = choose_backend(backend)
        example = self._encode([pair_of("a", "b", "c")])
        cache = Path(compose().data.cache_dir) if backend == "onnx" else Path()
        self._net: RewardNet | OnnxNet = self.backend.ready(merged_net(saved.net), example, cache)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        backend: str = "auto",
        batch_tokens: int = EvaluationConfig().batch_tokens,
        truncation: str = "warn",
    ) -> RewardModel:
        """Load a run folder, a folder with a saved model, or `owner/name` of the Hugging Face hub.

        Args:
            source: a folder, where one of that name is there, else a hub id.
            revision: of a hub repository.
            cache_dir: where `huggingface_hub` keeps what it downloads.
            backend, batch_tokens, truncation: see the class.

        Raises:
            ModelError: nothing we saved is there, or the hub cannot be reached.
        """
        folder = Path(source).expanduser()
        if not folder.exists():
            folder = _download(os.fspath(source), revision, cache_dir)
        return cls(load_model(folder), backend=backend, batch_tokens=batch_tokens, truncation=truncation)

    @property
    def name(self) -> str:
        """As results name it."""
        return f"tinyrm/{self.description.model.id}-{self.description.config_hash}"

    @property
    def sees_both(self) -> bool:
        """It reads both responses together (cloze), not each alone (Bradley-Terry)."""
        return self.description.objective == "cloze"

    def compare(self, prompt: Prompt, a: Response, b: Response) -> Comparison:
        """Which of two responses to a prompt is better.

        Raises:
            DataError: something is neither text nor messages, or (truncation='error') too long.
        """
        return self.compare_batch([prompt], [a], [b])[0]

    def compare_batch(
        self, prompts: Sequence[Prompt], a: Sequence[Response], b: Sequence[Response]
    ) -> list[Comparison]:
        """:meth:`compare` of n prompts and their two responses, in batches of like length.

        Raises:
            DataError: the lists differ in length; see :meth:`compare`.
        """
        if not len(prompts) == len(a) == len(b):
            raise DataError(
                f"{len(prompts)} prompts, {len(a)} responses a, {len(b)} responses b: give as many of each."
            )
        return self.compare_pairs([pair_of(*texts) for texts in zip(prompts, a, b, strict=True)])

    def compare_pairs(self, pairs: Sequence[PreferencePair]) -> list[Comparison]:
        """:meth:`compare` of n pairs, the chosen response as `a`; what all else is made of."""
        if not pairs:
            return []
        with self._encoding:
            encoded = self._encode(pairs)
        cut = np.maximum(encoded.tokens.lengths - encoded.kept, 0)
        self._tell_cut(cut)
        with self._scoring:
            scores = score(self._net, encoded, batch_tokens=self.batch_tokens, precision=self.backend.precision)
        columns = (scores.log_odds, scores.chosen_first, scores.chosen_second, cut)
        return [
            Comparison(mean, first, second, (lost[0], lost[1], lost[2]))
            for mean, first, second, lost in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def rank(self, prompt: Prompt, responses: Sequence[Response], *, method: str = "auto") -> Ranking:
        """Order n responses to a prompt; see :mod:`tinyrm.serving.ranking` for what the numbers mean.

        Responses of the same text are compared once and share a strength. An objective that sees each response alone
        needs no comparisons: its strengths are its rewards, without intervals.

        Args:
            prompt: text or messages.
            responses: at least one.
            method: 'all' pairs, a 'tournament' of about n log n, or 'auto': all up to 16 responses.

        Raises:
            DataError: no responses, an unknown method, or something that is neither text nor messages.
        """
        return drive(ranking_task(prompt, responses, method, sees_both=self.sees_both), self.compare_pairs)

    def reward(self, prompt: Prompt, responses: Sequence[Response], *, method: str = "auto") -> list[float]:
        """A scalar for each response of a group, comparable within the group alone: its strength, mean 0.

        Raises:
            DataError: see :meth:`rank`.
        """
        return list(self.rank(prompt, responses, method=method).strengths)

    def _encode(self, pairs: Sequence[PreferencePair]) -> EncodedPairs:
        return self.layout.bind(tokenize(pairs, self.tokenizer, spaced=self.layout.spaced))

    def _tell_cut(self, cut: NDArray[np.int64]) -> None:
        rows = int(np.any(cut > 0, axis=1).sum())
        if not rows or self.truncation == "ignore":
            return
        told = (
            f"{rows} of {len(cut)} pairs do not fit in {self.layout.config.max_tokens} tokens: up to {int(cut.max())} "
            "tokens were left out of the middle of a text."
        )
        if self.truncation == "error":
            raise DataError(told.replace("were", "would be"))
        warnings.warn(told, TruncationWarning, stacklevel=4)


_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def _download(source: str, revision: str | None, cache_dir: str | os.PathLike[str] | None) -> Path:
    if not _HUB_ID.fullmatch(source):
        raise ModelError(f"{source} is no folder, and no hub id (owner/name): give a run folder or a saved model.")
    with hub_errors(source, source):
        return Path(
            snapshot_download(source, revision=revision, cache_dir=None if cache_dir is None else Path(cache_dir))
        )
