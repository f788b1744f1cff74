"""`hydra/launcher=ray`, on a Ray of its own and on one that runs already; through the toy app, as a person types it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tinyrm.sweep import SweepError
from tinyrm.sweep.storage import open_storage
from tinyrm.sweep.study import Study

SETTINGS = "hydra.sweeper.settings"
RAY = ["hydra/launcher=ray", f"{SETTINGS}.name=s"]


class TestRay:
    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        if not os.environ.get("CI"):  # where it is missing there, the tests fail
            pytest.importorskip("ray", reason="pip install 'tinyrm[ray]'", exc_type=ImportError)

    def test_workers_share_gpus_and_run_a_grid(self, toy: Any) -> None:
        options = ["hydra.launcher.num_gpus=0.5", "hydra.launcher.init={num_gpus:1,num_cpus:4}"]
        code, output = toy.run(*RAY, *options, "x=1,2,3,4", "mode=fine,raise", "seconds=1", CUDA_VISIBLE_DEVICES="0")
        assert code == 3 and "4 of 8 trials failed for good" in output, output
        assert toy.noted("begin") == Counter(range(8))
        storage = open_storage(f"journal:///{toy.folder}/multirun/sweeps.journal", create=False)
        records = Study(storage, "s", 10).records()
        assert [r.values.get("value") for r in records] == [110.5, None, 120.5, None, 130.5, None, 140.5, None]
        assert {r.devices for r in records} == {"0"}  # half of the only one
        assert len({r.worker for r in records}) == 2
        logs = [p.read_text() for p in (toy.folder / "multirun" / "s" / "workers").glob("*/output.log")]
        assert len(logs) == 2 and any("this trial raises" in log for log in logs)

    def test_more_than_the_cluster_has_is_refused(self, toy: Any) -> None:
        options = ["hydra.launcher.num_gpus=3", "hydra.launcher.init={num_gpus:2,num_cpus:2}"]
        code, output = toy.run(*RAY, *options, "x=1,2", CUDA_VISIBLE_DEVICES="0,1")
        assert code == 2 and "num_gpus=3: the Ray cluster has 2 GPUs in all" in output


class TestAnAddress:
    @pytest.fixture
    def address(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        """A Ray with two GPUs that are only names, started elsewhere; it lets in who has its token."""
        if not os.environ.get("CI"):
            pytest.importorskip("ray", reason="pip install 'tinyrm[ray]'", exc_type=ImportError)
        port, client = free_ports(2)
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: a socket's path must be
        options = ["--head", "--block", "--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={folder}"]
        options += ["--node-ip-address=127.0.0.1", f"--port={port}", f"--ray-client-server-port={client}"]
        options += ["--num-cpus=4", "--num-gpus=2"]
        with (folder / "head.log").open("w") as log:
            head = subprocess.Popen(
                [str(Path(sys.executable).with_name("ray")), "start", *options],
                cwd=folder,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "0,1"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            until = time.monotonic() + 120
            while "Ray runtime started" not in (said := (folder / "head.log").read_text()):
                assert head.poll() is None and time.monotonic() < until, said
                time.sleep(0.2)
            yield f"127.0.0.1:{port}"
        finally:
            head.terminate()  # ends what it has started
            try:
                head.wait(timeout=30)
            finally:
                if head.poll() is None:
                    os.killpg(head.pid, signal.SIGKILL)
                shutil.rmtree(folder, ignore_errors=True)

    def test_workers_join_a_cluster_and_leave_it_running(self, toy: Any, address: str) -> None:
        options = [f"hydra.launcher.address={address}", "hydra.launcher.num_gpus=0.5"]
        code, output = toy.run(*RAY, *options, f"{SETTINGS}.workers=3", "x=1,2,3", "y=0,1", "seconds=1")
        assert code == 0, output
        assert toy.noted("begin") == toy.noted("end") == Counter(range(6))
        storage = open_storage(f"journal:///{toy.folder}/multirun/sweeps.journal", create=False)
        records = Study(storage, "s", 10).records()
        assert [r.values["value"] for r in records] == [110.0, 111.0, 120.0, 121.0, 130.0, 131.0]
        assert len({r.worker for r in records}) == 3
        assert {r.devices for r in records} == {"0", "1"}  # two halves of one, a half of the other


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def test_bad_numbers_are_refused_before_ray_starts(engine: Any) -> None:
    with pytest.raises(SweepError) as refused:
        engine.sweep(lambda config: 1.0, *RAY, "hydra.launcher.num_gpus=-1", "hydra.launcher.max_restarts=-1", "x=1,2")
    assert "num_gpus=-1" in str(refused.value) and "max_restarts=-1" in str(refused.value)
