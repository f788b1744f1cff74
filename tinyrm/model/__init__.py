"""Models: backbones, heads, adapters, freezing, saving."""

from tinyrm.model.adapters import count_parameters, make_trainable
from tinyrm.model.backbone import Backbone, find_backbone, load_weights, read_weights
from tinyrm.model.families import FAMILIES, Family, family_of
from tinyrm.model.int8 import can_multiply_int8, int8_net
from tinyrm.model.masked import MaskedNet, can_compile
from tinyrm.model.net import RewardNet, build_net, pairwise_loss, verbalizer_ids
from tinyrm.model.onnx import OnnxNet, need_onnx
from tinyrm.model.passes import SharedPasses, SharedPrefix
from tinyrm.model.prefix import PrefixStore
from tinyrm.model.saving import (
    Description,
    SavedModel,
    load_model,
    merged_model,
    merged_net,
    reward_net,
    save_backbone,
    save_model,
)

__all__ = [
    "FAMILIES",
    "Backbone",
    "Description",
    "Family",
    "MaskedNet",
    "OnnxNet",
    "PrefixStore",
    "RewardNet",
    "SavedModel",
    "SharedPasses",
    "SharedPrefix",
    "build_net",
    "can_compile",
    "can_multiply_int8",
    "count_parameters",
    "family_of",
    "find_backbone",
    "int8_net",
    "load_model",
    "load_weights",
    "make_trainable",
    "merged_model",
    "merged_net",
    "need_onnx",
    "pairwise_loss",
    "read_weights",
    "reward_net",
    "save_backbone",
    "save_model",
    "verbalizer_ids",
]
