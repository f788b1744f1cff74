"""Pairs for answer-token training: questions, passages of a text and responses to prompts, beside worse ones.

A question with its right choice and a wrong one is a pair as it stands. A text gives pairs too: its true continuation
is better than a passage from elsewhere, one from later on, or a spoilt copy of itself; so is a prompt's own response.
All have the form in which a reward model is asked: what is learnt here about options and their marks need not be learnt
from preferences.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from tinyrm.config import PassagesConfig
from tinyrm.data.corpus import Document, Question
from tinyrm.types import PreferencePair

T = TypeVar("T")

SECTION = "pretraining"
_SENTENCE = re.compile(r"(?<=[.!?:;])\s+|\n+")
_NUMBER = re.compile(r"\d+")


def question_pairs(questions: Sequence[Question], seed: int) -> list[PreferencePair]:
    """Each question once: its right choice against one of the wrong ones, drawn by `seed`."""
    draw = random.Random(f"questions {seed}")
    pairs = []
    for number, q in enumerate(questions):
        wrong = draw.choice([c for i, c in enumerate(q.choices) if i != q.answer and c != q.choices[q.answer]])
        pairs.append(
            PreferencePair(f"question:{number}", q.text, q.choices[q.answer], wrong, SECTION, "question", "corpus")
        )
    return pairs


def passage_pairs(
    documents: Sequence[Document], count: int, seed: int, passages: PassagesConfig
) -> list[PreferencePair]:
    """`count` pairs of a text's true continuation and something worse, of each kind of `passages.spoilers` in turn.

    Documents are drawn in a shuffled order, again and again; those too short for a passage give none.

    Args:
        documents: at least two that are long enough, or nothing comes out.
        count: how many pairs.
        seed: of every choice.
        passages: how long they are, and what is worse.
    """
    draw = random.Random(f"passages {seed}")
    texts = [units for d in documents if len(units := _units(d.text)) >= 4]
    if len(texts) < 2:
        return []
    pairs: list[PreferencePair] = []
    kinds = passages.spoilers
    for number, units in enumerate(_again_and_again(texts, draw, count * 4)):
        if len(pairs) == count:
            break
        kind = kinds[number % len(kinds)]
        made = _pair(units, kind, texts, draw, passages)
        if made is not None:
            prompt, chosen, rejected = made
            pairs.append(PreferencePair(f"passage:{len(pairs)}", prompt, chosen, rejected, SECTION, kind, "corpus"))
    return pairs


def instruction_pairs(
    known: Sequence[PreferencePair], count: int, seed: int, passages: PassagesConfig
) -> list[PreferencePair]:
    """`count` pairs of how a prompt's response begins and something worse, of each kind of `passages.spoilers` in turn.

    As :func:`passage_pairs`, but for `elsewhere`, which is how the response to another prompt begins. Of the pairs
    given, the prompt and the chosen response are read, never the rejected one. A long prompt keeps its end.

    Args:
        known: prompts with a response, at least two different ones of both, or nothing comes out.
        count, seed, passages: as there.
    """
    draw = random.Random(f"instructions {seed}")
    answered = [(pair, units) for pair in known if (units := _units(pair.chosen))]
    texts = [units for _, units in answered]
    if len({pair.chosen for pair, _ in answered}) < 2 or len({pair.prompt for pair, _ in answered}) < 2:
        return []
    pairs: list[PreferencePair] = []
    kinds, spoilers = passages.spoilers, SPOILERS | {"elsewhere": _another_response}
    for number, (pair, units) in enumerate(_again_and_again(answered, draw, count * 4)):
        if len(pairs) == count:
            break
        wanted, kind = _words(draw, *passages.option_words), kinds[number % len(kinds)]
        chosen, after = _option(units, 0, wanted)
        rejected = spoilers[kind](_Passage(units, after, chosen, wanted, texts), draw)
        if rejected and rejected.split() != chosen.split():
            prompt = " ".join(pair.prompt_text.split()[-2 * passages.prompt_words[1] :])
            name = f"instruction:{len(pairs)}"
            pairs.append(PreferencePair(name, prompt, chosen, rejected, SECTION, kind, pair.source))
    return pairs


def _again_and_again(items: list[T], draw: random.Random, most: int) -> Iterator[T]:
    given = 0
    while given < most:
        for index in draw.sample(range(len(items)), len(items)):
            yield items[index]
            given += 1


def _pair(
    units: list[str], kind: str, texts: list[list[str]], draw: random.Random, passages: PassagesConfig
) -> tuple[str, str, str] | None:
    start = draw.randrange(len(units) - 1)
    wanted = _words(draw, *passages.prompt_words)
    before, at = _take(units, start, wanted)
    prompt = " ".join(before.split()[-2 * wanted :])  # its end, which the continuation follows
    wanted = _words(draw, *passages.option_words)
    chosen, after = _option(units, at, wanted)
    if not chosen:
        return None
    rejected = SPOILERS[kind](_Passage(units, after, chosen, wanted, texts), draw)
    if not rejected or rejected.split() == chosen.split():
        return None
    return prompt, chosen, rejected


def _words(draw: random.Random, fewest: int, most: int) -> int:
    """A number of words, its logarithm evenly spread: many short comparisons teach more than few long ones."""
    return round(math.exp(draw.uniform(math.log(fewest), math.log(most))))


class _Passage:
    """What a spoiler works on: the true continuation `chosen`, and what else there is."""

    def __init__(self, units: list[str], after: int, chosen: str, words: int, texts: list[list[str]]) -> None:
        self.units, self.after, self.chosen, self.words, self.texts = units, after, chosen, words, texts


def _elsewhere(passage: _Passage, draw: random.Random) -> str:
    other = draw.choice(passage.texts)
    return "" if other is passage.units else _option(other, draw.randrange(len(other)), passage.words)[0]


def _another_response(passage: _Passage, draw: random.Random) -> str:
    """From its beginning: where it starts must not give it away."""
    other = draw.choice(passage.texts)
    return "" if other is passage.units else _option(other, 0, passage.words)[0]


def _later(passage: _Passage, draw: random.Random) -> str:
    if passage.after + 1 >= len(passage.units):
        return ""
    return _option(passage.units, draw.randrange(passage.after + 1, len(passage.units)), passage.words)[0]


def _disordered(passage: _Passage, draw: random.Random) -> str:
    """The same words, some runs of two to four of them turned round."""
    words = passage.chosen.split()
    for _ in range(max(1, len(words) // 8)):
        length = draw.randint(2, 4)
        at = draw.randrange(max(1, len(words) - length))
        words[at : at + length] = reversed(words[at : at + length])
    return " ".join(words)


def _altered(passage: _Passage, draw: random.Random) -> str:
    """Other numbers, and some words of another text in place of its own."""
    other = " ".join(draw.choice(passage.texts)).split()
    text = _NUMBER.sub(lambda found: str(int(found[0][:9]) + draw.choice((-2, -1, 1, 2, 3, 10))), passage.chosen)
    words = text.split()
    for _ in range(max(1, len(words) // 7) if text == passage.chosen or draw.random() < 0.5 else 0):
        words[draw.randrange(len(words))] = draw.choice(other)
    return " ".join(words)


def _repeated(passage: _Passage, draw: random.Random) -> str:
    """The continuation begins, and then says the beginning again."""
    words = passage.chosen.split()
    half = max(2, len(words) // 2)
    return " ".join([*words[:half], *words[:half]])


# What is worse than the true continuation, by its name in `sft.passages.spoilers`.
SPOILERS: dict[str, Callable[[_Passage, random.Random], str]] = {
    "elsewhere": _elsewhere,
    "altered": _altered,
    "later": _later,
    "disordered": _disordered,
    "repeated": _repeated,
}


def _units(text: str) -> list[str]:
    """Sentences and lines."""
    return [unit for unit in _SENTENCE.split(text) if unit.strip()]


def _take(units: Sequence[str], start: int, words: int) -> tuple[str, int]:
    """Whole units from `start` on until there are `words` words; the text, and where the next unit is."""
    taken, count, at = [], 0, start
    while at < len(units) and count < words:
        taken.append(units[at].strip())
        count += len(units[at].split())
        at += 1
    return " ".join(" ".join(taken).split()), at


def _option(units: Sequence[str], start: int, words: int) -> tuple[str, int]:
    """The same, a long unit cut at twice the words."""
    text, at = _take(units, start, words)
    return " ".join(text.split()[: 2 * words]), at
