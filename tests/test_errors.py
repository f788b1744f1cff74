"""Errors carry what the person at the terminal needs, also across processes."""

from __future__ import annotations

import pickle

import pytest

from tinyrm import errors
from tinyrm.errors import ConfigError, TinyRMError, did_you_mean


def test_one_problem_is_its_own_message() -> None:
    error = ConfigError("adapter.rank=0 must be at least 1.")
    assert str(error) == "adapter.rank=0 must be at least 1."
    assert error.problems == ("adapter.rank=0 must be at least 1.",)


def test_several_problems_are_numbered() -> None:
    error = ConfigError(["one", "two"])
    assert str(error) == "2 problems in this config:\n  1. one\n  2. two"
    assert error.problems == ("one", "two")


@pytest.mark.parametrize(
    "error",
    [ConfigError("one"), ConfigError(["one", "two"]), errors.DataError("three"), errors.OutOfMemoryError("four")],
)
def test_errors_survive_pickling(error: TinyRMError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 (as a worker hands it to its parent)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert getattr(again, "problems", None) == getattr(error, "problems", None)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("TinyRMError", 1),
        ("ConfigError", 2),
        ("DataError", 2),
        ("ModelError", 2),
        ("NonFiniteLossError", 4),
        ("StorageError", 5),
        ("OutOfMemoryError", 6),
        ("Interrupted", 130),
    ],
)
def test_exit_codes(name: str, code: int) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, TinyRMError)
    assert kind.exit_code == code


def test_what_python_has_a_word_for_is_caught_by_it() -> None:
    assert issubclass(errors.NonFiniteLossError, FloatingPointError)
    assert issubclass(errors.OutOfMemoryError, MemoryError)


@pytest.mark.parametrize(
    ("word", "choices", "said"),
    [
        ("doar", ["dora", "lora", "full"], " Did you mean 'dora'?"),
        ("rewardbench3", ["rewardbench", "rewardbench2"], " Did you mean 'rewardbench' or 'rewardbench2'?"),
        ("zzz", ["b", "a"], " Choose one of: a, b."),
        ("zzz", [], ""),
        ("aaaa", ["aaab", "aaac", "aaad", "aaae"], " Did you mean 'aaae' or 'aaad' or 'aaac'?"),
    ],
)
def test_did_you_mean(word: str, choices: list[str], said: str) -> None:
    assert did_you_mean(word, choices) == said
