"""Small models, trained for a few steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyrm.config import compose
from tinyrm.experiment import run

SMALL = [
    "model=tiny",
    "model.shape.num_hidden_layers=2",
    "data.synthetic.train_pairs=60",
    "data.synthetic.dev_pairs=15",
    "data.synthetic.test_pairs=30",
    "trainer.batch_tokens=1024",
    "trainer.accelerator=cpu",
    "freeze=0",
]


def _trained(objective: str, factory: pytest.TempPathFactory) -> Path:
    folder = factory.mktemp(objective)
    run(compose([*SMALL, f"objective={objective}", f"data.cache_dir={folder}/cache"]), folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def cloze_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of the cloze form."""
    return _trained("cloze", tmp_path_factory)


@pytest.fixture(scope="session")
def single_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of Bradley-Terry rewards."""
    return _trained("bradley_terry", tmp_path_factory)


@pytest.fixture(scope="session", params=["cloze", "bradley_terry"])
def run_folder(request: pytest.FixtureRequest) -> Path:
    """Each of the two."""
    found: Path = request.getfixturevalue("cloze_run" if request.param == "cloze" else "single_run")
    return found
