"""The benchmark of speed runs, and its contenders come to the same; their times are nobody's business here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_part_runs_and_the_numbers_agree(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tests" / "bench" / "speed.py"), "--quick", "--threads", "1"]
    command += ["--only", "training,scoring,steps,grid", "--out", "found.json"]  # TRL would have to be downloaded
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert all(own["pairs_per_second"] > 0 for own in found["contenders"].values())
    losses = [own["dev_loss"] for name, own in found["contenders"].items() if name.startswith("ours")]
    assert len(losses) == 4 and max(losses) - min(losses) < 1e-5
    assert found["grid"]["trials"] == 4 and found["grid"]["largest_difference"] < 1e-3
    assert set(found["steps"]["ms"]) == {"lora", "dora", "dora, PEFT's", "full"}
