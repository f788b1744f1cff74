"""Prompting: templates, truncation, tokenising. A pair becomes token ids and the position of the mask."""

from tinyrm.prompting.encoding import EncodedPairs, Layout, TensorBatch, to_device
from tinyrm.prompting.template import Template, compile_template
from tinyrm.prompting.tokens import PairTokens, tokenize
from tinyrm.prompting.truncation import allot, keep

__all__ = [
    "EncodedPairs",
    "Layout",
    "PairTokens",
    "Template",
    "TensorBatch",
    "allot",
    "compile_template",
    "keep",
    "to_device",
    "tokenize",
]
