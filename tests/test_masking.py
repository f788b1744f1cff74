"""What looks like a secret is masked, wherever it stands; what only sounds like one is not."""

from __future__ import annotations

import pytest

from tinyrm.masking import masked


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql://u:p@ss@h/db", "postgresql://u:***@h/db"),
        ("postgresql://h/db?sslpassword=abc&x=1", "postgresql://h/db?sslpassword=***&x=1"),
        ("https://h/files?token=abc", "https://h/files?token=***"),
        ("https://h:8080/a@b", "https://h:8080/a@b"),
        ("WANDB_API_KEY=abc def", "WANDB_API_KEY=*** def"),
        ('{"password": "abc"}', '{"password": "***"}'),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer ***"),
        ("pushed with hf_abcdefghijklmnopqrst", "pushed with ***"),
        ("prompt.max_tokens=96 token: [MASK]", "prompt.max_tokens=96 token: [MASK]"),
    ],
)
def test_texts(text: str, clean: str) -> None:
    assert masked(text) == clean


def test_it_reaches_into_values() -> None:
    given = {"a": ["x://u:p@h"], "wandb.api_key": "k", "hub": {"token": "k"}, "max_tokens": 96, "n": (1, None)}
    assert masked(given) == {
        "a": ["x://u:***@h"],
        "wandb.api_key": "***",
        "hub": {"token": "***"},
        "max_tokens": 96,
        "n": (1, None),
    }


def test_what_the_environment_calls_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_TOKEN", "open-sesame-7")
    monkeypatch.setenv("OTHER_PASSWORD", "the")  # too short to be told from a word
    assert masked(["say open-sesame-7 at the door"]) == ["say *** at the door"]
