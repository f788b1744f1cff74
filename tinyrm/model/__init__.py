"""Models: backbones, heads, adapters, freezing, saving."""

from tinyrm.model.adapters import count_parameters, make_trainable
from tinyrm.model.backbone import Backbone, find_backbone, load_weights, read_weights
from tinyrm.model.families import FAMILIES, Family, family_of
from tinyrm.model.masked import MaskedNet
from tinyrm.model.net import RewardNet, build_net, pairwise_loss, token_id
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
    "PrefixStore",
    "RewardNet",
    "SavedModel",
    "build_net",
    "count_parameters",
    "family_of",
    "find_backbone",
    "load_model",
    "load_weights",
    "make_trainable",
    "merged_model",
    "merged_net",
    "pairwise_loss",
    "read_weights",
    "reward_net",
    "save_backbone",
    "save_model",
    "token_id",
]
