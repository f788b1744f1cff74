"""Saved models: an adapter folder for `peft`, a merged folder for `transformers`, and what it takes to use them."""

from __future__ import annotations

import copy
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tinyrm.config import AdapterConfig, ModelConfig, PromptConfig, VerbalizerConfig
from tinyrm.errors import ModelError
from tinyrm.files import storage_errors, write_json
from tinyrm.model.adapters import Trainable
from tinyrm.model.backbone import Backbone, find_backbone, hub_errors, known_head, load_weights, quiet_transformers
from tinyrm.model.net import RewardNet, verbalizer_ids
from tinyrm.prompting import Layout

DESCRIPTION = "tinyrm.json"
_FORMAT = 1


@dataclass(frozen=True)
class Description:
    """What `tinyrm.json` beside saved weights says.

    Attributes:
        objective: 'cloze' or 'bradley_terry'.
        prompt: the template, verbalizers and budget the model was trained with.
        model: the backbone it started from.
        adapter, freeze: what was trained.
        seed: of the run (a random backbone and new heads are drawn from it).
        config_hash: of the run.
    """

    objective: str
    prompt: PromptConfig
    model: ModelConfig
    adapter: AdapterConfig
    freeze: int
    seed: int
    config_hash: str


@dataclass(frozen=True)
class SavedModel:
    """A model ready to score pairs."""

    net: RewardNet
    layout: Layout
    tokenizer: PreTrainedTokenizerBase
    description: Description


def save_model(
    folder: Path,
    net: RewardNet,
    backbone: Backbone,
    description: Description,
    card: str,
    *,
    parts: str = "merged",
    with_base: bool = False,
    merged: PreTrainedModel | None = None,
) -> None:
    """Write `folder/merged` (for `transformers`), `folder/adapter` (for `peft`, where there is one) and a model card.

    The folder appears whole or not at all; one that is there is replaced.

    Args:
        folder: where it goes.
        net: what was trained.
        backbone, description, card: what goes with it.
        parts: 'merged' writes both; 'adapter' leaves the merged model out where there is an adapter.
        with_base: put the backbone beside the adapter, as `folder/base`: its own folder is not there for good. Its
            weights are linked where they can be, and take no room then. Random ones always come along.
        merged: :func:`merged_model` of `net`, where it was made already.

    Raises:
        StorageError: no room or no permission.
    """

    def write(target: Path) -> None:
        adapted = isinstance(net.model, PeftModel)
        if parts == "merged" or not adapted:
            (merged_model(net) if merged is None else merged).save_pretrained(target / "merged")
            _accompany(target / "merged", backbone, description)
            (target / "merged" / "README.md").write_text(card, encoding="utf-8")  # this folder is what a hub gets
        if isinstance(net.model, PeftModel):
            _save_adapter(target, net.model, net.base_model, backbone, description, with_base)
        (target / "README.md").write_text(card, encoding="utf-8")

    _write_folder(folder, write)


def save_backbone(folder: Path, model: PreTrainedModel, backbone: Backbone, card: str, dtype: str) -> None:
    """Write a backbone for `transformers` (and `model=local`), with its tokenizer and a card, whole or not at all.

    Args:
        folder: where it goes; one that is there is replaced.
        model, backbone, card: what is written.
        dtype: '32' or 'bf16', of the weights.

    Raises:
        StorageError: no room or no permission.
    """

    def write(target: Path) -> None:
        kept = copy.deepcopy(model).to({"32": torch.float32, "bf16": torch.bfloat16}[dtype])
        kept.save_pretrained(target)
        if beside := _heads_beside(model, backbone):
            weights = target / "model.safetensors"
            save_file(load_file(weights) | {k: v.to(kept.dtype) for k, v in beside.items()}, weights, {"format": "pt"})
        backbone.tokenizer.save_pretrained(str(target))
        (target / "README.md").write_text(card, encoding="utf-8")

    _write_folder(folder, write)


def _heads_beside(model: PreTrainedModel, backbone: Backbone) -> dict[str, torch.Tensor]:
    """What the backbone's checkpoint holds of a classification head and a masked language model has no place for.

    BERT's pooler: without it, rewards would start from a drawn one.
    """
    if backbone.location is None:
        return {}
    source = replace(backbone, config=copy.deepcopy(backbone.config))
    return {k: v for k, v in known_head(source).items() if k not in model.state_dict()}


def load_model(folder: str | os.PathLike[str]) -> SavedModel:
    """Load a saved model from a run folder, its `model` folder, or one of the two folders in that.

    Raises:
        ModelError: nothing we saved is there.
    """
    found = _find(Path(folder))
    description = _read_description(found / DESCRIPTION)
    if (found / "adapter_config.json").is_file():
        net, backbone = _load_adapter(found, description)
    else:
        net, backbone = _load_merged(found, description)
    layout = Layout.of(description.objective, description.prompt, backbone.tokenizer, backbone.segment_types)
    return SavedModel(net, layout, backbone.tokenizer, description)


