"""What looks like a secret is masked, wherever it stands; what only sounds like one is not."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import yaml

from tinyrm.masking import MaskingFormatter, mask_yaml, masked, masked_keys, written_secrets


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
        ("postgresql://u:${oc.env:PW}@h/db", "postgresql://u:${oc.env:PW}@h/db"),
        ("postgresql://u:${oc.env:PW,hunter2}@h/db", "postgresql://u:***@h/db"),
        ("password=${oc.env:PW} x", "password=${oc.env:PW} x"),
        ("export HF_TOKEN=${HF_TOKEN}", "export HF_TOKEN=${HF_TOKEN}"),
        ("export HF_TOKEN=${HF_TOKEN:-hunter2}", "export HF_TOKEN=***"),
        ("password=${oc.env:PW,hunter2} x", "password=*** x"),
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


def test_where_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVICE_TOKEN", "open-sesame-7")
    given = {"a": {"tags": ["x", "x://u:p@h"], "token": "${oc.env:T}"}, "b": "open-sesame-7", "n": 1, "api_key": "k"}
    assert written_secrets(given) == ["a.tags", "api_key"]  # by their looks: any word may be a password somewhere
    assert masked_keys(masked(given)) == ["a.tags", "b", "api_key"]


def test_a_file_of_yaml(tmp_path: Path) -> None:
    clean, secret = tmp_path / "clean.yaml", tmp_path / "secret.yaml"
    clean.write_text("a:   [1, 'x']  # as it was\n")
    secret.write_text("hydra:\n  job:\n    env_set: {GITHUB_TOKEN: abc}\n  n: 1.0\n")
    for path in (clean, secret):
        mask_yaml(path)
    assert clean.read_text() == "a:   [1, 'x']  # as it was\n"
    assert yaml.safe_load(secret.read_text()) == {"hydra": {"job": {"env_set": {"GITHUB_TOKEN": "***"}}, "n": 1.0}}


def test_a_log_with_the_traceback_of_an_error() -> None:
    try:
        raise ValueError("no answer from x://me:hunter2@host")
    except ValueError as error:
        record = logging.LogRecord("n", logging.ERROR, "f", 1, "password=%s", ("p",), (ValueError, error, None))
    assert MaskingFormatter().format(record).splitlines() == [
        "password=***",
        "ValueError: no answer from x://me:***@host",
    ]
