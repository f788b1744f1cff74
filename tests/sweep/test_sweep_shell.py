"""What a shell command takes from the environment: it stays a reference, which a real shell expands to the value."""

from __future__ import annotations

import os
import subprocess

import pytest
from omegaconf import OmegaConf

from tinyrm.sweep import SweepError
from tinyrm.sweep.shell import commands, kept_from_jobs

SECRET = "open 'sesame' \"7\" $HOME"  # what no careless quoting survives


def given(*setup: str) -> tuple[list[str], list[str]]:
    config = OmegaConf.create(
        {
            "my": {"token": "${oc.env:PLANTED}", "n": 3},
            "launcher": {"setup": list(setup), "python": "run ${oc.env:PLANTED}"},
        }
    )
    return commands(config, "launcher.setup")


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", SECRET)
    monkeypatch.setenv("WITH-DASH", "x")
    monkeypatch.delenv("NOT_THERE", raising=False)


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("export X=${oc.env:PLANTED}", "export X=${PLANTED}"),
        ('export X="${oc.env:PLANTED}"', 'export X="${PLANTED}"'),
        ("export X='${oc.env:PLANTED}'", "export X=''\"${PLANTED}\"''"),
        ("export X=${my.token}", "export X=${PLANTED}"),  # by way of another key
        ("export X=${oc.env:PLANTED,other}", "export X=${PLANTED}"),
    ],
)
def test_the_shell_reads_the_value(typed: str, line: str) -> None:
    lines, names = given(typed)
    assert lines == [line] and names == ["PLANTED"]
    said = subprocess.run(["bash", "-c", f'{line}\nprintf %s "$X"'], capture_output=True, text=True, check=True)
    assert said.stdout == SECRET


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("printf '%s.' 'it is: ${oc.env:PLANTED}' \"it's ${oc.env:PLANTED}\"", f"it is: {SECRET}.it's {SECRET}."),
        ("printf %s \\'\"${oc.env:PLANTED}\"\\'", f"'{SECRET}'"),
        ("printf %s ${my.n}-${oc.env:NOT_THERE,no}", "3-no"),
    ],
)
def test_quotes_around_it_are_seen_through(typed: str, said: str) -> None:
    (line,), _ = given(typed)
    assert SECRET not in line
    assert subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout == said


def test_what_reads_no_environment_is_as_it_was() -> None:
    config = OmegaConf.create(
        {"setup": ["module load cuda", "echo $HOME"], "python": None, "text": "run ${oc.env:PLANTED}"}
    )
    assert commands(config, "setup") == (["module load cuda", "echo $HOME"], [])
    assert commands(config, "python") == (None, [])
    assert commands(config, "text") == ("run ${PLANTED}", ["PLANTED"])
    assert OmegaConf.create({"a": "${oc.env:PLANTED}"}).a == SECRET == os.environ["PLANTED"]  # elsewhere a value again


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("x ${oc.decode:${oc.env:PLANTED}}", "no other resolver can read"),
        ("x ${oc.env:WITH-DASH}", "a shell cannot read the environment variable 'WITH-DASH'"),
        ("x ${oc.env:NOT_THERE}", "'NOT_THERE' not found"),
    ],
)
def test_what_cannot_be_a_reference_is_refused(typed: str, told: str) -> None:
    with pytest.raises(SweepError) as refused:
        given(typed)
    assert "launcher.setup: " in str(refused.value) and told in str(refused.value)
    assert SECRET not in str(refused.value)


def test_what_slurm_is_told_to_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SBATCH_EXPORT", raising=False)
    assert kept_from_jobs(["A", "B"], {}) == ([], "")
    assert kept_from_jobs(["A", "B"], {"export": "ALL,C=1"})[0] == []
    wanted = "hydra.launcher.additional_parameters.export=A,C=1"
    assert kept_from_jobs(["A", "B"], {"export": "A,C=1"}) == (["B"], wanted)
    monkeypatch.setenv("SBATCH_EXPORT", "NONE")
    assert kept_from_jobs(["A"], {}) == (["A"], "SBATCH_EXPORT=NONE")