def merged_model(net: RewardNet) -> PreTrainedModel:
    """A copy of the `transformers` model with the adapters merged into its weights; itself where there are none."""
    if not isinstance(net.model, PeftModel):
        return net.base_model
    with quiet_transformers():
        merged: PreTrainedModel = copy.deepcopy(net.model).merge_and_unload()
    return merged


def merged_net(net: RewardNet) -> RewardNet:
    """The same model with its adapters merged, for inference; the same log-odds at the cost of the plain backbone."""
    model = merged_model(net) if isinstance(net.model, PeftModel) else copy.deepcopy(net.base_model)
    trainable, words = Trainable(model, model, ()), tuple(net.verbalizers.tolist())
    return RewardNet(trainable, net.family, net.objective, words, freeze=net.freeze, whole=net.whole).eval()


def reward_net(model: PreTrainedModel, backbone: Backbone, words: VerbalizerConfig) -> RewardNet:
    """A masked language model as it is, asked for options in the cloze form."""
    ids = verbalizer_ids(backbone.tokenizer, words)
    return RewardNet(Trainable(model, model, ()), backbone.family, "cloze", ids)


def _save_adapter(
    target: Path,
    model: PeftModel,
    base: PreTrainedModel,
    backbone: Backbone,
    description: Description,
    with_base: bool,
) -> None:
    config = model.peft_config["default"]
    if backbone.location is None:  # random weights exist nowhere else
        plain = copy.deepcopy(model).unload()
        plain.save_pretrained(target / "base")
        backbone.tokenizer.save_pretrained(str(target / "base"))
        config.base_model_name_or_path = "../base"
    elif with_base:
        shutil.copytree(backbone.location, target / "base", copy_function=_link)
        config.base_model_name_or_path = "../base"
    else:
        config.base_model_name_or_path = description.model.path
    model.save_pretrained(str(target / "adapter"), safe_serialization=True, save_embedding_layers=False)
    _accompany(target / "adapter", backbone, description)


def _link(source: str, target: str) -> None:
    """A file that is only ever replaced whole, under another name; copied where it cannot be linked."""
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _accompany(folder: Path, backbone: Backbone, description: Description) -> None:
    backbone.tokenizer.save_pretrained(str(folder))
    write_json(folder / DESCRIPTION, {"format": _FORMAT, **asdict(description)})


def _write_folder(folder: Path, write: Callable[[Path], None]) -> None:
    with storage_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            with quiet_transformers():
                write(aside)
            aside.chmod(0o755)  # mkdtemp makes it private
            replaced = Path(f"{aside}.replaced")
            if folder.exists():  # moved first: killed while deleting, it must not stay half under its name
                folder.rename(replaced)
            aside.rename(folder)
            shutil.rmtree(replaced, ignore_errors=True)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _find(folder: Path) -> Path:
    for part in ("", "merged", "adapter", "model/merged", "model/adapter"):
        if (folder / part / DESCRIPTION).is_file():
            return folder / part
    raise ModelError(
        f"{folder} holds no model saved by TinyRM: give a run folder (with model/, which trainer.save_model=none "
        f"leaves out) or a folder with {DESCRIPTION}."
    )


def _read_description(path: Path) -> Description:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if plain.pop("format") != _FORMAT:
            raise ModelError(f"{path} was written by another version of TinyRM: save the model again.")
        parts: dict[str, Any] = {"prompt": PromptConfig, "model": ModelConfig, "adapter": AdapterConfig}
        for name, schema in parts.items():
            plain[name] = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), plain[name]))
        return Description(**plain)
    except (OSError, ValueError, KeyError, TypeError, OmegaConfBaseException) as error:
        raise ModelError(f"{path} is not a description of a saved TinyRM: {error}") from error


def _local(folder: Path, description: Description) -> Backbone:
    model = description.model
    return find_backbone(
        ModelConfig(
            id=model.id,
            source="local",
            path=str(folder),
            dropout=model.dropout,
            attention_dropout=model.attention_dropout,
        )
    )


def _load_merged(folder: Path, description: Description) -> tuple[RewardNet, Backbone]:
    backbone = _local(folder, description)
    model = load_weights(backbone, description.objective, seed=description.seed)
    return _net(Trainable(model, model, ()), backbone, description), backbone


def _load_adapter(folder: Path, description: Description) -> tuple[RewardNet, Backbone]:
    base_folder = folder.parent / "base"
    backbone = _local(base_folder, description) if base_folder.is_dir() else find_backbone(description.model)
    model = load_weights(backbone, description.objective, seed=description.seed)
    with hub_errors(description.model.id, str(folder)):
        adapted = PeftModel.from_pretrained(model, str(folder))
    return _net(Trainable(adapted, model, ()), backbone, description), backbone


def _net(trainable: Trainable, backbone: Backbone, description: Description) -> RewardNet:
    ids = verbalizer_ids(backbone.tokenizer, description.prompt.verbalizers)
    net = RewardNet(trainable, backbone.family, description.objective, ids)
    return net.requires_grad_(False)
