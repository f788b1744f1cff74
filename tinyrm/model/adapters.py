"""What of a model is trained: freezing, adapters, heads."""

from __future__ import annotations

from dataclasses import dataclass

from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from tinyrm.config import AdapterConfig
from tinyrm.model.dora import use_fast_dora
from tinyrm.model.families import Family, vocabulary_of


@dataclass(frozen=True)
class Trainable:
    """A model made ready for training.

    Attributes:
        model: the model that holds the parameters; a `PeftModel` where adapters were attached.
        base: the `transformers` model inside (the same object where there are no adapters).
        frozen: modules that keep their pretrained weights and stay in eval mode.
    """

    model: PreTrainedModel | PeftModel
    base: PreTrainedModel
    frozen: tuple[nn.Module, ...]


def make_trainable(
    model: PreTrainedModel,
    family: Family,
    *,
    objective: str,
    freeze: int,
    adapter: AdapterConfig,
    fast_dora: bool = True,
) -> Trainable:
    """Freeze the embeddings and the first `freeze` layers, and attach adapters to the linear modules of the others.

    Args:
        model: as loaded; changed in place.
        family: where its parts are.
        objective: which head is trained with `adapter.train_head`.
        freeze: 0 freezes nothing; N the embeddings and the first N layers.
        adapter: DoRA and LoRA (through PEFT), `full` for every weight that is not frozen, `none` for the head alone.
        fast_dora: see :mod:`tinyrm.model.dora`.
    """
    head = family.head_names(model, objective) if adapter.train_head else []
    frozen = tuple([*family.embeddings_of(model), *family.layers_of(model)[:freeze]] if freeze else [])
    linears = _linears(model, family, freeze, adapter.targets)
    if adapter.kind in ("dora", "lora") and linears:
        peft = get_peft_model(model, lora_config(adapter, linears, head, objective))
        if fast_dora:
            use_fast_dora(peft)
        return Trainable(peft, model, frozen)
    full = adapter.kind == "full"
    model.requires_grad_(full)
    for module in frozen:
        module.requires_grad_(False)
    _freeze_vocabulary(model, trained=full and freeze == 0)
    for name in family.head_names(model, objective):
        model.get_submodule(name).requires_grad_(adapter.train_head)
    return Trainable(model, model, frozen)


def lora_config(adapter: AdapterConfig, linears: list[str], head: list[str], objective: str) -> LoraConfig:
    """PEFT's config: full module names, so that no layer below `freeze` is matched."""
    return LoraConfig(
        r=adapter.rank,
        lora_alpha=2 * adapter.rank if adapter.alpha is None else adapter.alpha,
        lora_dropout=adapter.dropout,
        use_dora=adapter.kind == "dora",
        target_modules=linears,
        modules_to_save=head or None,
        # SEQ_CLS makes PEFT train the classifier whatever modules_to_save says.
        task_type=TaskType.SEQ_CLS if objective != "cloze" and head else None,
    )


def _linears(model: PreTrainedModel, family: Family, freeze: int, targets: list[str]) -> list[str]:
    """Full names of the linear modules of the layers from `freeze` up."""
    names = []
    for index in range(freeze, len(family.layers_of(model))):
        prefix = f"{family.encoder}.{family.layers}.{index}."
        for name, module in model.get_submodule(prefix[:-1]).named_modules():
            if isinstance(module, nn.Linear) and (not targets or name.rpartition(".")[2] in targets):
                names.append(prefix + name)
    return names


def _freeze_vocabulary(model: PreTrainedModel, *, trained: bool) -> None:
    """The vocabulary matrix is tied to the embeddings: it is trained where they are, and its bias with it."""
    for parameter in () if trained else vocabulary_of(model):
        parameter.requires_grad_(False)


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """(trained, all) parameters; tied ones count once."""
    parameters = list(module.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)
