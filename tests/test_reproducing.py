"""`tinyrm reproduce` on a tiny study: run, recorded, run again elsewhere, and held against the record."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinyrm.cli import main
from tinyrm.config import SourceConfig
from tinyrm.data.load import read_source

ROOT = Path(__file__).resolve().parents[1]
TINY = [
    *("model=tiny", "freeze=0,4", "seed=0,1", "prompt.max_tokens=96", "trainer.precision=32", "hydra/launcher=basic"),
    *("data.max_train_pairs=24", "data.max_dev_pairs=12", "data.max_test_pairs=30", "tracking=none"),
    'claim.contrasts=[{first: "freeze=4", second: "freeze=0", expect: no_worse, margin: 0.2}]',
]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pairs in three sections."""
    folder = tmp_path_factory.mktemp("pairs")
    for split, found in read_source(SourceConfig()).items():
        with gzip.open(folder / f"{split}.jsonl.gz", "wt", encoding="utf-8") as file:
            for p in found[:120]:
                row = {"id": p.id, "prompt": p.prompt_text, "chosen": p.chosen, "rejected": p.rejected}
                file.write(json.dumps(row | {"section": p.section, "subset": p.subset}) + "\n")
    return folder


@pytest.fixture(scope="module")
def record(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of records, after a first run."""
    cwd = tmp_path_factory.mktemp("first")
    command = [sys.executable, str(ROOT / "run.py"), "-m", "+sweeps=claim_freeze/small", f"data.path={pairs}", *TINY]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TINYRM_CACHE": str(cwd / "cache")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "Claim: Freezing lower layers keeps quality at less cost." in done.stderr + done.stdout
    assert "freeze=4 against freeze=0, at most 20.0 worse: " in done.stdout
    url = f"sqlite:///{cwd}/multirun/sweeps.db"
    arguments = ["results", "claim_freeze-small", "--storage", url]
    assert main([*arguments, "--results", str(cwd / "results"), "--out", str(cwd / "RESULTS.md")]) == 0
    assert "claim_freeze-small" in (cwd / "RESULTS.md").read_text(encoding="utf-8")
    return cwd / "results"


def test_the_same_study_elsewhere_gives_the_same(
    pairs: Path, record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYRM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "160")
    again = ["reproduce", "claim_freeze", "--data", str(pairs), "--results", str(record), *TINY]
    assert main(again) == 0
    said = capsys.readouterr().out
    assert "claim_freeze-small is reproduced: same verdicts, every effect within the recorded interval." in said
    assert "freeze=4 against freeze=0" in said

    other = json.loads((record / "claim_freeze-small.json").read_text())
    for key in ("low", "high"):
        other["contrasts"][0]["effect"][key] = 0.9
    other["contrasts"][0]["verdict"] = "refuted"
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "claim_freeze-small.json").write_text(json.dumps(other))
    assert main([*again[:5], str(tmp_path / "records"), *TINY]) == 1  # goes on with what is done
    captured = capsys.readouterr()
    assert "1 of 1 contrasts are not as recorded: freeze=4 against freeze=0." in captured.err
    assert "differs" in captured.out and "outside" in captured.out


def test_a_study_without_a_record_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "claim_freeze", "--data", ".", "--results", str(tmp_path)]) == 2
    assert "there is no record of claim_freeze-small" in capsys.readouterr().err
    assert main(["reproduce", "claim_freez"]) == 2
    assert "there is no study 'claim_freez'. Did you mean 'claim_freeze'" in capsys.readouterr().err
