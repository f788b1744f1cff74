"""Under what a model's parents stand: the licences that their own cards named when this was written (November 2026).

What is not listed is said to be unknown, never guessed.
"""

from __future__ import annotations

from pathlib import Path

from tinyrm.config import ModelConfig, TinyRMConfig
from tinyrm.config.schema import SourceConfig

UNKNOWN = "unknown to TinyRM: look it up before you publish"
_OWN = "mit"  # TinyRM's
_NOT_COMMERCIAL = "cc-by-nc-4.0"
BASES = {
    "sentence-transformers/all-minilm-l6-v2": "apache-2.0",
    "answerdotai/modernbert-base": "apache-2.0",
    "answerdotai/modernbert-large": "apache-2.0",
    "answerdotai/modernbert-large-instruct": "apache-2.0",
    "microsoft/deberta-v3-base": "mit",
    **{f"jhu-clsp/ettin-encoder-{size}": "mit" for size in ("17m", "32m", "68m", "150m", "400m")},
}
DATA = {
    "allenai/llama-3.1-tulu-3-8b-preference-mixture": "odc-by",
    "huggingfaceh4/ultrafeedback_binarized": "mit",
    "anthropic/hh-rlhf": "mit",
    "nvidia/helpsteer3": "cc-by-4.0",
    "pku-alignment/pku-saferlhf": _NOT_COMMERCIAL,
}


def base_licence(model: ModelConfig) -> str:
    """Of the backbone."""
    if model.source == "random" or (model.source == "packaged" and model.id == "nano"):
        return _OWN
    return BASES.get((model.path or "").lower(), UNKNOWN)


def data_licences(config: TinyRMConfig) -> dict[str, str]:
    """Of every source of training pairs and of a warm-up's text: its name without this machine's folders -> licence."""
    found: dict[str, str] = {}
    if config.warmup.kind != "none":
        given = (config.warmup.path, config.warmup.questions)
        found |= {f"warm-up text {Path(path).name}": UNKNOWN for path in given if path}
    for source in config.data.mixture or [config.data]:
        name, licence = _source(source)
        found[name] = licence
    return found


def card_licence(config: TinyRMConfig) -> str:
    """What the card's front matter says of the model: the base's where nothing speaks against it, else 'other'."""
    base, data = base_licence(config.model), data_licences(config).values()
    return "other" if base == UNKNOWN or any(own in (UNKNOWN, _NOT_COMMERCIAL) for own in data) else base


def _source(source: SourceConfig) -> tuple[str, str]:
    if source.reader == "synthetic":
        return "TinyRM's synthetic suite", _OWN
    if source.reader == "hub" and source.path and not Path(source.path).exists():
        return source.path, DATA.get(source.path.lower(), UNKNOWN)
    return f"{source.reader} file {Path(source.path or '').name}", UNKNOWN
