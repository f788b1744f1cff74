"""One experiment end to end: what it leaves behind, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from tinyrm.config import compose
from tinyrm.errors import ConfigError, DataError, ModelError, OutOfMemoryError
from tinyrm.evaluation.predictions import DEV_PREDICTIONS, read_predictions
from tinyrm.evaluation.scoring import score
from tinyrm.experiment import ExperimentResult, prepare, run
from tinyrm.model import int8_net, load_model
from tinyrm.prompting import tokenize
from tinyrm.runs import read_record

SMALL = [
    "model=tiny",
    "model.shape.num_hidden_layers=3",
    "data.synthetic.train_pairs=60",
    "data.synthetic.dev_pairs=15",
    "data.synthetic.test_pairs=30",
    "trainer.batch_tokens=1024",
    "trainer.accelerator=cpu",
]


@pytest.fixture(scope="module", params=["cloze", "bradley_terry"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    folder = tmp_path_factory.mktemp(request.param)
    return run(compose([*SMALL, f"objective={request.param}", f"data.cache_dir={folder}/cache"]), folder / "run")


def test_the_folder_holds_what_is_promised(finished: ExperimentResult) -> None:
    names = {p.relative_to(finished.folder).as_posix() for p in finished.folder.rglob("*") if p.is_file()}
    promised = {
        "run.json", "metrics.json", "predictions.parquet", "dev_predictions.parquet", "probes.json",
        "curves/0/metrics.csv", "checkpoints/last.ckpt", "checkpoints/best.safetensors",
        "checkpoints/best_dev.safetensors", "checkpoints/history.json", "model/README.md", "model/merged/config.json",
        "model/merged/model.safetensors", "model/merged/tinyrm.json", "model/merged/tokenizer.json",
        "model/adapter/adapter_config.json", "model/adapter/adapter_model.safetensors",
    }  # fmt: skip
    assert promised <= names
    assert not [n for n in names if n.endswith((".tmp", ".bin", ".pkl"))]


def test_the_record_says_what_ran(finished: ExperimentResult) -> None:
    record = read_record(finished.folder)
    assert record is not None
    assert record["state"] == "complete"
    assert record["parameters"]["trained"] < record["parameters"]["all"]
    assert record["padding"] <= 0.05
    assert {"prepare", "tokenize", "build", "train", "evaluate"} <= set(record["seconds"])
    assert record["throughput"]["pairs_per_second"] > 0
    assert record["versions"]["torch"] == torch.__version__
    assert record["config"]["freeze"] == 2
    assert record["seeds"] == {"seed": 0, "split_seed": 0}
    assert record["scoring"] == {"name": "torch", "precision": "32-true", "device": "cpu"}


def test_metrics_carry_n_and_interval_and_follow_from_the_predictions(finished: ExperimentResult) -> None:
    metrics = json.loads((finished.folder / "metrics.json").read_text())
    kept = read_predictions(finished.folder / "predictions.parquet")
    assert len(kept) == 30
    right = (kept.scores.log_odds > 0).sum() + 0.5 * (kept.scores.log_odds == 0).sum()
    pooled = metrics["pooled"]["accuracy"]
    assert pooled["n"] == 30
    assert pooled["value"] == pytest.approx(right / 30)
    assert pooled["low"] < pooled["value"] < pooled["high"]
    assert set(metrics["sections"]) == {"chat", "reasoning", "safety"}
    assert metrics["dev"]["accuracy"] == finished.dev_accuracy
    assert metrics["scoring"] == {"name": "torch", "precision": "32-true", "device": "cpu"}


@pytest.mark.parametrize("objective", ["cloze", "bradley_terry"])
def test_dev_pairs_have_the_log_odds_of_the_weights_that_were_kept(tmp_path: Path, objective: str) -> None:
    again = ["trainer.precision=32", "trainer.evaluations_per_epoch=3", "tracking=none", "adapter=full"]
    again.append("optimizer.lr=0.01")
    config = compose([*SMALL, *again, f"objective={objective}"])
    result = run(config, tmp_path)
    dev, best = read_predictions(tmp_path / DEV_PREDICTIONS), result.record["dev"]
    assert (dev.log_odds > 0).mean() == pytest.approx(result.dev_accuracy)
    assert np.logaddexp(0, -dev.log_odds).mean() == pytest.approx(best["loss"], abs=1e-6)
    assert dev.order_consistent.mean() == pytest.approx(best["order_consistent"])
    saved, pairs = load_model(tmp_path / "model" / "merged"), prepare(config).data.dev
    assert dev.id == tuple(pair.id for pair in pairs)
    encoded = saved.layout.bind(tokenize(pairs, saved.tokenizer, spaced=saved.layout.spaced))
    merged = score(saved.net, encoded, batch_tokens=512)
    assert dev.log_odds_chosen_first == pytest.approx(merged.chosen_first, abs=1e-5)
    assert dev.log_odds_chosen_second == pytest.approx(merged.chosen_second, abs=1e-5)
    assert np.ptp(dev.log_odds_chosen_first) > 1e-3
    assert dev.tokens.tolist() == merged.tokens.tolist()


def test_the_saved_model_gives_the_log_odds_that_were_recorded(finished: ExperimentResult) -> None:
    kept = read_predictions(finished.folder / "predictions.parquet")
    pairs = prepare(compose([*SMALL])).data.test
    for part in ("merged", "adapter"):
        saved = load_model(finished.folder / "model" / part)
        encoded = saved.layout.bind(tokenize(pairs, saved.tokenizer, spaced=saved.layout.spaced))
        with torch.no_grad():
            first = saved.net(encoded.collate(range(len(pairs)), [True] * len(pairs))).double().numpy()
        assert abs(first - kept.scores.chosen_first).max() < 1e-5


def test_a_folder_of_another_config_is_not_overwritten(finished: ExperimentResult) -> None:
    before = (finished.folder / "metrics.json").read_bytes()
    with pytest.raises(ConfigError, match=r"holds a run of another config.*hydra\.run\.dir"):
        run(compose([*SMALL, "optimizer.lr=0.5"]), finished.folder)
    assert (finished.folder / "metrics.json").read_bytes() == before


def test_problems_of_config_model_and_data_are_told_together() -> None:
    config = compose(
        ["model=tiny", "freeze=12", "prompt.verbalizers.a=incomprehensible-word", "data.sections=[reasonning]"]
    )
    with pytest.raises(ConfigError) as refused:
        prepare(config)
    text = "\n".join(refused.value.problems)
    assert len(refused.value.problems) == 3
    assert "freeze=12 is more than the 6 encoder layers" in text
    assert "`python run.py model=tiny freeze=3`" in text
    assert "`python run.py model=tiny freeze=5`" in text
    assert "must be one token" in text
    assert "'reasoning'" in text


def test_a_data_problem_alone_stays_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        prepare(compose(["model=tiny", "data=jsonl", f"data.path={tmp_path}/nowhere.jsonl"]))


@pytest.mark.parametrize("adapter", ["lora", "full", "none"])
def test_every_adapter_trains_and_saves(tmp_path: Path, adapter: str) -> None:
    result = run(compose([*SMALL, f"adapter={adapter}", "tracking=none"]), tmp_path)
    assert result.record["state"] == "complete"
    assert (tmp_path / "model" / "adapter").is_dir() == (adapter == "lora")


@pytest.mark.parametrize(
    ("adapter", "wanted", "kept"),
    [
        ("dora", "merged", {"adapter", "base", "merged"}),
        ("dora", "adapter", {"adapter", "base"}),
        ("full", "adapter", {"merged"}),
        ("dora", "none", set()),
    ],
)
def test_what_is_kept_of_the_model(tmp_path: Path, adapter: str, wanted: str, kept: set[str]) -> None:
    config = compose([*SMALL, f"adapter={adapter}", f"trainer.save_model={wanted}", "tracking=none"])
    result = run(config, tmp_path)
    assert {path.name for path in (tmp_path / "model").glob("*") if path.is_dir()} == kept
    if not kept:
        assert not (tmp_path / "model").exists()
        with pytest.raises(ModelError, match=r"trainer\.save_model=none"):
            load_model(tmp_path)
        return
    saved = load_model(tmp_path)
    pairs = prepare(config).data.test
    encoded = saved.layout.bind(tokenize(pairs, saved.tokenizer, spaced=saved.layout.spaced))
    with torch.no_grad():
        first = saved.net(encoded.collate(range(len(pairs)), [True] * len(pairs))).double().numpy()
    assert abs(first - read_predictions(result.folder / "predictions.parquet").scores.chosen_first).max() < 1e-5


@pytest.mark.parametrize(
    "raised",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
    ids=["gpu", "cpu", "python"],
)
def test_running_out_of_memory_says_what_would_help(tmp_path: Path, raised: BaseException) -> None:
    class Full(Callback):
        def on_train_start(self, *args: object) -> None:
            raise raised

    with pytest.raises(OutOfMemoryError, match=r"trainer\.batch_tokens \(now 1024\) or trainer\.batch_pairs") as told:
        run(compose([*SMALL, "tracking=none"]), tmp_path, callbacks=[Full()])
    assert str(raised) in str(told.value)
    assert told.value.__cause__ is raised
    record = read_record(tmp_path)
    assert record is not None
    assert (record["state"], record["error"]) == ("out_of_memory", str(told.value))


def test_another_error_stays_what_it_is(tmp_path: Path) -> None:
    class Broken(Callback):
        def on_train_start(self, *args: object) -> None:
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match=r"^something else$"):
        run(compose([*SMALL, "tracking=none"]), tmp_path, callbacks=[Broken()])
    assert (read_record(tmp_path) or {})["state"] == "failed"


def test_a_specialist_sees_its_section_only(tmp_path: Path) -> None:
    result = run(compose([*SMALL, "data.sections=[safety]", "tracking=none"]), tmp_path)
    assert set(result.evaluation.sections) == {"safety"}
    assert set(result.record["data"]["kept"]) == {"safety"}


def test_what_scores_is_checked_first_and_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose([*SMALL, "evaluation.backend=int8", "tracking=none"])
    monkeypatch.setattr("tinyrm.evaluation.backends.can_multiply_int8", lambda: False)
    with pytest.raises(ModelError, match="int8 needs a CPU with AVX512-VNNI"):
        prepare(config)
    monkeypatch.setattr("tinyrm.evaluation.backends.can_multiply_int8", lambda: True)
    result = run(config, tmp_path)
    expected = {"name": "int8", "precision": "32-true", "device": "cpu"}
    assert result.record["scoring"] == json.loads((tmp_path / "metrics.json").read_text())["scoring"] == expected
    assert "scored by int8 in 32-true on cpu" in (tmp_path / "model" / "README.md").read_text()
    saved = load_model(tmp_path / "model" / "merged")  # what is saved is the model, not how it was scored
    assert all(parameter.dtype == torch.float32 for parameter in saved.net.parameters())
    pairs = prepare(config).data.test
    encoded = saved.layout.bind(tokenize(pairs, saved.tokenizer, spaced=saved.layout.spaced))
    kept = read_predictions(tmp_path / "predictions.parquet").scores.log_odds
    exact, int8 = score(saved.net, encoded, batch_tokens=512), score(int8_net(saved.net), encoded, batch_tokens=512)
    assert kept == pytest.approx(int8.log_odds, abs=1e-6)
    assert abs(kept - exact.log_odds).max() > 1e-5


def test_rewardbench_from_a_local_file(tmp_path: Path) -> None:
    """Its own schema; training pairs with a benchmark prompt are dropped; missing subsets are said, never averaged."""
    shared = prepare(compose([*SMALL])).data.train[0].prompt_text
    rows = [
        {"id": i, "subset": subset, "prompt": prompt, "chosen": f"yes {i}", "rejected": "no", "chosen_model": "m"}
        for i, (subset, prompt) in enumerate(
            [("alpacaeval-easy", "p1"), ("hep-python", "p2"), ("donotanswer", shared), ("refusals-dangerous", "p3")]
        )
    ]
    (tmp_path / "bench.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    bench = ["evaluation=rewardbench", f"evaluation.path={tmp_path}/bench.jsonl", "tracking=none"]
    result = run(compose([*SMALL, *bench]), tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["overall"]["accuracy"]["value"] is None
    assert "math-prm" in metrics["missing"]
    assert metrics["subsets"]["donotanswer"]["accuracy"]["n"] == 1
    dropped = result.record["data"]["dropped"]
    assert any("benchmark" in reason and count >= 1 for reason, count in dropped.items())
    scores = json.loads(next((tmp_path / "run" / "rewardbench").glob("eval-set/**/*.json")).read_text())
    assert scores["hep-python"] in (0.0, 0.5, 1.0)
