"""A model where others expect a function: TRL's trainers, best-of-n sampling, plain callables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy.special import expit

from tinyrm.errors import DataError, did_you_mean
from tinyrm.serving.model import RewardModel
from tinyrm.serving.ranking import Ranking
from tinyrm.serving.texts import Prompt, Response, pair_of


class GroupReward:
    """A reward function for TRL: `reward_funcs=GroupReward(model)` of `GRPOTrainer` and `OnlineDPOTrainer`.

    Called with the completions of several prompts, it rewards each within the group of its prompt; online DPO so takes
    the better of two. Chat and plain completions alike.

    Args:
        model: what judges.
        method: see :meth:`RewardModel.rank`.
        scale: 'log_odds' gives strengths (mean 0 in a group); 'probability' the mean probability of winning against
            the others, 0 to 1, which one sure win cannot stretch.
    """

    def __init__(self, model: RewardModel, *, method: str = "auto", scale: str = "log_odds") -> None:
        if scale not in ("log_odds", "probability"):
            raise ValueError(f"scale={scale!r}: give 'log_odds' or 'probability'.")
        self.model, self.method, self.scale = model, method, scale
        self.__name__ = "tinyrm"  # as TRL logs it

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Response], **_: Any) -> list[float]:
        """A reward for each completion, in their order."""
        groups: dict[str, list[int]] = {}
        for index, prompt in enumerate(prompts):
            groups.setdefault(pair_of(prompt, "", "").prompt_text, []).append(index)
        rewards = [0.0] * len(prompts)
        for members in groups.values():
            own = self._rewards(prompts[members[0]], [completions[i] for i in members])
            for index, reward in zip(members, own, strict=True):
                rewards[index] = reward
        return rewards

    def _rewards(self, prompt: Prompt, responses: list[Response]) -> list[float]:
        strengths = self.model.reward(prompt, responses, method=self.method)
        if self.scale == "log_odds":
            return strengths
        return win_rates(strengths)


class ReferenceReward:
    """A reward function for TRL on a scale of its own: the probability that a completion beats a reference answer.

    Rewards of a group alone (:class:`GroupReward`) always have the same mean, so that they cannot show whether a policy
    gets better; these can. One comparison a completion.

    Args:
        model: what judges.
        column: of the data set, with a reference answer to each prompt.
    """

    def __init__(self, model: RewardModel, *, column: str = "reference") -> None:
        self.model, self.column = model, column
        self.__name__ = "tinyrm_reference"

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[Response], **columns: Any) -> list[float]:
        """A reward for each completion, 0 to 1.

        Raises:
            DataError: the data set has no such column.
        """
        if self.column not in columns:
            raise DataError(f"the data set has no column {self.column!r}.{did_you_mean(self.column, columns)}")
        found = self.model.compare_batch(prompts, completions, columns[self.column])
        return [one.probability for one in found]


def win_rates(strengths: Sequence[float]) -> list[float]:
    """Mean probability of each to win against one of the others, by Bradley-Terry; 0.5 for one alone."""
    if len(strengths) == 1:
        return [0.5]
    own = np.asarray(strengths)
    wins = expit(own[:, None] - own).sum(axis=1) - 0.5  # without that against itself
    rates: list[float] = (wins / (len(own) - 1)).tolist()
    return rates


def best_of_n(
    model: RewardModel, prompt: Prompt, candidates: Iterable[Any], *, method: str = "auto"
) -> tuple[Any, Ranking]:
    """The best of some candidates, as it was given, and the ranking of all.

    Args:
        model: what judges.
        prompt: what they answer.
        candidates: texts, messages, or what samplers return: vLLM's `CompletionOutput` (`.text`), OpenAI's `Choice`
            (`.message.content` or `.text`), or these as dicts.
        method: see :meth:`RewardModel.rank`.

    Raises:
        DataError: none are given, or one holds no text.
    """
    given = list(candidates)
    ranking = model.rank(prompt, [candidate_text(one) for one in given], method=method)
    return given[ranking.best], ranking


def candidate_text(candidate: Any) -> Response:
    """The text of a candidate of :func:`best_of_n`; what is no sampler's is given back as it is."""
    for names in (("text",), ("message", "content"), ("content",)):
        found = candidate
        for name in names:
            found = found.get(name) if isinstance(found, dict) else getattr(found, name, None)
        if isinstance(found, str):
            return found
    return candidate  # type: ignore[no-any-return]


class Judge:
    """A plain callable for whatever takes one: `judge(prompt, a, b)` is the probability that `a` is better."""

    def __init__(self, model: RewardModel) -> None:
        self.model = model

    def __call__(self, prompt: Prompt, a: Response, b: Response) -> float:
        return self.model.compare(prompt, a, b).probability
