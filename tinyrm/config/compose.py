"""From override lines to a typed config, with errors that say what would be right."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_type_hints

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tinyrm.config.claim import ClaimConfig
from tinyrm.config.pretraining import PretrainingConfig
from tinyrm.config.schema import PromptConfig, TinyRMConfig
from tinyrm.errors import ConfigError, did_you_mean

# Keys that say where and how a run shows itself or how fast it is, not what it computes: two runs that differ only here
# are equal.
_PRESENTATION = (
    "tracking",
    *(f"speed.{key}" for key in ("dora", "last_layer", "prefix", "prefix_gb", "optimizer", "compile")),
    "trainer.progress",
    "trainer.threads",
    "trainer.checkpoint_steps",
    "trainer.save_model",
    "data.cache_dir",
    "warmup.cache_gb",
    "evaluation.batch_tokens",
    "compile",
    "save_dtype",
)

C = TypeVar("C")
_OTHER_ROOTS = ("hydra", "sweep", "claim")  # what `run.py` composes beside the experiment


def register() -> None:
    """Make the schemas known to Hydra as `tinyrm_schema`, `tinyrm_pretraining_schema` and `tinyrm_claim`.

    Safe to call again.
    """
    experiment, pretraining = OmegaConf.structured(TinyRMConfig), OmegaConf.structured(PretrainingConfig)
    for free in (experiment.data.columns, experiment.model.shape, pretraining.model.shape):  # the user's own keys
        OmegaConf.set_struct(free, False)
    ConfigStore.instance().store(name="tinyrm_schema", node=experiment)
    ConfigStore.instance().store(name="tinyrm_pretraining_schema", node=pretraining)
    ConfigStore.instance().store(name="tinyrm_claim", node=OmegaConf.structured(ClaimConfig))


def config_dir() -> Path:
    """The folder with the config groups: in a checkout `conf/`, in an installed wheel the copy inside the package."""
    package = Path(__file__).resolve().parents[1]
    for candidate in (package.parent / "conf", package / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise ConfigError(f"no conf/config.yaml beside or inside {package}: the installation is incomplete.")


def compose(overrides: Sequence[str] = ()) -> TinyRMConfig:
    """Compose one experiment as `python run.py OVERRIDES` would.

    Raises:
        ConfigError: a key, value or choice does not exist or has the wrong type.
    """
    return _compose("experiment", overrides, TinyRMConfig)


def compose_pretraining(overrides: Sequence[str] = ()) -> PretrainingConfig:
    """Compose one pretraining as `tinyrm pretrain OVERRIDES` would.

    Raises:
        ConfigError: as :func:`compose`.
    """
    return _compose("pretrain", overrides, PretrainingConfig)


def _compose(name: str, overrides: Sequence[str], kind: type[C]) -> C:
    register()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
            return to_config(hydra_compose(name, overrides=list(overrides)), kind)
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error, kind) from error


def prompt_choice(name: str) -> PromptConfig:
    """The prompt `conf/prompt/NAME.yaml`, apart from any run.

    Raises:
        ConfigError: there is none of this name.
    """
    folder = config_dir() / "prompt"
    if not (folder / f"{name}.yaml").is_file():
        raise ConfigError(f"there is no prompt={name}.{did_you_mean(name, (f.stem for f in folder.glob('*.yaml')))}")
    merged = OmegaConf.merge(OmegaConf.structured(PromptConfig), OmegaConf.load(folder / f"{name}.yaml"))
    return cast(PromptConfig, OmegaConf.to_object(merged))


def to_config(composed: DictConfig, kind: type[C] = TinyRMConfig) -> C:  # type: ignore[assignment]
    """The composed config as dataclasses, interpolations resolved and types checked.

    Raises:
        ConfigError: a mandatory value is missing or an interpolation does not resolve.
    """
    try:
        plain = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True, enum_to_str=True))
    except OmegaConfBaseException as error:
        raise explain(error, kind) from error
    problems: list[str] = []
    config = _build(kind, {k: v for k, v in plain.items() if k not in _OTHER_ROOTS}, (), problems)
    if problems:
        raise ConfigError(sorted(problems))
    return cast(C, config)


def claim_of(composed: DictConfig) -> ClaimConfig:
    """The claim of a study, out of its composed config (or the `multirun.yaml` it leaves); empty where it makes none.

    Raises:
        ConfigError: a value is missing, or a key unknown.
    """
    given = OmegaConf.select(composed, "claim")
    if given is None:
        return ClaimConfig()
    try:
        typed = OmegaConf.merge(OmegaConf.structured(ClaimConfig), OmegaConf.create(OmegaConf.to_container(given)))
        plain = cast(dict[str, Any], OmegaConf.to_container(typed, resolve=True))
    except OmegaConfBaseException as error:
        raise explain(error, ClaimConfig) from error
    problems: list[str] = []
    claim = _build(ClaimConfig, plain, ("claim",), problems)
    if problems:
        raise ConfigError(sorted(problems))
    return cast(ClaimConfig, claim)


def _build(kind: type, plain: dict[str, Any], path: tuple[str, ...], problems: list[str]) -> Any:
    """A dataclass out of plain values, whose types OmegaConf has checked; what it lets through goes to `problems`.

    That is: mandatory values that are missing, and keys that `+key=value` put beside the schema. What
    `OmegaConf.to_object` does in ten times the time; a sweep does it for every point.
    """
    hints = _hints(kind)
    for key in plain:
        if key not in hints:
            problems.append(_unknown_key_message((*path, key), hints))
    values: dict[str, Any] = {}
    for key, hint in hints.items():
        if key not in plain:
            continue  # a value that `~key` took out: the default
        here, value = (*path, key), plain[key]
        if value == MISSING:
            problems.append(f"{'.'.join(here)} has no value: give it as {'.'.join(here)}=...")
        elif is_dataclass(hint) and isinstance(value, dict):
            value = _build(cast(type, hint), value, here, problems)
        elif isinstance(value, list) and get_args(hint) and is_dataclass(inner := get_args(hint)[0]):
            value = [_build(cast(type, inner), v, (*path, f"{key}[{i}]"), problems) for i, v in enumerate(value)]
        values[key] = value
    return kind(**values)


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _unknown_key_message(path: tuple[str, ...], schema: Iterable[Any]) -> str:
    inside = f"'{'.'.join(path[:-1])}'" if path[:-1] else "the config"
    return f"{inside} has no key '{path[-1]}' (in '{'.'.join(path)}').{did_you_mean(path[-1], map(str, schema))}"


def config_hash(config: TinyRMConfig | PretrainingConfig) -> str:
    """12 hex digits that two configs share exactly when they compute the same result."""
    return hashlib.sha256(json.dumps(_meaning(config), sort_keys=True).encode()).hexdigest()[:12]


def config_meaning(config: TinyRMConfig) -> dict[str, Any]:
    """Every key that decides what is computed, dotted, with its value."""
    flat: dict[str, Any] = {}

    def walk(node: Any, path: str) -> None:
        if isinstance(node, dict) and node:
            for key, value in node.items():
                walk(value, f"{path}.{key}" if path else str(key))
        else:
            flat[path] = node

    walk(_meaning(config), "")
    return flat


def _meaning(config: TinyRMConfig | PretrainingConfig) -> dict[str, Any]:
    plain = asdict(config)
    for dotted in _PRESENTATION:
        *parents, leaf = dotted.split(".")
        node = plain
        for parent in parents:
            node = node.get(parent, {})
        node.pop(leaf, None)
    if plain.get("warmup", {}).get("kind") == "none":  # nor do the settings of what is not done
        del plain["warmup"]
    if plain.get("data", {}).get("unseen_subsets") == "keep":  # as before there was a choice
        del plain["data"]["unseen_subsets"]
    return plain


def explain(error: BaseException, kind: type = TinyRMConfig) -> ConfigError:
    """Hydra's or OmegaConf's complaint in one message that names the near choices of the schema `kind`."""
    omega = next((e for e in _chain(error) if isinstance(e, OmegaConfBaseException)), None)
    if isinstance(error, MissingConfigException):
        return ConfigError(_explain_missing_choice(error))
    override = re.search(r"Could not override '([^']*)'", str(error))
    if override and (unknown := _explain_unknown_key(override.group(1), kind)):
        return ConfigError(unknown)
    if omega is not None:
        where = str(omega.full_key or omega.key or "").strip()
        reason = str(omega.msg or omega).splitlines()[0]
        return ConfigError(f"{where}: {reason}" if where and where not in reason else reason)
    return ConfigError(" ".join(line.strip() for line in str(error).splitlines() if line.strip()))


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _explain_missing_choice(error: MissingConfigException) -> str:
    group, _, choice = (error.missing_cfg_file or "").rpartition("/")
    options = list(error.options or [])
    if group and options:
        return f"there is no {group}={choice}.{did_you_mean(choice, options)} All: {', '.join(sorted(options))}."
    return " ".join(str(error).split())


def _with_other_roots(root: str, kind: type) -> DictConfig:
    """The schema; where a key begins with another root that has one, with that beside it."""
    schema: DictConfig = OmegaConf.structured(kind)
    if root == "claim":
        return OmegaConf.create({root: OmegaConf.structured(ClaimConfig)})
    stored = ConfigStore.instance().repo.get(root, {})
    if root in _OTHER_ROOTS and isinstance(stored, dict) and "schema.yaml" in stored:
        OmegaConf.set_struct(schema, False)
        schema[root] = stored["schema.yaml"].node
    return schema


def _explain_unknown_key(key: str, kind: type) -> str | None:
    """For an override of `key`: which part of it does not exist, and what stands near. None if the key exists."""
    parts = key.split("@")[0].lstrip("+~").replace("/", ".").split(".")
    node: Any = _with_other_roots(parts[0], kind)
    for depth, part in enumerate(parts):
        if not OmegaConf.is_dict(node):
            return None
        if part not in node.keys():  # noqa: SIM118
            return _unknown_key_message(tuple(parts[: depth + 1]), node)
        node = node._get_node(part)
    return None
