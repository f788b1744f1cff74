"""What people type, in real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMALL = [
    "model=tiny",
    "model.shape.num_hidden_layers=3",
    "data.synthetic.train_pairs=45",
    "data.synthetic.dev_pairs=15",
    "data.synthetic.test_pairs=30",
    "trainer.batch_tokens=1024",
    "trainer.accelerator=cpu",
]


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "run.py"), *arguments]


def tinyrm(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tinyrm.cli", *arguments]


def call(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=240, check=False)


def test_run_then_eval(tmp_path: Path) -> None:
    done = call(command(*SMALL, "hydra.run.dir=first"), tmp_path)
    assert done.returncode == 0, done.stderr
    for heading in ("section", "accuracy", "consistent", "longer", "shorter", "overall", "run folder"):
        assert heading in done.stdout
    assert (tmp_path / "first" / ".hydra" / "overrides.yaml").is_file()
    assert "Training" in (tmp_path / "first" / "run.log").read_text()

    pairs = [{"prompt": f"Say {i}", "chosen": f"{i}.", "rejected": f"no {i}", "section": "chat"} for i in range(8)]
    (tmp_path / "mine.jsonl").write_text("\n".join(json.dumps(p) for p in pairs))
    scored = call(tinyrm("eval", "first", "--path", "mine.jsonl", "--out", "scores"), tmp_path)
    assert scored.returncode == 0, scored.stderr
    metrics = json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert metrics["sections"]["chat"]["accuracy"]["n"] == 8
    assert metrics["scoring"] == {"name": "torch", "precision": "32-true", "device": "cpu"}

    quick = call(tinyrm("eval", "first", "--path", "mine.jsonl", "--out", "quick", "--backend", "onnx"), tmp_path)
    assert quick.returncode == 0, quick.stderr
    again = json.loads((tmp_path / "quick" / "metrics.json").read_text())
    assert again.pop("scoring") == {"name": "onnx", "precision": "32-true", "device": "cpu"}
    assert again == {key: value for key, value in metrics.items() if key != "scoring"}
    wrong = call(tinyrm("eval", "first", "--path", "mine.jsonl", "--backend", "onx"), tmp_path)
    assert wrong.returncode == 2
    assert "--backend onx is not known. Did you mean 'onnx'?" in wrong.stderr

    again = call(tinyrm("resume", "first"), tmp_path)
    assert again.returncode == 2
    assert "complete already" in again.stderr


def test_a_grid_runs(tmp_path: Path) -> None:
    done = call(command("-m", "adapter.rank=2,4", "freeze=1", *SMALL, "sweep.name=grid"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "best: python run.py" in done.stdout
    records = [json.loads(p.read_text()) for p in sorted(tmp_path.glob("multirun/grid/*/run.json"))]
    assert [(r["config"]["adapter"]["rank"], r["state"]) for r in records] == [(2, "complete"), (4, "complete")]
    kept = {p.name for p in tmp_path.glob("multirun/grid/0/model/*")}
    assert "adapter" in kept and "merged" not in kept
    shown = call([sys.executable, "-m", "tinyrm.cli", "sweep", "status", "grid"], tmp_path)
    assert shown.returncode == 0
    assert "2/2 done" in shown.stdout


def test_one_impossible_point_of_a_grid_is_told_before_any_runs(tmp_path: Path) -> None:
    done = call(command("-m", "adapter.rank=2,4", "freeze=1,9", *SMALL), tmp_path)
    assert done.returncode == 2
    assert "freeze=9 is more than the 3 encoder layers" in done.stderr
    assert "in 2 of 4 points: adapter.rank=2 freeze=9; adapter.rank=4 freeze=9" in done.stderr
    assert not (tmp_path / "multirun").exists()


def test_ctrl_c_ends_a_grid_with_a_checkpoint(tmp_path: Path) -> None:
    grid = ["seed=0,1", "sweep.name=grid", "sweep.workers=1"]
    process = subprocess.Popen(
        command("-m", *SMALL, "trainer.epochs=400", "trainer.evaluations_per_epoch=1", *grid),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        history = tmp_path / "multirun" / "grid" / "0" / "checkpoints" / "history.json"
        deadline = time.monotonic() + 120
        while not history.is_file() and time.monotonic() < deadline:
            time.sleep(0.2)
        assert history.is_file(), "training has begun"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "tinyrm sweep resume grid" in errors
    folder = tmp_path / "multirun" / "grid"
    record = json.loads((folder / "0" / "run.json").read_text())
    assert record["state"] == "interrupted"
    assert (folder / "0" / "checkpoints" / "last.ckpt").is_file()
    assert not (folder / "1").exists(), "the rest of the grid does not start"


def test_a_folder_that_cannot_be_made_gets_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = call(command(*SMALL, "hydra.run.dir=file/run"), tmp_path)
    assert done.returncode == 5
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["adapter.rnak=3"], ["no key 'rnak'", "'rank'"]),
        (["adapter=dorra"], ["adapter=dorra", "'dora'"]),
        (["adapter.rank=many"], ["adapter.rank", "many"]),
        (["data=jsonl", "data.path=nowhere"], ["nowhere"]),
        (["model=tiny", "freeze=12"], ["freeze=12", "6 encoder layers", "freeze=3", "freeze=5"]),
        (["model=modernbert_base"], ["answerdotai/ModernBERT-base", "Offline", "model=minilm"]),
    ],
)
def test_bad_input_gets_one_message_and_a_code(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    done = call(command(*arguments), tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr
    for word in words:
        assert word in done.stderr
    assert not list(tmp_path.rglob("run.json")), "nothing is left under a final name"


def test_verbose_shows_the_traceback(tmp_path: Path) -> None:
    done = call(command("-v", "adapter=dorra"), tmp_path)
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_help_names_the_groups(tmp_path: Path) -> None:
    done = call(command("--help"), tmp_path)
    assert done.returncode == 0
    for word in ("adapter: dora, full, lora, none", "nano", "freeze=2,4"):
        assert word in done.stdout


def test_resume_of_no_run_folder_is_refused(tmp_path: Path) -> None:
    done = call(tinyrm("resume", "nothing"), tmp_path)
    assert done.returncode == 2
    assert "no run folder" in done.stderr


def test_importing_changes_nothing() -> None:
    probe = "import logging, signal, sys; import tinyrm; print(len(logging.root.handlers), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.split() == ["0", "False"]


def test_the_cache_is_shown_and_cleared(tmp_path: Path) -> None:
    place = tmp_path / "kept"
    done = call(command(*SMALL, "speed.prefix=on", f"data.cache_dir={place}"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Storing the output of the 2 frozen layers" in done.stderr + done.stdout
    shown = call(tinyrm("cache", "show", "--dir", str(place)), tmp_path).stdout
    assert re.search(r"prefix: [1-9]\d*\.\d MB \(output of frozen layers; speed\.prefix_gb=8\)", shown), shown
    assert "tokens: " in shown
    cleared = call(tinyrm("cache", "clear", "--dir", str(place)), tmp_path)
    assert cleared.returncode == 0 and "MB removed (output of frozen layers)" in cleared.stdout
    assert list(place.iterdir()) == []
