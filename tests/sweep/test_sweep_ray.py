"""`hydra/launcher=ray` on a real Ray of this machine; through the toy app, as a person types it."""

from __future__ import annotations

import os
from collections import Counter
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


def test_bad_numbers_are_refused_before_ray_starts(engine: Any) -> None:
    with pytest.raises(SweepError) as refused:
        engine.sweep(lambda config: 1.0, *RAY, "hydra.launcher.num_gpus=-1", "hydra.launcher.max_restarts=-1", "x=1,2")
    assert "num_gpus=-1" in str(refused.value) and "max_restarts=-1" in str(refused.value)
