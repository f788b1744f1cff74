"""One contract, which every launcher keeps; through the toy app, as a person would type it."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

NAMED = "hydra.sweeper.settings.name=s"


def trials(folder: Path) -> list[dict[str, Any]]:
    """trials.csv, which must agree with trials.parquet."""
    with (folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = pq.read_table(folder / "trials.parquet").to_pylist()
    assert [{k: str(v) if v is not None else "" for k, v in row.items()} for row in columns] == rows
    return columns


@pytest.mark.parametrize(
    "launcher",
    [
        ["hydra/launcher=local", "hydra.sweeper.settings.workers=2"],
        ["hydra/launcher=basic"],
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        ["hydra/launcher=submitit_local", "hydra.sweeper.settings.workers=2"],
    ],
    ids=lambda overrides: overrides[0].partition("=")[2],
)
class TestEveryLauncher:
    def test_a_grid_completes_resumes_and_extends(self, toy: Any, launcher: list[str]) -> None:
        code, output = toy.run(*launcher, NAMED, "x=1,2", "g=one,two", "y=0")
        assert code == 0, output
        assert "4 to start (4 new points)" in output
        assert toy.noted("begin") == toy.noted("end") == Counter(range(4))
        rows = trials(toy.folder / "multirun" / "s")
        assert [(r["trial"], r["state"], r["params.x"], r["params.g"]) for r in rows] == [
            (0, "complete", 1, "one"),
            (1, "complete", 1, "two"),
            (2, "complete", 2, "one"),
            (3, "complete", 2, "two"),
        ]
        assert [(r["metrics.value"], r["metrics.value.low"], r["metrics.cost"]) for r in rows] == [
            (110.0, 109.0, 1.0),
            (210.0, 209.0, 1.0),
            (120.0, 119.0, 2.0),
            (220.0, 219.0, 2.0),
        ]
        assert [r["overrides"] for r in rows] == ["x=1 g=one", "x=1 g=two", "x=2 g=one", "x=2 g=two"]
        assert {r["attempt"] for r in rows} == {1}
        for number in range(4):
            folder = toy.folder / "multirun" / "s" / str(number)
            assert yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text()) == [
                *(f"runs={toy.notes}", "y=0", f"x={number // 2 + 1}", f"g={('one', 'two')[number % 2]}")
            ]
        assert "y=0 x=2 g=two" in output  # the best, as a line to type

        code, output = toy.run(*launcher, NAMED, "x=1,2", "g=one,two", "y=0")
        assert code == 0, output
        assert "0 to start (4 trials were there before, 4 points are there already)" in output
        assert sum(toy.noted("begin").values()) == 4

        code, output = toy.run(*launcher, NAMED, "x=1,2,3", "g=one,two", "y=0")
        assert code == 0, output
        assert "2 to start (2 new points" in output
        assert toy.noted("end") == Counter(range(6))
        rows = trials(toy.folder / "multirun" / "s")
        assert [r["params.x"] for r in rows] == [1, 1, 2, 2, 3, 3]

    def test_a_trial_that_raises_is_told_and_the_rest_run(self, toy: Any, launcher: list[str]) -> None:
        code, output = toy.run(*launcher, NAMED, "mode=fine,raise,nan")
        assert code == 3, output
        assert "2 of 3 trials failed for good" in output
        assert "trial 1 failed: RuntimeError: this trial raises" in output
        assert "trial 2 nonfinite: FloatingPointError: the loss became NaN" in output
        assert [r["state"] for r in trials(toy.folder / "multirun" / "s")] == ["complete", "failed", "nonfinite"]


EARLY_APP = """
import time
from pathlib import Path
from tinyrm.sweep import App

NOTES = Path(__file__).with_name("imports.txt")

class Early(App):
    preload = ("imported_early", "there_is_none")

    def check(self, config):
        until = time.monotonic() + 30
        while not NOTES.exists() or len(NOTES.read_text().split()) < 2:
            assert time.monotonic() < until, "workers do not import before the checks have ended"
            time.sleep(0.05)
        if config.x == 13:
            raise ValueError("x=13 brings bad luck")
"""
IMPORTED_EARLY = """
import os
from pathlib import Path

with Path(__file__).with_name("imports.txt").open("a") as notes:
    notes.write(f"{os.getpid()}\\n")
"""


class TestEarlyStart:
    def run(self, toy: Any, *overrides: str) -> tuple[int, str, set[str]]:
        (toy.folder / "early_app.py").write_text(EARLY_APP)
        (toy.folder / "imported_early.py").write_text(IMPORTED_EARLY)
        settings = ["hydra.sweeper.settings.workers=2", "hydra.sweeper.app=early_app.Early"]
        code, output = toy.run("hydra/launcher=local", *settings, *overrides)
        return code, output, set((toy.folder / "imports.txt").read_text().split())

    def test_workers_import_while_points_are_checked_and_then_run_them(self, toy: Any) -> None:
        code, output, pids = self.run(toy, NAMED, "x=1,2,3,4")
        assert code == 0, output
        assert len(pids) == 2
        lines = [line.split() for line in toy.notes.read_text().splitlines()]
        assert {line[4] for line in lines if line[0] == "begin"} <= pids
        assert toy.noted("end") == Counter(range(4))
        logs = [p.read_text() for p in (toy.folder / "multirun" / "s" / "workers").glob("*/output.log")]
        assert len(logs) == 2

    def test_none_is_left_where_a_check_fails(self, toy: Any) -> None:
        code, output, pids = self.run(toy, "x=1,13")
        assert code == 2 and "x=13 brings bad luck" in output
        assert len(pids) == 2
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]

    def test_no_more_are_started_than_there_are_points(self, toy: Any) -> None:
        (toy.folder / "imports.txt").write_text("0 ")  # the second that the checks wait for
        code, output, pids = self.run(toy, "x=3")
        assert code == 0, output
        assert len(pids - {"0"}) == 1

    def test_a_jobs_own_environment_comes_before_its_imports(self, toy: Any) -> None:
        (toy.folder / "imports.txt").write_text("0 0 ")
        code, output, pids = self.run(toy, "x=3", "+hydra.job.env_set.OMP_NUM_THREADS=1")
        assert code == 0, output
        assert pids == {"0"}
