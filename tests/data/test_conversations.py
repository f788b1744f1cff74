"""Preference pairs as text, and evaluation prompts found in text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tinyrm.config import PassagesConfig
from tinyrm.data.comparisons import instruction_pairs
from tinyrm.data.conversations import EvaluationPrompts, conversation, conversations, hold_out
from tinyrm.types import Message, PreferencePair

PairMaker = Callable[..., PreferencePair]

LONG = "Please explain how a heat pump warms a house in winter."


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("What is 2+2?", "Human: What is 2+2?\n\nAssistant: It is 4."),
        ((Message("user", "What is 2+2?"),), "Human: What is 2+2?\n\nAssistant: It is 4."),
        ("\n\nHuman: What is 2+2?\n\nAssistant:", "Human: What is 2+2?\n\nAssistant: It is 4."),
        (
            (Message("user", "Hi."), Message("assistant", "Hello."), Message("user", "What is 2+2?")),
            "Human: Hi.\n\nAssistant: Hello.\n\nHuman: What is 2+2?\n\nAssistant: It is 4.",
        ),
    ],
)
def test_every_kind_of_prompt_becomes_the_same_dialogue(make_pair: PairMaker, prompt: object, text: str) -> None:
    assert conversation(make_pair(prompt=prompt)) == text


def test_equal_conversations_are_one_document(make_pair: PairMaker) -> None:
    pairs = [make_pair(rejected="5"), make_pair(rejected="6"), make_pair(chosen="Four.")]
    assert [d.text.rpartition(": ")[2] for d in conversations(pairs)] == ["It is 4.", "Four."]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"Before it. {LONG} After it.", True),
        (LONG.upper().replace(" ", "\n  ") + "!!", True),
        (LONG[:-3], False),  # its end is missing
        ("Please explain how a heat pump warms a house in summer.", False),  # the same beginning
        ("Human: Hello\n\nAssistant: Hi.", True),
        ("She said hello to them.", False),  # a word, not a prompt
        ("", False),
    ],
)
def test_prompts_are_found_whatever_their_case_and_blanks(make_pair: PairMaker, text: str, found: bool) -> None:
    prompts = EvaluationPrompts([make_pair(prompt=LONG), make_pair(prompt="Hello!")])
    assert prompts.inside(text) == found


def test_without_prompts_nothing_is_found() -> None:
    assert not EvaluationPrompts([]).inside(LONG)


def test_what_is_held_out_stays_so_when_more_is_there() -> None:
    items = [f"text {n}" for n in range(400)]
    few, many = (hold_out(part, str, len, 0.1, 0) for part in (items[:200], items))
    assert len(few.dev) == 20 and len(many.dev) == 40
    assert {*few.train, *few.dev} == {*items[:200]} and not {*few.train} & {*few.dev}
    assert len({*few.dev} & {*many.dev}) >= 12  # chosen by their own hash


def test_enough_is_held_out_and_never_too_much() -> None:
    assert len(hold_out([f"{n:010}" for n in range(100)], str, len, 0.01, 500).dev) == 50
    assert len(hold_out([str(n) for n in range(100)], str, lambda _: 20_000, 0.5, 0).dev) == 5
    together = hold_out([f"{n % 2}" for n in range(10)], str, len, 0.1, 0)
    assert len({*together.dev}) == 1 and len(together.dev) == 5


class TestInstructions:
    @pytest.fixture
    def passages(self) -> PassagesConfig:
        return PassagesConfig([2, 4], [3, 6], ["elsewhere", "disordered"])

    def test_the_prompts_own_response_is_the_better_one(self, make_pair: PairMaker, passages: PassagesConfig) -> None:
        known = [
            make_pair(f"Question number {n} of many, is it?", f"Answer {n} has its own words here.", f"never {n}")
            for n in range(12)
        ]
        made = instruction_pairs(known, 20, 0, passages)
        assert len(made) == 20 and {p.subset for p in made} == {"elsewhere", "disordered"}
        for pair in made:
            number = pair.prompt_text.split()[2]
            assert pair.prompt == f"Question number {number} of many, is it?"[-len(pair.prompt) :]
            assert pair.chosen.startswith(f"Answer {number} ") and "never" not in pair.rejected
            if pair.subset == "elsewhere":
                assert pair.rejected.startswith("Answer ") and not pair.rejected.startswith(f"Answer {number} ")
            else:
                assert sorted(pair.rejected.split()) == sorted(pair.chosen.split())
        assert made == instruction_pairs(known, 20, 0, passages)
        assert made != instruction_pairs(known, 20, 1, passages)

    def test_one_response_gives_nothing_to_compare(self, make_pair: PairMaker, passages: PassagesConfig) -> None:
        assert instruction_pairs([make_pair(), make_pair()], 5, 0, passages) == []
        assert instruction_pairs([make_pair(), make_pair("Another?")], 5, 0, passages) == []

    def test_long_prompts_keep_their_end(self, make_pair: PairMaker, passages: PassagesConfig) -> None:
        words = [f"w{n}" for n in range(30)]
        known = [make_pair(" ".join([*words, name]), f"One {name} two three.") for name in "abc"]
        made = instruction_pairs(known, 3, 0, passages)
        assert all(pair.prompt_text.split()[:-1] == words[-7:] for pair in made)
