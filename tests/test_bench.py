"""The benchmark of speed runs, and its contenders come to the same; their times are nobody's business here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def bench(folder: Path, parts: str) -> dict[str, Any]:
    """The figures of some parts; TRL's, which would have to be downloaded, is none of them."""
    command = [sys.executable, str(ROOT / "tests" / "bench" / "speed.py"), "--quick", "--threads", "1"]
    command += ["--only", parts, "--out", "found.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    assert all(own["pairs_per_second"] > 0 for own in found["contenders"].values())
    return found


def test_training_comes_to_the_same_loss_whatever_is_saved(tmp_path: Path) -> None:
    found = bench(tmp_path, "training,steps,growth")
    losses = [own["dev_loss"] for name, own in found["contenders"].items() if name.startswith("ours")]
    assert len(losses) == 4 and max(losses) - min(losses) < 1e-5
    assert set(found["steps"]["ms"]) == {"lora", "dora", "dora, PEFT's", "full"}
    assert set(found["growth"]["axes"]) == {"pairs", "length", "layers"}


def test_what_scores_in_float32_gives_the_same_scores(tmp_path: Path) -> None:
    changed = bench(tmp_path, "scoring")["losses"]
    assert set(changed) == {f"score: ours, {way}" for way in ("bf16", "int8", "onnx", "store filled")}
    assert all(changed[f"score: ours, {way}"]["largest_difference"] < 1e-4 for way in ("onnx", "store filled"))
    assert all(changed[f"score: ours, {way}"]["largest_difference"] > 0 for way in ("bf16", "int8"))


def test_a_grid_comes_to_the_same_numbers(tmp_path: Path) -> None:
    grid = bench(tmp_path, "grid")["grid"]
    assert grid["trials"] == 4 and grid["largest_difference"] < 1e-3
    assert all(peak > 0 for peak in grid["peak_memory_mib"].values())
