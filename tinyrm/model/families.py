"""What differs between encoder families: where the layers, embeddings and prediction heads are.

To add a family, add one row to :data:`FAMILIES`. The names are attribute paths of the `transformers` classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from tinyrm.errors import ModelError
from tinyrm.model.encoder import BertEncoder, Encoder, ModernBertEncoder

DropoutFields = tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """One encoder family.

    Attributes:
        name: as in messages.
        encoder: path of the encoder in both the masked-LM and the sequence-classification model.
        layers: path of the layer list, below the encoder.
        embeddings: paths of what comes before the first layer, below the encoder; frozen with it. Those a model lacks
            are passed over.
        linears: last names of the linear modules of a layer.
        lm_head, classifier: modules of the two prediction heads that are trained with `adapter.train_head`.
        transform: (model, hidden (n, d)) -> (n, d): what the masked-LM head does before the vocabulary matrix.
        by_layer: runs the encoder layer by layer; None where the model is only run whole.
        reward: (model, hidden (n, d) of the first token) -> (n,): the classification head, where it reads that alone.
        hidden_dropout, attention_dropout: fields of the model's config.
        position_offset: rows of the position table that no token uses.
    """

    name: str
    encoder: str
    layers: str
    embeddings: tuple[str, ...]
    linears: tuple[str, ...]
    lm_head: tuple[str, ...]
    classifier: tuple[str, ...]
    transform: Callable[[nn.Module, Tensor], Tensor]
    by_layer: type[Encoder] | None = None
    reward: Callable[[nn.Module, Tensor], Tensor] | None = None
    hidden_dropout: DropoutFields = ("hidden_dropout_prob",)
    attention_dropout: DropoutFields = ("attention_probs_dropout_prob",)
    position_offset: int = 0

    def encoder_of(self, model: nn.Module) -> nn.Module:
        return model.get_submodule(self.encoder)

    def runner(self, model: nn.Module) -> Encoder | None:
        """What runs the model's encoder layer by layer; None where it can only be run whole."""
        encoder = self.encoder_of(model)
        if self.by_layer is None or not self.by_layer.can_run(encoder):
            return None
        return self.by_layer(encoder, self.layers_of(model))

    def layers_of(self, model: nn.Module) -> list[nn.Module]:
        return list(self.encoder_of(model).get_submodule(self.layers).children())

    def embeddings_of(self, model: nn.Module) -> list[nn.Module]:
        encoder = self.encoder_of(model)
        return [module for path in self.embeddings if (module := _submodule(encoder, path)) is not None]

    def head_names(self, model: nn.Module, objective: str) -> list[str]:
        """Full names of the modules of the head that `objective` uses, in this model."""
        names = self.lm_head if objective == "cloze" else self.classifier
        return [name for name in names if _submodule(model, name) is not None]

    def context(self, config: Any) -> int:
        """Longest sequence in tokens."""
        return int(config.max_position_embeddings) - self.position_offset


def _submodule(module: nn.Module, path: str) -> nn.Module | None:
    try:
        return module.get_submodule(path)
    except AttributeError:
        return None


def _bert_transform(model: nn.Module, hidden: Tensor) -> Tensor:
    transformed: Tensor = model.get_submodule("cls.predictions.transform")(hidden)
    return transformed


def _roberta_transform(model: nn.Module, hidden: Tensor) -> Tensor:
    head = model.get_submodule("lm_head")
    normed: Tensor = head.get_submodule("layer_norm")(F.gelu(head.get_submodule("dense")(hidden)))
    return normed


def _deberta_transform(model: nn.Module, hidden: Tensor) -> Tensor:
    head = _submodule(model, "lm_predictions.lm_head")
    if head is None:  # the `legacy=True` classes of transformers, with BERT's head
        return _bert_transform(model, hidden)
    activated = head.transform_act_fn(head.get_submodule("dense")(hidden))  # type: ignore[operator]
    normed: Tensor = head.get_submodule("LayerNorm")(activated)
    return normed


def _modernbert_transform(model: nn.Module, hidden: Tensor) -> Tensor:
    transformed: Tensor = model.get_submodule("head")(hidden)
    return transformed


