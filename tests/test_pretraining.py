"""Pretraining through its public doors: a folder of text in, a model that `run.py` takes out."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file

from tinyrm import cli, pretraining
from tinyrm.config import PretrainingConfig, compose, compose_pretraining
from tinyrm.errors import ConfigError, DataError, Interrupted
from tinyrm.experiment import run as run_experiment
from tinyrm.pretraining import run
from tinyrm.runs import read_record

SHAPE = "{model_type: modernbert, hidden_size: 32, num_hidden_layers: 3, num_attention_heads: 2, intermediate_size: 48}"
NEW = ["model.id=mine", "model.source=random", f"model.shape={SHAPE}", "tokenizer.vocab_size=400"]
SMALL = ["mlm.tokens=20000", "mlm.length=64", "trainer.batch_tokens=512", "trainer.accelerator=cpu", "evaluations=2"]
QUIET = ["tracking=none", "compile=false", "trainer.progress=off", "trainer.checkpoint_steps=4"]
MUON = ["optimizer=muon", "optimizer.lr=1e-2"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    texts = [
        " ".join(f"Text {i} tells of {i + j} things, and then it ends here." for j in range(12)) for i in range(60)
    ]
    for number, text in enumerate(texts):
        (folder / f"{number:02}.txt").write_text(text, encoding="utf-8")
    rows = [
        {
            "question": f"{i} and one?",
            "choices": [f"{i + 1}", f"{i + 5}"],
            "answer": 0,
            "split": "dev" if i > 30 else "train",
        }
        for i in range(40)
    ]
    (folder / "questions.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return folder


def small(corpus: Path, *more: str) -> PretrainingConfig:
    given = [f"corpus.path={corpus}", f"corpus.questions={corpus}/questions.jsonl", "corpus.dev_fraction=0.2"]
    answers = ["sft.tokens=4000", "sft.length=128", "sft.prompts=[terse,judge]"]
    return compose_pretraining([*NEW, *SMALL, *QUIET, *MUON, *answers, *given, *more])


@pytest.fixture(scope="module")
def finished(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> pretraining.PretrainingResult:
    return run(small(corpus), tmp_path_factory.mktemp("run"))


class TestWhole:
    def test_the_record_holds_the_evidence(self, finished: pretraining.PretrainingResult, corpus: Path) -> None:
        record = read_record(finished.folder)
        assert record is not None and record["state"] == "complete" and record["kind"] == "pretraining"
        held = record["heldout"]
        assert held["loss"] < held["unigram"]  # this text repeats itself: a few steps are enough
        assert held["questions"]["n"] == 9 and held["passages"]["n"] > 20
        assert len(record["curve"]) == 2 and record["curve"][-1]["epoch"] == 1  # nothing is trained and not kept
        assert record["throughput"]["tokens"] > 8000
        assert record["documents"]["train"] + record["documents"]["dev"] == 60

    def test_it_is_a_backbone_for_an_experiment(self, finished: pretraining.PretrainingResult, tmp_path: Path) -> None:
        config = compose(
            [
                *("model=local", f"model.path={finished.folder / 'model'}", "freeze=1", "tracking=none"),
                *("data.synthetic.train_pairs=16", "data.synthetic.dev_pairs=8", "data.synthetic.test_pairs=8"),
                *("trainer.batch_tokens=1024", "prompt.max_tokens=128", "trainer.accelerator=cpu"),
            ]
        )
        assert run_experiment(config, tmp_path).record["state"] == "complete"

    def test_the_card_says_what_it_was_shown(self, finished: pretraining.PretrainingResult) -> None:
        card = (finished.folder / "model" / "README.md").read_text(encoding="utf-8")
        assert "held-out" in card and "5-gram" in card
        sources = finished.record["sources"]
        assert max(sources, key=sources.get) in card and f"{len(sources) - 40} others" in card

    def test_going_on_with_it_keeps_its_tokenizer(
        self, finished: pretraining.PretrainingResult, corpus: Path, tmp_path: Path
    ) -> None:
        local = ["model=local", f"model.path={finished.folder / 'model'}", f"corpus.path={corpus}"]
        config = compose_pretraining([*local, *SMALL, *QUIET, "corpus.dev_fraction=0.2", "mlm.tokens=1024"])
        result = run(config, tmp_path)
        names = ("tokenizer.json",)
        assert all((tmp_path / "model" / n).read_bytes() == (finished.folder / "model" / n).read_bytes() for n in names)
        assert result.record["heldout"]["loss"] < finished.record["heldout"]["loss"] + 0.5

    def test_without_questions_passages_keep_their_name(self, corpus: Path, tmp_path: Path) -> None:
        config = small(corpus, "corpus.questions=null", "mlm.tokens=512", "sft.tokens=1024")
        held = run(config, tmp_path).record["heldout"]
        assert "questions" not in held and held["passages"]["n"] > 20

    def test_bf16_weights_take_half_the_room(
        self, finished: pretraining.PretrainingResult, corpus: Path, tmp_path: Path
    ) -> None:
        run(small(corpus, "save_dtype=bf16", "mlm.tokens=512", "sft.tokens=0"), tmp_path)
        half, whole = (load_file(f / "model" / "model.safetensors") for f in (tmp_path, finished.folder))
        assert {t.dtype for t in half.values()} == {torch.bfloat16} and {t.dtype for t in whole.values()} == {
            torch.float32
        }


class _SignalAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_stopped_run_goes_on_and_ends_as_if_it_never_had(
    finished: pretraining.PretrainingResult, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tokenizers break ties by chance: begin with that of the other run.
    shutil.copytree(finished.folder / "tokenizer", tmp_path / "tokenizer")
    real = pretraining.fit
    monkeypatch.setattr(pretraining, "fit", lambda *a, **k: real(*a, **{**k, "callbacks": [_SignalAt(7)]}))
    with pytest.raises(Interrupted, match="after optimizer step"):
        run(small(corpus), tmp_path)
    record = read_record(tmp_path)
    assert record is not None and record["state"] == "interrupted"
    monkeypatch.setattr(pretraining, "fit", real)
    assert cli.main(["resume", str(tmp_path)]) == 0
    one, two = (load_file(f / "model" / "model.safetensors") for f in (tmp_path, finished.folder))
    assert all(torch.equal(one[k], two[k]) for k in two)


class TestErrors:
    def test_all_problems_are_told_at_once(self, corpus: Path) -> None:
        config = small(corpus, "mlm.rate=1.5", "optimizer.kind=sgd", "save_dtype=fp8", "mlm.length=8")
        with pytest.raises(ConfigError) as caught:
            pretraining.prepare(config)
        assert len(caught.value.problems) == 4

    def test_nothing_to_do_is_refused(self, corpus: Path) -> None:
        with pytest.raises(ConfigError, match="nothing would be trained"):
            pretraining.prepare(small(corpus, "mlm.tokens=0", "sft.tokens=0"))

    def test_a_new_tokenizer_needs_a_new_model(self, corpus: Path) -> None:
        config = compose_pretraining(["model=minilm", f"corpus.path={corpus}", "tokenizer.vocab_size=400"])
        with pytest.raises(ConfigError, match=r"tokenizer.vocab_size=400 needs a model from nothing"):
            pretraining.prepare(config)

    def test_rows_longer_than_the_context(self, corpus: Path) -> None:
        config = small(corpus, "+model.shape.max_position_embeddings=64", "mlm.length=128")
        with pytest.raises(ConfigError) as caught:
            pretraining.prepare(config)
        text = str(caught.value)
        assert "mlm.length=128 is more than the context of model=mine (64)" in text
        assert "sft.length=128 is more than the context of model=mine (64)" in text

    def test_a_template_that_leaves_no_room(self, corpus: Path) -> None:
        with pytest.raises(ConfigError, match=r"the template of prompt=judge takes \d+ of sft.length=64 tokens"):
            pretraining.prepare(small(corpus, "sft.length=64", "sft.prompts=[judge]"))

    def test_an_unknown_prompt_names_the_near_ones(self, corpus: Path) -> None:
        with pytest.raises(ConfigError, match=r"no prompt=ters\. Did you mean 'terse'"):
            pretraining.prepare(small(corpus, "sft.prompts=[ters]"))

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("sft.passages.spoilers=[repeat]", "repeat is not known. Did you mean 'repeated'?"),
            ("sft.passages.spoilers=[]", "sft.passages.spoilers is empty: give some of elsewhere"),
            (
                "sft.passages.option_words=[9,3]",
                "option_words=[9, 3] must be two numbers, fewest and most",
            ),
            ("sft.passages.prompt_words=[4]", "sft.passages.prompt_words=[4] must be two numbers"),
        ],
    )
    def test_passages_that_cannot_be_made(self, corpus: Path, override: str, message: str) -> None:
        with pytest.raises(ConfigError, match=re.escape(message)):
            pretraining.prepare(small(corpus, override))

    def test_a_missing_folder(self) -> None:
        with pytest.raises(DataError, match="no such file or folder"):
            pretraining.prepare(compose_pretraining(["model=minilm", "corpus.path=/nowhere/at/all"]))

    def test_a_folder_of_another_run_is_left_alone(self, finished: pretraining.PretrainingResult, corpus: Path) -> None:
        before = {file: file.stat().st_mtime_ns for file in finished.folder.rglob("*")}
        with pytest.raises(ConfigError, match="holds a run of another config"):
            run(small(corpus, "seed=5"), finished.folder)
        assert before == {file: file.stat().st_mtime_ns for file in finished.folder.rglob("*")}

    def test_a_typo_in_a_key_names_the_near_ones(
        self, corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert cli.main(["pretrain", f"corpus.path={corpus}", "mlm.token=5"]) == 2
        assert "'mlm' has no key 'token' (in 'mlm.token'). Did you mean 'tokens'" in capsys.readouterr().err
