"""Which devices a trial sees, and that the engine is a plugin wherever its folder lies."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import tinyrm.sweep
from tinyrm.sweep import SweepError, devices
from tinyrm.sweep.devices import slots

ENGINE = Path(tinyrm.sweep.__file__).parent


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setattr(devices, "usable_cores", lambda: 16)


@pytest.mark.usefixtures("four")
class TestSlots:
    def seen(self, *share: Any) -> list[str]:
        return [slot.environment()["CUDA_VISIBLE_DEVICES"] for slot in slots(*share)]

    def test_each_worker_sees_one_and_no_two_share(self) -> None:
        assert self.seen(None, 1, 1) == ["0", "1", "2", "3"]
        assert self.seen(4, 1, 1) == ["0", "1", "2", "3"]
        assert self.seen(2, 1, 1) == ["0", "1"]

    def test_two_devices_a_trial(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.seen(None, 2, 1) == ["0,1", "2,3"]
        assert self.seen(None, 4, 1) == ["0,1,2,3"]
        assert self.seen(None, 3, 1) == ["0,1,2"]  # one is left over
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, GPU-b")
        assert self.seen(None, 2, 1) == ["GPU-a,GPU-b"]

    def test_two_trials_a_device(self) -> None:
        assert Counter(self.seen(None, 1, 2)) == Counter({"0": 2, "1": 2, "2": 2, "3": 2})
        assert self.seen(4, 1, 2) == ["0", "1", "2", "3"]  # spread before sharing

    def test_threads_are_shared(self) -> None:
        assert [s.environment()["OMP_NUM_THREADS"] for s in slots(None, 1, 1)] == ["4"] * 4
        assert [s.environment()["MKL_NUM_THREADS"] for s in slots(None, 2, 1)] == ["8"] * 2
        assert {s.threads for s in slots(None, 1, 8)} == {1}

    def test_threads_that_are_given_stay(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        assert "OMP_NUM_THREADS" not in slots(None, 1, 1)[0].environment()

    @pytest.mark.parametrize("none", ["", "-1", "NoDevFiles"])
    def test_without_devices_cores_are_shared(self, monkeypatch: pytest.MonkeyPatch, none: str) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        found = slots(3, 1, 1)
        assert [(s.devices, s.threads) for s in found] == [((), 5)] * 3
        assert "CUDA_VISIBLE_DEVICES" not in found[0].environment()

    @pytest.mark.parametrize(
        ("share", "complaint"),
        [
            ((None, 5, 1), "sweep.devices_per_trial=5, but 4 are visible (0,1,2,3)."),
            (
                (5, 1, 1),
                "sweep.workers=5, but 4 visible devices make room for 4: use fewer, or sweep.trials_per_device=2",
            ),
            ((3, 2, 1), "sweep.workers=3, but 4 visible devices make room for 2"),
            ((None, 2, 2), "cannot both be above 1"),
            ((None, 0, 1), "sweep.devices_per_trial=0 must be at least 1."),
            ((0, 1, 1), "sweep.workers=0 must be at least 1"),
        ],
    )
    def test_what_does_not_fit_is_told(self, share: tuple[Any, ...], complaint: str) -> None:
        with pytest.raises(SweepError) as caught:
            slots(*share)
        assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "groups"),
    [([], {"0", "1", "2", "3"}), (["hydra.sweeper.settings.devices_per_trial=2"], {"0,1", "2,3"})],
    ids=["one", "two"],
)
def test_trials_see_their_own_devices(toy: Any, settings: list[str], groups: set[str]) -> None:
    code, output = toy.run("x=range(0,8)", "seconds=1.5", *settings, CUDA_VISIBLE_DEVICES="0,1,2,3")
    assert code == 0, output
    lines = [line.split() for line in toy.notes.read_text().splitlines()]
    begins = {int(f[1]): (f[3], f[4]) for f in lines if f[0] == "begin"}
    assert sorted(begins) == list(range(8))
    assert {seen for seen, _ in begins.values()} <= groups
    of_worker: dict[str, set[str]] = {}
    for seen, worker in begins.values():
        of_worker.setdefault(worker, set()).add(seen)
    assert all(len(seen) == 1 for seen in of_worker.values())  # a worker keeps its devices
    active: dict[str, str] = {}
    for fields in lines:  # no two trials share a device at any time
        if fields[0] == "begin":
            assert fields[3] not in active.values()
            active[fields[1]] = fields[3]
        elif fields[0] == "end":
            del active[fields[1]]


APP = """
import hydra
from pull import Result, register

register()


@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(config):
    return Result({"value": config.x * 2})


from hydra.core.config_store import ConfigStore

ConfigStore.instance().store("config", {
    "defaults": [{"override hydra/sweeper": "pull"}, {"override hydra/launcher": "local"}], "x": 1,
})
main()
"""


def test_the_folder_is_a_plugin_under_any_name(tmp_path: Path) -> None:
    shutil.copytree(ENGINE, tmp_path / "pull", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    (tmp_path / "app.py").write_text(APP)
    command = ["-m", "x=1,2,3", "hydra.sweeper.settings.name=s", "hydra.sweeper.settings.workers=1"]
    done = subprocess.run(
        [sys.executable, "app.py", *command],
        cwd=tmp_path,
        env={**os.environ, "HYDRA_FULL_ERROR": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = (tmp_path / "multirun" / "s" / "trials.csv").read_text().splitlines()
    assert [row.split(",")[:4] for row in rows[1:]] == [
        ["0", "complete", "1", "2.0"],
        ["1", "complete", "2", "4.0"],
        ["2", "complete", "3", "6.0"],
    ]


def test_the_engine_imports_nothing_of_the_application() -> None:
    found = []
    for path in sorted(ENGINE.glob("**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = ["tinyrm" if node.level > 1 else node.module or ""] if node.level != 1 else []
            found += [f"{path.name}: {name}" for name in names if name.split(".")[0] == "tinyrm"]
    assert found == []