def _bert_reward(model: Any, hidden: Tensor) -> Tensor:
    pooled = model.dropout(model.bert.pooler(hidden[:, None]))
    rewards: Tensor = model.classifier(pooled)[:, 0]
    return rewards


def _roberta_reward(model: Any, hidden: Tensor) -> Tensor:
    rewards: Tensor = model.classifier(hidden[:, None])[:, 0]
    return rewards


def _modernbert_reward(model: Any, hidden: Tensor) -> Tensor:
    rewards: Tensor = model.classifier(model.drop(model.head(hidden)))[:, 0]
    return rewards


_BERT_HEAD = ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm")

FAMILIES: dict[str, Family] = {
    "bert": Family(
        name="BERT",
        encoder="bert",
        layers="encoder.layer",
        embeddings=("embeddings",),
        linears=("query", "key", "value", "dense"),
        lm_head=_BERT_HEAD,
        classifier=("bert.pooler.dense", "classifier"),
        transform=_bert_transform,
        by_layer=BertEncoder,
        reward=_bert_reward,
    ),
    "roberta": Family(
        name="RoBERTa",
        encoder="roberta",
        layers="encoder.layer",
        embeddings=("embeddings",),
        linears=("query", "key", "value", "dense"),
        lm_head=("lm_head.dense", "lm_head.layer_norm"),
        classifier=("classifier",),
        transform=_roberta_transform,
        by_layer=BertEncoder,
        reward=_roberta_reward,
        position_offset=2,
    ),
    "deberta-v2": Family(
        name="DeBERTa-v2/v3",
        encoder="deberta",
        layers="encoder.layer",
        embeddings=("embeddings", "encoder.rel_embeddings", "encoder.LayerNorm", "encoder.conv"),
        linears=("query_proj", "key_proj", "value_proj", "dense"),
        lm_head=("lm_predictions.lm_head.dense", "lm_predictions.lm_head.LayerNorm", *_BERT_HEAD),
        classifier=("pooler.dense", "classifier"),
        transform=_deberta_transform,
    ),
    "modernbert": Family(
        name="ModernBERT",
        encoder="model",
        layers="layers",
        embeddings=("embeddings",),
        linears=("Wqkv", "Wo", "Wi"),
        lm_head=("head.dense", "head.norm"),
        classifier=("head.dense", "head.norm", "classifier"),
        transform=_modernbert_transform,
        by_layer=ModernBertEncoder,
        reward=_modernbert_reward,
        hidden_dropout=("embedding_dropout", "mlp_dropout"),
        attention_dropout=("attention_dropout",),
    ),
}


def family_of(model_type: str, model: str) -> Family:
    """The family of a `transformers` model type.

    Raises:
        ModelError: it is not one of ours.
    """
    if model_type not in FAMILIES:
        raise ModelError(
            f"{model} is of type '{model_type}'; TinyRM knows {', '.join(sorted(FAMILIES))}. To add it, describe its "
            "layers, embeddings and heads in one row of FAMILIES (tinyrm/model/families.py)."
        )
    return FAMILIES[model_type]


def verbalizer_rows(model: nn.Module, ids: Tensor) -> tuple[Tensor, Tensor | None]:
    """The rows of the vocabulary matrix (k, d) and its bias (k,) for these token ids, no others."""
    matrix, *bias = vocabulary_of(model)
    return matrix[ids], bias[0][ids] if bias else None


def vocabulary_of(model: nn.Module) -> list[Tensor]:
    """The vocabulary matrix of a masked-LM head and its bias, where it has one; empty for other heads."""
    deberta_head = _submodule(model, "lm_predictions.lm_head")
    if deberta_head is not None:  # it multiplies by the embeddings and keeps the bias on itself
        embeddings = model.get_input_embeddings()  # type: ignore[operator]
        return [embeddings.weight, deberta_head.bias]
    decoder = model.get_output_embeddings()  # type: ignore[operator]
    if decoder is None:
        return []
    return [decoder.weight] if decoder.bias is None else [decoder.weight, decoder.bias]
