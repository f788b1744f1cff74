"""Getting a backbone: its config and tokenizer (cheap, for checks) and its weights."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from tinyrm.config import Facts, ModelConfig, PromptConfig
from tinyrm.config.rules import template_problems
from tinyrm.errors import ModelError
from tinyrm.model.families import Family, family_of
from tinyrm.model.packaged import packaged_path
from tinyrm.prompting import Layout

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backbone:
    """A backbone before its weights are loaded.

    Attributes:
        name: `model.id`, for messages.
        config: the `transformers` config, dropout already set.
        tokenizer: a fast tokenizer with mask, separator and padding.
        family: where its parts are.
        location: what `from_pretrained` loads; None for random weights.
        revision: git revision on the hub.
    """

    name: str
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase
    family: Family
    location: str | None
    revision: str | None

    @property
    def layers(self) -> int:
        return int(self.config.num_hidden_layers)

    @property
    def segment_types(self) -> int:
        return int(getattr(self.config, "type_vocab_size", 0) or 0)

    @cached_property
    def context(self) -> int:
        return self.family.context(self.config)

    def facts(self, prompt: PromptConfig, objective: str) -> Facts:
        """What the config rules need to know."""
        template_tokens = None
        if not template_problems(prompt):
            template_tokens = Layout.of(objective, prompt, self.tokenizer, self.segment_types).template.tokens
        return Facts(
            model=f"model={self.name}",
            layers=self.layers,
            context=self.context,
            template_tokens=template_tokens,
            tokens_of=self.tokenizer.tokenize,
            known_targets=self.family.linears,
            unknown_token=self.tokenizer.unk_token,
        )


def find_backbone(config: ModelConfig, tokenizer: PreTrainedTokenizerBase | None = None) -> Backbone:
    """Config and tokenizer of a backbone, without its weights.

    Args:
        config: which one.
        tokenizer: for random weights: use this one.

    Raises:
        ModelError: it is unknown, not of a known family, cannot be had offline, or is not what it claims to be.
    """
    if config.source == "random":
        return _random(config, tokenizer)
    location = str(packaged_path(config.id)) if config.source == "packaged" else str(config.path)
    if config.source == "local" and not (Path(location) / "config.json").is_file():
        raise ModelError(
            f"model.path={location} holds no config.json: give the folder of a saved `transformers` model."
        )
    with hub_errors(config.id, location):
        loaded = AutoConfig.from_pretrained(location, revision=config.revision)
        tokenizer = AutoTokenizer.from_pretrained(location, revision=config.revision)
    family = family_of(loaded.model_type, f"model={config.id}")
    _usable(tokenizer, config.id)
    return Backbone(config.id, _with_dropout(loaded, family, config), tokenizer, family, location, config.revision)


def load_weights(backbone: Backbone, objective: str, *, seed: int) -> PreTrainedModel:
    """The model with the head of `objective`, float32, on the CPU, in eval mode; see :func:`read_weights`."""
    return read_weights(backbone, objective, seed=seed)[0]


def read_weights(backbone: Backbone, objective: str, *, seed: int) -> tuple[PreTrainedModel, bool]:
    """The model with the head of `objective`, float32, on the CPU, in eval mode, and whether `seed` had a say in it.

    A masked-LM head that the checkpoint lacks starts from the identity (dense = I, norm = 1), its vocabulary matrix
    tied to the embeddings; that is said in the log. A classification head is always new, drawn from `seed`.

    Raises:
        ModelError: the hub cannot give the weights.
    """
    model, missing = _read(backbone, objective, seed)
    known: set[str] = set()
    if objective == "cloze":
        known = {key for key in missing if _in_head(key, backbone.family)}
        if known:
            _identity_head(model, backbone)
    # `transformers` draws new matrices and starts biases at 0.
    drawn = backbone.location is None or any(not key.endswith("bias") for key in missing if key not in known)
    return model.eval(), drawn


def known_head(backbone: Backbone) -> dict[str, Tensor]:
    """The parameters of the classification head that the checkpoint holds, by full name: some of it, or none."""
    model, missing = _read(backbone, "bradley_terry", seed=0)
    heads = tuple(f"{name}." for name in backbone.family.head_names(model, "bradley_terry"))
    return {k: v for k, v in model.state_dict().items() if k.startswith(heads) and k not in missing}


def _read(backbone: Backbone, objective: str, seed: int) -> tuple[PreTrainedModel, set[str]]:
    """The model, and the parameters that its checkpoint lacks; none are named where there is no checkpoint."""
    auto = AutoModelForMaskedLM if objective == "cloze" else AutoModelForSequenceClassification
    _for_objective(backbone, objective)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if backbone.location is None:
            return new_model(backbone, objective), set()
        with hub_errors(backbone.name, backbone.location), quiet_transformers():
            model, report = auto.from_pretrained(
                backbone.location,
                config=backbone.config,
                revision=backbone.revision,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
            )
    return model, set(report["missing_keys"])


def new_model(backbone: Backbone, objective: str) -> PreTrainedModel:
    """A model of this shape with the head of `objective`, its weights drawn anew, float32, in eval mode."""
    _for_objective(backbone, objective)
    auto = AutoModelForMaskedLM if objective == "cloze" else AutoModelForSequenceClassification
    fresh: PreTrainedModel = auto.from_config(backbone.config).float().eval()
    return fresh


def _for_objective(backbone: Backbone, objective: str) -> None:
    if objective != "cloze":
        backbone.config.num_labels = 1
    elif backbone.config.model_type == "deberta-v2":
        backbone.config.legacy = False  # the class with the head that DeBERTa-v3 checkpoints really have


def _random(config: ModelConfig, tokenizer: PreTrainedTokenizerBase | None) -> Backbone:
    fields = dict(config.shape)
    model_type = fields.pop("model_type", "bert")
    family = family_of(model_type, f"model={config.id}")
    if tokenizer is None:
        tokenizer = AutoTokenizer.from_pretrained(str(packaged_path(config.tokenizer)))
    specials = {
        "pad_token_id": tokenizer.pad_token_id,
        **{f"{name}_token_id": tokenizer.cls_token_id for name in ("cls", "bos")},
        **{f"{name}_token_id": tokenizer.sep_token_id for name in ("sep", "eos")},
    }
    built = AutoConfig.for_model(model_type, **({"vocab_size": len(tokenizer)} | specials | fields))
    return Backbone(config.id, _with_dropout(built, family, config), tokenizer, family, None, None)


def _with_dropout(loaded: PretrainedConfig, family: Family, config: ModelConfig) -> PretrainedConfig:
    for fields, value in (
        (family.hidden_dropout, config.dropout),
        (family.attention_dropout, config.attention_dropout),
    ):
        for name in fields if value is not None else ():
            setattr(loaded, name, value)
    return loaded


def _usable(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    missing = [t for t in ("cls_token", "sep_token", "pad_token", "mask_token") if getattr(tokenizer, t, None) is None]
    if missing or not tokenizer.is_fast:
        what = f"has no {', '.join(missing)}" if missing else "is not a fast (Rust) one"
        raise ModelError(
            f"the tokenizer of model={name} {what}: TinyRM needs a masked language model's fast tokenizer."
        )


def _in_head(key: str, family: Family) -> bool:
    return any(key.startswith(name + ".") for name in family.lm_head)


def _identity_head(model: PreTrainedModel, backbone: Backbone) -> None:
    with torch.no_grad():
        for name in backbone.family.head_names(model, "cloze"):
            module = model.get_submodule(name)
            if isinstance(module, nn.Linear):
                nn.init.eye_(module.weight)
            else:
                nn.init.ones_(module.weight)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)
    log.info(
        "model=%s has no masked-LM head: it starts from the identity, its vocabulary matrix tied to the embeddings.",
        backbone.name,
    )


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep the progress bars and loading reports of `transformers` off the screen: our own log says what matters."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
            warnings.filterwarnings("ignore", message=".*no longer tied after merging.*")
            yield
    finally:
        transformers_logging.set_verbosity(before)
        if bars:
            transformers_logging.enable_progress_bar()


@contextlib.contextmanager
def hub_errors(name: str, location: str) -> Iterator[None]:
    """Turn whatever the hub client raises into a ModelError with the way out."""
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        message = f"model={name} ({location}) could not be loaded: {reason}"
        if not Path(location).is_dir():
            message += (
                " Offline: use model=nano or model=minilm (their weights are installed), model=local "
                "model.path=FOLDER with a downloaded copy, or fill the hub's cache elsewhere "
                f"(`hf download {location}`), set HF_HOME to it and HF_HUB_OFFLINE=1."
            )
        raise ModelError(message) from error
