"""Preference pairs as text to learn from, and text without the prompts that evaluate."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from tinyrm.data.corpus import Document, Parts
from tinyrm.data.prompts import normalized_prompt, unit_interval
from tinyrm.types import PreferencePair

T = TypeVar("T")

_TURN = re.compile(r"\s*(?:human|assistant|system)\s*:", re.IGNORECASE)
_LAST_MARKER = re.compile(r"\s*assistant\s*:\s*$", re.IGNORECASE)
_HEAD = 30  # characters of a normalised prompt: what is shorter occurs in texts that do not hold it as a prompt
_HELD_CHARACTERS = 100_000  # most that is held out: some 25,000 tokens give the loss to two digits


def conversation(pair: PreferencePair) -> str:
    """The prompt and its chosen response, with `Human:` and `Assistant:` at the start of their turns."""
    prompt = pair.prompt_text.strip()
    if not _TURN.match(prompt):
        prompt = f"Human: {prompt}"
    return f"{_LAST_MARKER.sub('', prompt)}\n\nAssistant: {pair.chosen.strip()}"


def conversations(pairs: Iterable[PreferencePair]) -> tuple[Document, ...]:
    """Each different one of them once."""
    return tuple(Document(text, source) for text, source in {conversation(p): p.source for p in pairs}.items())


class EvaluationPrompts:
    """The prompts of evaluation sets, to be looked for in other text.

    Args:
        pairs: of all these sets.
    """

    def __init__(self, pairs: Iterable[PreferencePair]) -> None:
        self._by_head: dict[str, list[str]] = {}
        self._short: set[str] = set()
        for prompt in {normalized_prompt(pair.prompt) for pair in pairs}:
            if len(prompt) < _HEAD:
                self._short.add(prompt)
            else:
                self._by_head.setdefault(prompt[:_HEAD], []).append(prompt)

    def inside(self, text: str) -> bool:
        """Whether the text holds one of them, both normalised; a short one (under 30 characters) as a line of its own.

        "Hello" is a prompt of many sets and a word of many texts.
        """
        whole = normalized_prompt(text)
        for start in range(len(whole) - _HEAD + 1):
            known = self._by_head.get(whole[start : start + _HEAD])
            if known is not None and any(whole.startswith(prompt, start) for prompt in known):
                return True
        return bool(self._short) and any(normalized_prompt(line) in self._short for line in text.splitlines() if line)


def hold_out(items: Sequence[T], key: Callable[[T], str], size: Callable[[T], int], share: float, least: int) -> Parts:
    """A share of the items held out, chosen by a hash of their key: the same ones whatever else is there.

    Args:
        items: in any order; those with equal keys go together.
        key: what names an item.
        size: its characters.
        share: of the keys, at least one of them.
        least: characters to hold out where that share has fewer; at most 100,000 are, whatever the share.
    """
    sizes: dict[str, int] = {}
    for item in items:
        sizes[key(item)] = sizes.get(key(item), 0) + size(item)
    held: set[str] = set()
    characters = 0
    for name in sorted(sizes, key=lambda name: (unit_interval(0, name), name)):
        if (len(held) >= math.ceil(share * len(sizes)) and characters >= least) or characters >= _HELD_CHARACTERS:
            break
        held.add(name)
        characters += sizes[name]
    return Parts(
        tuple(item for item in items if key(item) not in held), tuple(item for item in items if key(item) in held)
    )
