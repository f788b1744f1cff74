"""The README is true: every `python run.py` line composes and passes the rules, every make target and link exists."""

from __future__ import annotations

import re
import shlex
import string
import subprocess
import sys
from pathlib import Path

import pytest

from tinyrm.cli import main
from tinyrm.config import check, check_pretraining, compose, compose_pretraining

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.S)


def lines(block: str) -> list[str]:
    """The lines of a shell block, its own variables filled in."""
    variables: dict[str, str] = {}
    found = []
    for line in block.splitlines():
        filled = string.Template(line.strip()).safe_substitute(variables)
        if assignment := re.match(r"([A-Z]+)=(.*)", filled):
            variables[assignment[1]] = " ".join(shlex.split(assignment[2], comments=True))
        found.append(filled)
    return found


LINES = [line for block in BLOCKS for line in lines(block)]
RUNS = [line for line in LINES if line.startswith("python run.py")]


@pytest.mark.parametrize("line", [line for line in RUNS if "--" not in line and " -m " not in line])
def test_run_lines_compose(line: str) -> None:
    check(compose([o for o in shlex.split(line, comments=True)[2:] if not o.startswith("hydra.")]))


# Studies of claims need data of the reader's or the hub's: tests/test_studies.py checks their points.
@pytest.mark.parametrize("line", [line for line in RUNS if " -m " in line and "+sweeps=claim_" not in line])
def test_sweep_lines_pass_their_checks(line: str, tmp_path: Path) -> None:
    words = shlex.split(line, comments=True)[2:]
    local = [o for o in words if not o.startswith(("data=", "data.path="))]  # checked on data that are there
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *local, "sweep.dry_run=true"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "trials" in done.stdout


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("tinyrm pretrain")])
def test_pretraining_lines_compose(line: str) -> None:
    check_pretraining(compose_pretraining(shlex.split(line, comments=True)[2:]))


def test_there_are_run_lines() -> None:
    assert len(RUNS) >= 10


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    named = set(re.findall(r"`?make ([a-z-]+)", "\n".join(LINES) + " ".join(re.findall(r"`make [a-z-]+`", README))))
    assert named
    assert named <= targets


@pytest.mark.parametrize("verb", ["ls", "status", "resume", "stop", "show"])
def test_tinyrm_sweep_verbs_exist(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"tinyrm sweep {verb}" in README
    with pytest.raises(SystemExit) as ended:
        main(["sweep", verb, "--help"])
    assert ended.value.code == 0


@pytest.mark.parametrize(
    "command", ["resume", "eval", "cache", "pretrain", "compare", "rank", "filter", "serve", "doctor", "report", "sync"]
)
def test_tinyrm_commands_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"tinyrm {command}" in README
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert command in capsys.readouterr().out


def test_nothing_is_left_to_fill_in() -> None:
    assert not re.findall(r"@[A-Z0-9]+@", README)


def test_links_to_files_are_whole() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
