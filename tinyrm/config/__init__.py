"""Configs: the typed schema, how it is composed, and the rules that join its fields."""

from tinyrm.config.compose import compose, config_dir, config_hash, config_meaning, explain, register, to_config
from tinyrm.config.rules import Facts, check
from tinyrm.config.schema import (
    AdapterConfig,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimizerConfig,
    PromptConfig,
    ShareConfig,
    SourceConfig,
    SpeedConfig,
    SyntheticConfig,
    TinyRMConfig,
    TrackingConfig,
    TrainerConfig,
    VerbalizerConfig,
)

__all__ = [
    "AdapterConfig",
    "DataConfig",
    "EvaluationConfig",
    "Facts",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "PromptConfig",
    "ShareConfig",
    "SourceConfig",
    "SpeedConfig",
    "SyntheticConfig",
    "TinyRMConfig",
    "TrackingConfig",
    "TrainerConfig",
    "VerbalizerConfig",
    "check",
    "compose",
    "config_dir",
    "config_hash",
    "config_meaning",
    "explain",
    "register",
    "to_config",
]
