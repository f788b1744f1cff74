"""The benchmark of use runs, and finds no wrong or lost answer; its times are nobody's business here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1] / "bench" / "serve.py"


def test_every_part_runs_and_no_answer_is_wrong(cloze_run: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH), str(cloze_run), "--quick", "--out", "found.json"]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found) == {"library", "load", "soak", "grpo"}
    for name in ("concurrency 1", "concurrency 8", "concurrency 64"):
        assert set(found["load"][name]["counts"]) == {"right"}
    assert set(found["load"]["overload"]["counts"]) <= {"right", "status 429"}
    assert set(found["soak"]["counts"]) == {"right"}
    assert 0 <= found["grpo"][0]["first"]["value"] <= 1 and found["grpo"][0]["last"]["n"] == 32
