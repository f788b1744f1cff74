"""What a process keeps: a warm run gives what a cold one gives, and what has changed on disk is read again."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tinyrm import reuse
from tinyrm.config import EvaluationConfig, TinyRMConfig, VerbalizerConfig, compose
from tinyrm.errors import DataError
from tinyrm.evaluation.predictions import read_predictions
from tinyrm.experiment import prepare, run
from tinyrm.model import build_net, find_backbone, load_weights, verbalizer_ids
from tinyrm.prompting import Layout

SMALL = [
    "model=tiny",
    "model.shape.num_hidden_layers=3",
    "data.synthetic.train_pairs=24",
    "data.synthetic.dev_pairs=9",
    "data.synthetic.test_pairs=15",
    "prompt.max_tokens=128",
    "trainer.batch_tokens=1024",
    "trainer.accelerator=cpu",
    "optimizer.lr=0.01",
    "tracking=none",
]
MINILM = ["model=minilm", *SMALL[2:], "freeze=5", "prompt.max_tokens=64"]
TRIALS: list[list[str]] = [
    ["adapter.rank=4"],
    ["adapter=full", "freeze=0", "seed=1"],
    ["objective=bradley_terry", "adapter=lora", "seed=1"],
    ["prompt=terse", "adapter=none", "seed=2"],
    ["adapter.rank=4"],
]


@pytest.fixture(autouse=True)
def cold() -> Iterator[None]:
    reuse.clear()
    yield
    reuse.clear()


def results(folder: Path) -> dict[str, bytes]:
    """Everything in a run folder that a config decides, by name."""
    scores = read_predictions(folder / "predictions.parquet").scores
    found = {"log_odds": scores.chosen_first.tobytes() + scores.chosen_second.tobytes()}
    for file in (folder / "checkpoints" / "best.safetensors", *(folder / "model").rglob("*")):
        if file.is_file():
            found[str(file.relative_to(folder))] = file.read_bytes()
    return found


@pytest.mark.parametrize("start", [SMALL, MINILM], ids=["random", "pretrained"])
def test_a_warm_run_is_equal_to_a_cold_one_bit_for_bit(start: list[str], tmp_path: Path) -> None:
    for number, trial in enumerate(TRIALS):
        run(compose([*start, *trial]), tmp_path / f"warm{number}")
    for number, trial in enumerate(TRIALS[1:], start=1):
        reuse.clear()
        run(compose([*start, *trial]), tmp_path / f"cold{number}")
        warm, again = results(tmp_path / f"warm{number}"), results(tmp_path / f"cold{number}")
        assert warm.keys() == again.keys()
        assert [name for name in warm if warm[name] != again[name]] == []


@pytest.mark.parametrize("objective", ["cloze", "bradley_terry"])
@pytest.mark.parametrize("model", ["tiny", "minilm"])
def test_a_net_starts_from_the_same_weights_whatever_was_done_to_those_before(model: str, objective: str) -> None:
    config = compose([f"model={model}", f"objective={objective}", "adapter=full", "freeze=0"])
    for seed in (0, 1, 0):
        config.seed = seed
        net = reuse.base(config.model).net(config)
        plain = cold_net(config)
        assert all(torch.equal(a, b) for a, b in zip(net.parameters(), plain.parameters(), strict=True))
        with torch.no_grad():
            for parameter in net.parameters():
                if parameter.requires_grad:
                    parameter.add_(1.0)


def cold_net(config: TinyRMConfig) -> torch.nn.Module:
    backbone = find_backbone(config.model)
    words = verbalizer_ids(backbone.tokenizer, VerbalizerConfig())
    return build_net(
        load_weights(backbone, config.objective.kind, seed=config.seed),
        backbone.family,
        objective=config.objective.kind,
        freeze=config.freeze,
        adapter=config.adapter,
        verbalizers=words,
        seed=config.seed,
    )


def test_weights_are_read_once_unless_they_depend_on_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, int]] = []

    def counted(backbone: object, objective: str, *, seed: int) -> object:
        read.append((objective, seed))
        return real(backbone, objective, seed=seed)  # type: ignore[arg-type]

    real = reuse.read_weights
    monkeypatch.setattr(reuse, "read_weights", counted)
    for objective in ("cloze", "bradley_terry"):
        for seed in (0, 0, 1):
            config = compose(["model=minilm", f"objective={objective}", f"seed={seed}"])
            reuse.base(config.model).net(config)
    # The masked-LM head starts from the identity; a classification head is drawn.
    assert read == [("cloze", 0), ("bradley_terry", 0), ("bradley_terry", 1)]


def test_a_grid_over_one_data_set_reads_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = reuse.load
    monkeypatch.setattr(reuse, "load", lambda *args, **more: calls.append(1) or real(*args, **more))
    first = prepare(compose(SMALL))
    second = prepare(compose([*SMALL, "adapter.rank=2", "freeze=1", "prompt=terse", "seed=3"]))
    assert second.pairs is first.pairs
    assert second.backbone.tokenizer is first.backbone.tokenizer
    assert second.backbone.config is not first.backbone.config
    prepare(compose([*SMALL, "data.split_seed=1"]))
    assert len(calls) == 2


def write(path: Path, word: str, count: int = 12) -> None:
    rows = [{"prompt": f"{word} {n}?", "chosen": f"yes {n}", "rejected": f"no {n}"} for n in range(count)]
    path.write_text("\n".join(json.dumps(row) for row in rows))


@pytest.mark.parametrize("folder", [False, True])
def test_a_file_that_changed_is_read_again(folder: bool, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    write(path, "first")
    config = compose(["model=tiny", "data=jsonl", f"data.path={tmp_path if folder else path}"])
    before = prepare(config)
    assert prepare(config).pairs is before.pairs
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    write(path, "other")  # of the same size
    os.utime(path, ns=times)
    after = prepare(config)
    assert {pair.prompt_text.split()[0] for pair in after.data.train} == {"other"}
    assert after.pairs.fingerprints != before.pairs.fingerprints
    path.unlink()
    with pytest.raises(DataError):
        prepare(config)


def test_a_benchmark_that_changed_is_read_again(tmp_path: Path) -> None:
    write(tmp_path / "bench.jsonl", "first")
    config = compose(["model=tiny", f"evaluation.path={tmp_path}/bench.jsonl"])
    first = prepare(config).pairs
    assert {pair.prompt_text for pair in first.reported} == {f"first {n}?" for n in range(12)}
    write(tmp_path / "bench.jsonl", "second")
    assert {pair.prompt_text for pair in prepare(config).pairs.reported} == {f"second {n}?" for n in range(12)}


def test_tokens_are_kept_by_tokenizer_and_blanks_and_cannot_be_written() -> None:
    prepared = prepare(compose(SMALL))
    made = {}
    for objective in ("cloze", "bradley_terry"):
        layout = Layout.of(objective, prepared.config.prompt, prepared.backbone.tokenizer, 2)
        made[objective] = prepared.pairs.encode(layout, prepared.backbone, None)[0].tokens
        assert prepared.pairs.encode(layout, prepared.backbone, None)[0].tokens is made[objective]
    with pytest.raises(ValueError, match="read-only"):
        made["cloze"].ids[0] = 1
    other = find_backbone(prepared.config.model)
    assert prepared.pairs.encode(layout, other, None)[0].tokens is not made["bradley_terry"]


def test_the_oldest_goes_and_what_raises_is_not_kept() -> None:
    last: reuse.Last[int] = reuse.Last(2)
    made: list[str] = []

    def make(key: str) -> int:
        return last.get(key, lambda: made.append(key) or len(made))

    assert [make("a"), make("b"), make("a"), make("c"), make("a"), make("b")] == [1, 2, 1, 3, 1, 4]
    assert last.get("b", lambda: 9, fits=lambda value: value != 4) == 9
    with pytest.raises(ZeroDivisionError):
        last.get("d", lambda: 1 // 0)
    assert last.get("d", lambda: 7) == 7


def test_own_test_split_or_benchmark() -> None:
    config = compose(SMALL)
    assert reuse.benchmark(EvaluationConfig()) is None
    assert reuse.pairs(config.data, config.evaluation).reported is prepare(config).data.test


def test_settling_hides_what_is_kept_from_the_collector() -> None:
    before = gc.get_freeze_count()
    reuse.settle()
    try:
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()
