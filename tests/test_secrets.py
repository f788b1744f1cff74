"""What was typed and is secret stays out of every file of a run, and a run goes on nevertheless."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import Callback

from tinyrm.cli import main
from tinyrm.config import compose
from tinyrm.experiment import run

ROOT = Path(__file__).resolve().parents[1]
PASSWORD, TOKEN = "hunter2-and-more", "hf_abcdefghijklmnop1234"
SMALL = [
    *("model=tiny", "model.shape.num_hidden_layers=3", "data.synthetic.train_pairs=24", "data.synthetic.dev_pairs=12"),
    *("data.synthetic.test_pairs=9", "prompt.max_tokens=96", "trainer.threads=1", "trainer.accelerator=cpu"),
    "tracking=csv",
]


def holding(folder: Path, *secrets: str) -> list[Path]:
    return [f for f in folder.rglob("*") if f.is_file() and any(s.encode() in f.read_bytes() for s in secrets)]


def call(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run.py"), *arguments, *SMALL]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)


def test_one_run_keeps_nothing_of_it(tmp_path: Path) -> None:
    done = call(
        f"sweep.storage='postgresql://me:{PASSWORD}@host/db'",
        f"+hydra.job.env_set.HF_TOKEN={TOKEN}",
        f"tracking.tags=['https://me:{PASSWORD}@host', plain]",
        f"+hydra.launcher.setup=['export MY_API_KEY={PASSWORD}']",
        "hydra.run.dir=run",
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert holding(tmp_path, PASSWORD, TOKEN) == []
    typed = (tmp_path / "run" / ".hydra" / "overrides.yaml").read_text()
    assert "postgresql://me:***@host/db" in typed and "model=tiny" in typed
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["tracking"]["tags"][1] == "plain"


def test_a_sweep_is_refused(tmp_path: Path) -> None:
    typed = {
        "hydra.job.env_set.GITHUB_TOKEN": PASSWORD,
        "hydra.launcher.setup": f"['export HF_TOKEN={TOKEN}']",
        "tracking.tags": f"['https://me:{PASSWORD}@host']",
    }
    added = [f"{'+' * key.startswith('hydra')}{key}={value}" for key, value in typed.items()]
    done = call("-m", "adapter.rank=2,4", *added, folder=tmp_path)
    assert done.returncode == 2
    told = done.stderr.partition("error: ")[2].partition(": holds what looks like a password or a key")[0]
    assert sorted(told.split(", ")) == sorted(typed)
    assert PASSWORD not in done.stderr and TOKEN not in done.stderr
    assert not (tmp_path / "multirun").exists()


def test_a_job_script_holds_references_or_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", PASSWORD)
    dry = ["-m", "hydra/launcher=slurm", "sweep.dry_run=true", "adapter.rank=2,4"]
    done = call(*dry, "hydra.launcher.setup=['export HF_TOKEN=${oc.env:HF_TOKEN}']", folder=tmp_path)
    assert done.returncode == 0 and "\nexport HF_TOKEN=${HF_TOKEN}\n" in done.stdout, done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    done = call(*dry, "hydra.launcher.comment='${oc.env:HF_TOKEN}'", folder=tmp_path)
    assert done.returncode == 2 and "would hold a password or a key, masked here: #SBATCH --comment=***." in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert holding(tmp_path, PASSWORD) == []


class Stopped(Callback):
    """Ends training after its first step, in words that hold a password."""

    def on_train_batch_end(self, *args: object) -> None:
        raise RuntimeError(f"no answer from https://me:{PASSWORD}@host")


def test_a_run_goes_on_once_it_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / f"api_key={PASSWORD}"
    place.mkdir()
    pairs = "".join(f'{{"prompt": "Say {i}", "chosen": "{i}.", "rejected": "no"}}\n' for i in range(40))
    (place / "p.jsonl").write_text(pairs)
    tag = f"tracking.tags=['https://me:{PASSWORD}@host']"  # decides nothing: need not be told again
    config = compose([*SMALL, "data=jsonl", f"data.path='{place}/p.jsonl'", tag])
    folder = tmp_path / "run"
    with pytest.raises(RuntimeError):
        run(config, folder, callbacks=[Stopped()])
    assert holding(folder, PASSWORD) == []
    assert main(["resume", str(folder)]) == 2
    assert "run.json does not keep secrets: data.path, tracking.tags must be said again" in capsys.readouterr().err
    assert main(["resume", str(folder), "freeze=1"]) == 2
    assert "freeze is not to be given: a run goes on with the config it began with" in capsys.readouterr().err
    (tmp_path / "other.jsonl").write_text(pairs)
    assert main(["resume", str(folder), f"data.path={tmp_path}/other.jsonl"]) == 2
    monkeypatch.setenv("MY_PAIRS", f"{place}/p.jsonl")
    assert main(["resume", str(folder), "data.path=${oc.env:MY_PAIRS}"]) == 0
    assert json.loads((folder / "run.json").read_text())["state"] == "complete"
    assert holding(folder, PASSWORD) == []
