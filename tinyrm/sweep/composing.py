"""A trial's config, as Hydra itself would compose it, in milliseconds.

Hydra composes a config of this size in a tenth of a second, most of it reading the groups. Overrides of values are
applied to a kept copy, by the function with which Hydra itself does it; what touches the defaults list or the `hydra`
node is composed by Hydra, once for each combination.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from .space import config_key

TAKEN_OUT = "(taken out)"  # in the place of a value
_KEPT = 64  # combinations of group choices
_KEPT_OVERRIDES = 10_000


class Composer:
    """Composes the trials of one sweep.

    Args:
        context: Hydra's, as a sweeper gets it.
        master: the config Hydra composed for the whole sweep.
    """

    def __init__(self, context: HydraContext, master: DictConfig) -> None:
        self.context = context
        self.master = master
        self._parser = OverridesParser.create(config_loader=context.config_loader)
        self._bases: dict[tuple[str, ...], tuple[bytes, bytes]] = {}  # whole, and without `hydra`
        self._parsed: dict[str, Override] = {}
        self._groups: dict[str, bool] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The config of a trial, its `hydra` node included; the caller may change it.

        Raises:
            HydraException, OmegaConfBaseException: as Hydra raises them.
        """
        parsed = self._parse(overrides)
        config = self._composed(parsed, 0)
        own = [o for o in parsed if not o.is_hydra_override()]
        config.hydra.overrides.task = [str(o.input_line) for o in own]
        how = config.hydra.job.config.override_dirname
        config.hydra.job.override_dirname = get_overrides_dirname(own, how.exclude_keys, how.item_sep, how.kv_sep)
        return config

    def compose_bare(self, overrides: Sequence[str]) -> DictConfig:
        """What the trial's task is given: the config without its `hydra` node."""
        return self._composed(self._parse(overrides), 1)

    def given(self, overrides: Sequence[str]) -> dict[str, Any]:
        """What each override sets its key to, as read from the override alone."""
        parsed = zip(overrides, self._parse(overrides), strict=True)
        return {config_key(text): TAKEN_OUT if o.is_delete() else o.value() for text, o in parsed}

    def _parse(self, overrides: Sequence[str]) -> list[Override]:
        for override in overrides:
            if override not in self._parsed:
                if len(self._parsed) >= _KEPT_OVERRIDES:
                    self._parsed.clear()
                self._parsed[override] = self._parser.parse_overrides([override])[0]
        return [self._parsed[override] for override in overrides]

    def _composed(self, parsed: Sequence[Override], which: int) -> DictConfig:
        values = [o for o in parsed if self._is_value(o)]
        structural = tuple(str(o.input_line) for o in parsed if not self._is_value(o))
        bases = self._bases.get(structural)
        if bases is None:
            loader: ConfigLoader = self.context.config_loader
            composed = loader.load_sweep_config(self.master, list(structural))
            if len(self._bases) >= _KEPT:
                self._bases.pop(next(iter(self._bases)))
            bases = self._bases[structural] = (_bytes_of(composed), _bytes_of(bare_copy(composed)))
        config: DictConfig = pickle.loads(bases[which])  # noqa: S301 (our own bytes, of this process)
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        return config

    def _is_value(self, override: Override) -> bool:
        """As Hydra decides it: a choice of a group, or a value."""
        if override.is_hydra_override():
            return False
        return isinstance(override.value(), dict) or not self._is_group(override.key_or_group)

    def _is_group(self, key: str) -> bool:
        known = self._groups.get(key)
        if known is None:
            repository = getattr(self.context.config_loader, "repository", None)
            if repository is not None:
                known = bool(repository.group_exists(key))
            else:
                known = bool(self.context.config_loader.get_group_options(key, ObjectType.CONFIG))
            self._groups[key] = known
        return known


class _Pickler(pickle.Pickler):
    """For this process alone: takes classes that are not found under their names.

    Hydra runs the modules of some plugins twice; the schema of a launcher is then one of two classes of the same name.
    """

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, type) or getattr(sys.modules.get(obj.__module__), obj.__qualname__, obj) is obj:
            return NotImplemented
        _CLASSES[id(obj)] = obj
        return _class_at, (id(obj),)


_CLASSES: dict[int, type] = {}


def _class_at(key: int) -> type:
    return _CLASSES[key]


def _bytes_of(config: DictConfig) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(config)
    return buffer.getvalue()


def bare_copy(config: DictConfig) -> DictConfig:
    """A copy without the `hydra` node."""
    bare: DictConfig = pickle.loads(_bytes_of(config))  # noqa: S301 (a deep copy, five times faster)
    with read_write(bare), open_dict(bare):
        del bare["hydra"]
    return bare


def save_yaml(path: Path, config: Any) -> None:
    """Write a config unresolved, as Hydra does, with the C emitter where there is one: Hydra's own takes 50 ms."""
    plain = OmegaConf.to_container(config, resolve=False, enum_to_str=True) if OmegaConf.is_config(config) else config
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    path.write_text(yaml.dump(plain, Dumper=dumper, sort_keys=False, allow_unicode=True), encoding="utf-8")


def flatten(config: DictConfig, leave: Sequence[str] = ("hydra", "sweep")) -> dict[str, Any]:
    """Resolved values by dotted key, without the nodes in `leave`.

    What depends on the job that runs it (`${hydra:...}`) is as written, whatever job this is.
    """
    flat: dict[str, Any] = {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                walk(value, f"{path}.{key}" if path else str(key))
        else:
            flat[path] = node

    hydra = HydraConfig.instance()
    before, hydra.cfg = hydra.cfg, None
    try:
        for key in config:
            if key not in leave:
                walk(_resolved(config, str(key)), str(key))
    finally:
        hydra.cfg = before
    return flat


def _resolved(config: DictConfig, key: str) -> Any:
    """A node's plain values; as written where they cannot be resolved."""
    for resolve in (True, False):
        with contextlib.suppress(OmegaConfBaseException, ValueError):
            node = config[key] if resolve else config._get_node(key)
            if OmegaConf.is_config(node):
                return OmegaConf.to_container(node, resolve=resolve, enum_to_str=True)
            return node if resolve else str(node)
    return None
