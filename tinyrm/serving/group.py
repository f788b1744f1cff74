"""Ranking the responses of one group, apart from who scores: the library at once, the service through its queue."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tinyrm.errors import DataError
from tinyrm.serving.ranking import Ranking, from_strengths, schedule
from tinyrm.serving.texts import Prompt, Response, pair_of, response_text
from tinyrm.types import PreferencePair

if TYPE_CHECKING:
    from tinyrm.serving.model import Comparison

Task = Generator[list[PreferencePair], "list[Comparison]", Ranking]


def ranking_task(prompt: Prompt, responses: Sequence[Response], method: str, *, sees_both: bool) -> Task:
    """A generator that yields pairs to compare, is sent what came out, and returns the ranking of `responses`.

    Responses of the same text are compared once and share a strength.

    Args:
        prompt, responses: as :meth:`RewardModel.rank` has them; checked before this returns.
        method: see :func:`tinyrm.serving.ranking.schedule`.
        sees_both: the model reads two responses together; else its rewards are strengths already.

    Raises:
        DataError: no responses, an unknown method, or something that is neither text nor messages.
    """
    if isinstance(responses, str):
        raise DataError("responses: one text. Expected a list of them.")
    texts = [response_text(response, f"response {number}") for number, response in enumerate(responses, 1)]
    unique = list(dict.fromkeys(texts))
    pair_of(prompt, "", "")
    steps = schedule(len(unique), method)
    compared = _by_comparing(prompt, unique, steps) if sees_both else _by_rewards(prompt, unique)
    return _spread(compared, [unique.index(text) for text in texts])


def drive(task: Task, compare: Callable[[list[PreferencePair]], list[Comparison]]) -> Ranking:
    """Run a task to its end with what compares pairs."""
    try:
        asked = next(task)
        while True:
            asked = task.send(compare(asked))
    except StopIteration as end:
        ranking: Ranking = end.value
        return ranking


def _by_comparing(
    prompt: Prompt, texts: list[str], steps: Generator[list[tuple[int, int]], np.ndarray, Ranking]
) -> Task:
    truncated = False
    try:
        asked = next(steps)
        while True:
            found = yield [pair_of(prompt, texts[i], texts[j]) for i, j in asked]
            truncated = truncated or any(one.truncated for one in found)
            asked = steps.send(np.array([(one.a_first, one.a_second) for one in found]))
    except StopIteration as end:
        ranking: Ranking = end.value
        return replace(ranking, truncated=truncated)


def _by_rewards(prompt: Prompt, texts: list[str]) -> Task:
    """Each response against the first: with rewards of single responses that says all, without circles or orders."""
    found = (yield [pair_of(prompt, text, texts[0]) for text in texts[1:]]) if len(texts) > 1 else []
    strengths = np.array([0.0, *(one.log_odds for one in found)])
    truncated = any(one.truncated for one in found)
    return from_strengths(
        strengths - strengths.mean(),
        np.full(len(texts), np.nan),
        comparisons=len(found),
        inconsistent=0,
        truncated=truncated,
    )


def _spread(task: Task, place: list[int]) -> Task:
    """The ranking of all responses from that of the different ones; `place` of each among these."""
    own = yield from task
    strengths = np.array(own.strengths)[place]
    widths = (np.array(own.high) - np.array(own.strengths))[place]
    return from_strengths(
        strengths - strengths.mean(),
        widths,
        comparisons=own.comparisons,
        inconsistent=own.inconsistent,
        truncated=own.truncated,
    )
