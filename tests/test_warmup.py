"""Warm-ups: made once, found again, told; text that evaluates is never in them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file

from tinyrm import cli, reuse, warmup
from tinyrm.config import TinyRMConfig, compose
from tinyrm.data import normalized_prompt
from tinyrm.errors import ConfigError, DataError, Interrupted
from tinyrm.experiment import ExperimentResult, prepare, run
from tinyrm.files import lock_file
from tinyrm.model import load_model, load_weights
from tinyrm.prompting import tokenize
from tinyrm.runs import read_record

ROOT = Path(__file__).resolve().parents[1]
SMALL = [
    "model=tiny",
    "model.shape.num_hidden_layers=2",
    "freeze=1",
    "data.synthetic.train_pairs=60",
    "data.synthetic.dev_pairs=12",
    "data.synthetic.test_pairs=12",
    "prompt.max_tokens=128",
    "trainer.batch_tokens=1024",
    "trainer.accelerator=cpu",
    "trainer.progress=off",
    "tracking=none",
    "warmup.tokens=4096",
    "warmup.length=64",
    "warmup.batch_tokens=512",
    "warmup.lr=1e-2",
]


def small(*more: str) -> TinyRMConfig:
    return compose([*SMALL, *more])


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module", params=["mlm", "sft"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ExperimentResult:
    folder = tmp_path_factory.mktemp(request.param)
    return run(small(f"warmup={request.param}", f"data.cache_dir={folder}/cache"), folder / "run")


def kept(finished: ExperimentResult) -> Path:
    """Where its warm-up lies."""
    return finished.folder.parent / "cache" / "warmups" / str(finished.record["warmup"]["key"])


class TestMade:
    def test_it_is_recorded(self, finished: ExperimentResult) -> None:
        record = read_record(finished.folder)
        assert record is not None
        told, kind = record["warmup"], record["config"]["warmup"]["kind"]
        assert told["made"] and told["tokens"] > 2000 and told["left_out"] == {"pairs": 0}
        assert told["after"]["loss"] < told["before"]["loss"] - 0.5  # random weights: uniform over 30,522 tokens
        assert ("instructions" in told["after"]) == (kind == "sft")
        assert 0 < told["training_seconds"] < told["seconds"] == pytest.approx(record["seconds"]["warmup"], abs=0.5)
        # The backbone is the one that was asked for, wherever the run went on from.
        assert record["config"]["model"]["id"] == "tiny" and record["config"]["model"]["source"] == "random"
        card = (finished.folder / "model" / "README.md").read_text(encoding="utf-8")
        assert f"warmed up (warmup={kind}) on {told['tokens']:,} tokens of the training pairs" in card

    def test_the_run_begins_with_its_weights(self, finished: ExperimentResult) -> None:
        warmed = weights(kept(finished) / "model")
        frozen = weights(finished.folder / "model" / "merged")
        name = "bert.encoder.layer.0.attention.self.query.weight"
        assert torch.equal(frozen[name], warmed[name])
        drawn = load_weights(prepare(small()).backbone, "cloze", seed=0).state_dict()
        assert not torch.allclose(drawn[name], warmed[name])

    def test_only_what_is_needed_is_kept(self, finished: ExperimentResult) -> None:
        assert not (kept(finished) / "checkpoints").exists()
        assert {"run.json", "model"} <= {p.name for p in kept(finished).iterdir()}

    def test_the_saved_model_needs_no_cache(self, finished: ExperimentResult, tmp_path: Path) -> None:
        folder = tmp_path / "copy"
        shutil.copytree(finished.folder / "model", folder)
        pairs = prepare(finished_config(finished)).data.test
        found = []
        for part in ("merged", "adapter"):
            saved = load_model(folder / part)
            encoded = saved.layout.bind(tokenize(pairs, saved.tokenizer, spaced=saved.layout.spaced))
            with torch.no_grad():
                found.append(saved.net(encoded.collate(range(len(pairs)), [True] * len(pairs))))
        assert torch.allclose(found[0], found[1], atol=1e-5)
        assert (
            json.loads((folder / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == "../base"
        )

    def test_the_next_run_finds_it(self, finished: ExperimentResult, tmp_path: Path) -> None:
        before = (kept(finished) / "model" / "model.safetensors").stat().st_mtime_ns
        config = finished_config(finished)
        config.seed = 1
        record = run(config, tmp_path).record
        assert record["warmup"]["key"] == kept(finished).name and not record["warmup"]["made"]
        assert (kept(finished) / "model" / "model.safetensors").stat().st_mtime_ns == before


def finished_config(finished: ExperimentResult) -> TinyRMConfig:
    cache = finished.folder.parent / "cache"
    return small(f"warmup={finished.record['config']['warmup']['kind']}", f"data.cache_dir={cache}")


def key(*more: str) -> str:
    prepared = prepare(small(*more))
    return warmup.key(prepared.config, prepared.pairs, prepared.backbone)


class TestKey:
    def test_what_does_not_decide_it_shares_it(self) -> None:
        first = key("warmup=mlm")
        assert key("warmup=mlm", "seed=3", "adapter=full", "freeze=0", "prompt=judge", "optimizer.lr=1e-5") == first
        assert key("warmup=mlm", "objective=bradley_terry", "trainer.threads=1", "warmup.plain_share=0.9") == first

    @pytest.mark.parametrize(
        "change",
        [
            "warmup.tokens=5000",
            "warmup.seed=1",
            "warmup.lr=2e-2",
            "model.shape.hidden_size=16",
            "data.synthetic.train_pairs=63",
            "data.synthetic.test_pairs=15",  # whose prompts must not be learnt from
            "prompt=judge",
            "prompt.verbalizers.a=yes",
            "warmup.passages.spoilers=[elsewhere]",
        ],
    )
    def test_what_decides_it_makes_another(self, change: str) -> None:
        assert key("warmup=sft", "warmup.length=128", change) != key("warmup=sft", "warmup.length=128")

    def test_text_counts_by_its_content(self, tmp_path: Path) -> None:
        text = tmp_path / "text.txt"
        text.write_text("One thing. " * 50, encoding="utf-8")
        first = key("warmup=mlm", f"warmup.path={tmp_path}")
        os.utime(text, ns=(1, 1))
        assert key("warmup=mlm", f"warmup.path={tmp_path}") == first
        text.write_text("Two things. " * 50, encoding="utf-8")
        assert key("warmup=mlm", f"warmup.path={tmp_path}") != first


class TestRefused:
    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            (["warmup.kind=mlmm"], "warmup.kind=mlmm is not known. Did you mean 'mlm'"),
            (["warmup=mlm", "warmup.tokens=0"], "warmup.tokens=0 must be at least 1"),
            (["warmup=mlm", "warmup.length=1024", "warmup.batch_tokens=1024"], "more than the context of model=tiny"),
            (["warmup=mlm", "warmup.length=600"], "warmup.batch_tokens=512 must be at least warmup.length=600"),
            (["warmup=sft", "prompt=judge"], "of warmup.length=64 tokens"),
            (["warmup=sft", "warmup.passages.spoilers=[later,altred]"], "altred is not known. Did you mean 'altered'"),
            (["warmup=mlm", "warmup.path=/nowhere"], "warmup.path=/nowhere: there is no such file or folder"),
            (["warmup=sft", "warmup.questions=/no.jsonl"], "warmup.questions=/no.jsonl: there is no such file"),
            (["warmup=mlm", "warmup.questions=/no.jsonl"], "warmup.questions is asked only with warmup=sft"),
            (
                ["warmup=sft", "objective=bradley_terry", "prompt.verbalizers.a=incomprehensible-word"],
                "must be one token",
            ),
        ],
    )
    def test_before_anything_runs(self, overrides: list[str], message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            prepare(small(*overrides))
        assert message in str(caught.value)

    def test_text_that_is_too_short(self, tmp_path: Path) -> None:
        (tmp_path / "text.txt").write_text("A few words.", encoding="utf-8")
        config = small("warmup=mlm", f"warmup.path={tmp_path}/text.txt", f"data.cache_dir={tmp_path}/cache")
        with pytest.raises(DataError, match="leave nothing to learn from"):
            run(config, tmp_path / "run")
        record = read_record(tmp_path / "run")
        assert record is not None and record["state"] == "failed"


def test_documents_with_a_prompt_of_dev_or_test_are_left_out(tmp_path: Path) -> None:
    data = prepare(small()).data
    clean = [" ".join(f"Text {i} tells of {i + j} things and ends." for j in range(12)) for i in range(30)]
    long = [
        next(p.prompt_text for p in part if len(normalized_prompt(p.prompt)) > 40) for part in (data.dev, data.test)
    ]
    stolen = [f"Someone asked this:\n{text.upper()}\nand was told." for text in long]
    rows = "".join(json.dumps({"text": text}) + "\n" for text in [*clean, *stolen])
    (tmp_path / "text.jsonl").write_text(rows, encoding="utf-8")
    config = small("warmup=sft", f"warmup.path={tmp_path}/text.jsonl", f"data.cache_dir={tmp_path}/cache")
    record = run(config, tmp_path / "run").record
    assert record["warmup"]["left_out"] == {"documents": 2}
    assert "passages" in record["warmup"]["after"]


def test_rewards_start_from_the_pooler_that_the_backbone_has(tmp_path: Path) -> None:
    config = compose(
        [
            *("model=minilm", *SMALL[2:], "objective=bradley_terry", "warmup=mlm", "warmup.tokens=512"),
            f"data.cache_dir={tmp_path}",
        ]
    )
    prepared = prepare(config)
    warmed = warmup.warm_up(config, prepared.pairs, prepared.backbone, contextlib.ExitStack())
    assert warmed is not None
    start, before = (
        load_weights(base.backbone, "bradley_terry", seed=0).state_dict()
        for base in (reuse.base(warmed.model), prepared.base)
    )
    pooler, layer = "bert.pooler.dense.weight", "bert.encoder.layer.5.output.dense.weight"
    assert torch.equal(start[pooler], before[pooler])
    assert not torch.equal(start[layer], before[layer])


def test_those_used_longest_ago_make_room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def warmed(seed: int, held: contextlib.ExitStack) -> Path:
        config = small("warmup=mlm", "warmup.tokens=512", f"warmup.seed={seed}", "warmup.cache_gb=0.001", cache)
        prepared = prepare(config)
        found = warmup.warm_up(config, prepared.pairs, prepared.backbone, held)
        assert found is not None and found.record["made"] and found.model.path is not None
        return Path(found.model.path)

    cache = f"data.cache_dir={tmp_path}/cache"
    with contextlib.ExitStack() as held:
        first, second = warmed(0, held), warmed(1, held)
        assert first.is_dir() and second.is_dir()  # in use, and more than the limit by themselves
        assert cli.main(["cache", "show", "--dir", f"{tmp_path}/cache"]) == 0
        assert "(warmed backbones; 2, in use 2; warmup.cache_gb=20)" in capsys.readouterr().out
    with contextlib.ExitStack() as held:
        third = warmed(2, held)
        assert third.is_dir() and not first.exists() and not second.exists()


class _SignalAt(Callback):
    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == 5:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_stopped_one_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small("warmup=mlm", f"data.cache_dir={tmp_path}/cache", "trainer.checkpoint_steps=2")
    monkeypatch.setattr(warmup, "_Heed", _SignalAt)
    with pytest.raises(Interrupted, match="after optimizer step"):
        run(config, tmp_path / "run")
    monkeypatch.undo()
    assert read_record(tmp_path / "run")["state"] == "interrupted"  # type: ignore[index]
    record = run(config, tmp_path / "run").record
    assert record["warmup"]["made"]
    folder = tmp_path / "cache" / "warmups" / record["warmup"]["key"]
    assert read_record(folder)["training"]["resumed"]  # type: ignore[index]
    whole = small("warmup=mlm", f"data.cache_dir={tmp_path}/other")
    other = run(whole, tmp_path / "whole").record["warmup"]
    one, two = weights(folder / "model"), weights(tmp_path / "other" / "warmups" / other["key"] / "model")
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_whoever_waits_can_be_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "warmups" / key("warmup=mlm")
    folder.mkdir(parents=True)
    with lock_file(folder / "lock") as got:
        assert got()
        process = subprocess.Popen(
            [
                *(sys.executable, str(ROOT / "run.py"), *SMALL, "warmup=mlm"),
                *(f"data.cache_dir={tmp_path}", f"hydra.run.dir={tmp_path}/run"),
            ],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        log = tmp_path / "run" / "run.log"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (log.exists() and "Waiting for the warm-up" in log.read_text()):
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped by SIGTERM while another process made the warm-up" in output


def test_a_sweep_pays_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "run.py"), "-m", *SMALL, "warmup=mlm", "seed=0,1", "adapter.rank=4"),
            *("sweep.name=s", "sweep.workers=2", f"data.cache_dir={tmp_path}/cache", "trainer.threads=1"),
        ],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = [read_record(tmp_path / "multirun" / "s" / n)["warmup"] for n in "01"]  # type: ignore[index]
    assert sorted(w["made"] for w in told) == [False, True]
    assert [f.name for f in (tmp_path / "cache" / "warmups").iterdir()] == [told[0]["key"]]
    assert cli.main(["cache", "clear", "--dir", f"{tmp_path}/cache"]) == 0
    assert "removed (warmed backbones)" in capsys.readouterr().out
    assert not list((tmp_path / "cache" / "warmups").glob("*"))
