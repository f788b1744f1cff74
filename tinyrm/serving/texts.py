"""What people hand in: prompts as text or as chat messages, responses as text or as the turns of a completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinyrm.errors import DataError
from tinyrm.types import Message, PreferencePair

Turns = Sequence[Message | Mapping[str, Any]]
Prompt = str | Turns  # `{"role": "user", "content": "..."}`, as chat templates have them
Response = str | Turns
_EXPECTED = 'Expected text, or messages like {"role": "user", "content": "..."}.'


def pair_of(prompt: Prompt, a: Response, b: Response) -> PreferencePair:
    """The pair that training and evaluation would make of this, `a` as the chosen response.

    Raises:
        DataError: something is neither text nor messages.
    """
    turns: str | tuple[Message, ...] = prompt if isinstance(prompt, str) else _turns(prompt, "prompt")
    return PreferencePair("", turns, response_text(a, "a"), response_text(b, "b"), "", "", "")


def response_text(response: Response, name: str = "response") -> str:
    """A response as text; several turns (a completion with tools) with the markers that prompts have.

    Raises:
        DataError: it is neither text nor messages.
    """
    if isinstance(response, str):
        return response
    return PreferencePair("", _turns(response, name), "", "", "", "", "").prompt_text


def _turns(value: Any, name: str) -> tuple[Message, ...]:
    if not isinstance(value, Sequence) or isinstance(value, bytes) or not value:
        raise DataError(f"{name}: {type(value).__name__}{' of length 0' if value == [] else ''}. {_EXPECTED}")
    return tuple(_message(turn, f"{name}, message {number}") for number, turn in enumerate(value, 1))


def _message(turn: Any, name: str) -> Message:
    if isinstance(turn, Message):
        return turn
    if not isinstance(turn, Mapping):
        raise DataError(f"{name}: {type(turn).__name__}. {_EXPECTED}")
    role, content = turn.get("role"), turn.get("content")
    if not isinstance(role, str) or not isinstance(content, str):
        raise DataError(f"{name}: role {type(role).__name__}, content {type(content).__name__}. {_EXPECTED}")
    return Message(role, content)
