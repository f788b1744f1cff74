"""A masked language model as one module: batch in, the logits of the tokens to predict out."""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import Any

import torch
import torch._dynamo
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from tinyrm.model.families import Family, vocabulary_of

_GRAPHS = 64


def can_compile() -> bool:
    """Whether torch.compile finds what it generates code with: Triton where there is a GPU, else a C++ compiler."""
    if torch.cuda.is_available():
        return importlib.util.find_spec("triton") is not None
    return any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++", "c++"))


class MaskedNet(nn.Module):
    """Encoder, prediction head and vocabulary matrix; the last two see only what is to be predicted.

    A batch holds `passes`, each with `input_ids` (rows, seqlen), where there is padding `attention_mask` of that shape,
    and `places` (k,), the flat positions to predict; and `targets` (all k,), the ids that belong there.

    Args:
        model: a `transformers` masked language model.
        family: where its parts are.
        compiled: torch.compile its layers.
    """

    def __init__(self, model: PreTrainedModel, family: Family, *, compiled: bool = False) -> None:
        super().__init__()
        self.model = model
        self.family = family
        if compiled:
            # Layers share a graph, but for each kind of layer, mode and shape there is one; beyond the limit, 8 by
            # default, a layer is run as it stands.
            torch._dynamo.config.recompile_limit = max(_GRAPHS, torch._dynamo.config.recompile_limit)
            for layer in family.layers_of(model):
                layer.compile()

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """(all k, vocabulary) float32 logits."""
        encoder = self.family.encoder_of(self.model)
        read = []
        for rows in batch["passes"]:
            hidden = encoder(input_ids=rows["input_ids"], attention_mask=rows.get("attention_mask"))[0]
            read.append(hidden.flatten(0, 1)[rows["places"]])
        matrix, *bias = vocabulary_of(self.model)
        transformed = self.family.transform(self.model, torch.cat(read))
        return F.linear(transformed, matrix, bias[0] if bias else None).float()

    def trained_state(self) -> dict[str, Tensor]:
        """Name -> value of every parameter: all that a checkpoint must keep."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}
