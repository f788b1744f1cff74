"""The README's screen on using a model: every line of it runs."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tinyrm.cli import main
from tinyrm.serving.model import RewardModel

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.split("\n## Use the model\n")[1].split("\n## ")[0]
LINES = re.findall(r"```sh\n(.*?)```", SECTION, flags=re.S)[0].splitlines()
COMMANDS = [line for line in LINES if line.startswith("tinyrm") and "serve" not in line]
REQUESTS = [line for line in LINES if line.startswith("curl")]


def test_python(cloze_run: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", SECTION, flags=re.S)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block.replace('"RUN"', repr(str(cloze_run))), names)
    assert len(blocks) == 2 and len(names["rewards"]) == 2
    assert names["best"]["text"] in ("Hi!", "No.")


@pytest.mark.parametrize("line", COMMANDS)
def test_commands(line: str, cloze_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = [{"prompt": f"{n}+1?", "chosen": str(n + 1), "rejected": str(n)} for n in range(8)]
    Path("pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    Path("groups.jsonl").write_text(json.dumps({"prompt": "Hi", "responses": ["Hello", "No", "Bye"]}) + "\n")
    words = [str(cloze_run) if word == "RUN" else word for word in shlex.split(line, comments=True)[1:]]
    assert main(words) == 0
    for option in ("--out", "--rejects"):
        assert option not in words or Path(words[words.index(option) + 1]).exists()


def test_requests(cloze_run: Path, served: Callable[..., contextlib.AbstractContextManager[str]]) -> None:
    assert len(COMMANDS) == 5 and len(REQUESTS) == 3
    with served(RewardModel.from_pretrained(cloze_run)) as address:
        for line in REQUESTS:
            words = shlex.split(line)
            answer = httpx.post(
                words[1].replace("localhost:8000", address),
                content=words[words.index("-d") + 1],
                headers=[tuple(words[words.index("-H") + 1].split(": "))],  # type: ignore[list-item]
            )
            assert answer.status_code == 200, answer.text
