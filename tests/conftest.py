"""What every test shares: no network, no writing outside its own folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["WANDB_MODE"] = "disabled"  # tests of tracking say otherwise; no key of the person who runs them is used
os.environ.pop("WANDB_API_KEY", None)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported; threads only slow small models down
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from hypothesis import settings

from tinyrm.config import ModelConfig, compose
from tinyrm.model import Backbone, find_backbone
from tinyrm.types import Message, PreferencePair

# CI tries the same examples every time: what fails there fails for a change, and anywhere else new ones are looked for.
settings.register_profile("ci", derandomize=True, database=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

PairMaker = Callable[..., PreferencePair]
Train = Callable[[Sequence[str]], Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default of `data.cache_dir` lies in the test's own folder."""
    monkeypatch.setenv("TINYRM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def make_pair() -> PairMaker:
    def make(
        prompt: str | tuple[Message, ...] = "What is 2+2?",
        chosen: str = "It is 4.",
        rejected: str = "It is 5.",
        id: str = "p",
    ) -> PreferencePair:
        return PreferencePair(id, prompt, chosen, rejected, section="reasoning", subset="sums", source="test")

    return make


@pytest.fixture(scope="session")
def minilm() -> Backbone:
    """Config and tokenizer of the packaged default; no weights."""
    return find_backbone(ModelConfig(id="minilm", source="packaged", path="sentence-transformers/all-MiniLM-L6-v2"))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Trains a tiny model for a few steps; gives its run folder."""
    from tinyrm.experiment import run

    small = [
        "model=tiny",
        "model.shape.num_hidden_layers=2",
        "data.synthetic.train_pairs=60",
        "data.synthetic.dev_pairs=15",
        "data.synthetic.test_pairs=30",
        "trainer.batch_tokens=1024",
        "trainer.accelerator=cpu",
        "freeze=0",
    ]

    def train(overrides: Sequence[str]) -> Path:
        folder = tmp_path_factory.mktemp("trained")
        run(compose([*small, *overrides, f"data.cache_dir={folder}/cache"]), folder / "run")
        return folder / "run"

    return train


@pytest.fixture(scope="session")
def cloze_run(trained: Train) -> Path:
    """A run folder of the cloze form."""
    return trained(["objective=cloze"])


@pytest.fixture(scope="session")
def single_run(trained: Train) -> Path:
    """A run folder of Bradley-Terry rewards."""
    return trained(["objective=bradley_terry"])
