"""What every run leaves and obeys, whatever it computes: `run.json`, the seconds of its phases, how it ended."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from tinyrm import provenance
from tinyrm.errors import ConfigError, Interrupted, NonFiniteLossError, OutOfMemoryError, TinyRMError
from tinyrm.files import write_json
from tinyrm.masking import masked, masked_keys
from tinyrm.sweep import current_progress

RUN = "run.json"
# How torch, cuBLAS and a spawned process (its traceback comes as text) say it, where they do not raise its type.
_NO_MEMORY = ("can't allocate memory", "CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "\nMemoryError")


@dataclass
class Clock:
    """Seconds by phase, in the order they ran."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = _now()
        try:
            yield
        finally:
            self.seconds[name] = round(_now() - began, 3)


def _now() -> float:
    progress = current_progress()
    return time.monotonic() if progress is None else progress.seconds  # in a pack without the others' turns


@contextlib.contextmanager
def recorded(
    folder: Path,
    record: dict[str, Any],
    clock: Clock,
    threads: int,
    out_of_memory: Callable[[BaseException], OutOfMemoryError | None],
) -> Iterator[None]:
    """Run the block with so many CPU threads, and write into `run.json` how it ended where it raised.

    Args:
        folder, record, clock: of the run; the block itself writes the record of a run that completes. What is secret
            in the record so far is masked in place.
        threads: 0 leaves torch's choice.
        out_of_memory: says in the run's words what used up the memory, where something did.
    """
    record |= masked(record)
    try:
        with threads_of(threads):
            yield
    except BaseException as caught:
        error = out_of_memory(caught) or caught
        record |= {
            "state": _end_of(error),
            "error": masked(str(error)) or type(error).__name__,
            "seconds": clock.seconds,
        }
        with contextlib.suppress(Exception):  # what failed first is what must be told
            write_json(folder / RUN, record)
        if error is caught:
            raise
        raise error from caught


def new_record(config: Any, digest: str) -> dict[str, Any]:
    """What the record of any run begins with.

    Args:
        config: a dataclass.
        digest: :func:`tinyrm.config.config_hash` of it.
    """
    return {
        "state": "running",
        "config_hash": digest,
        "config": asdict(config),
        "code": provenance.code_revision(),
        "versions": provenance.versions(),
        "hardware": provenance.hardware(),
    }


def check_folder(folder: Path, digest: str, fingerprints: Mapping[str, str] | None = None) -> None:
    """Raise where a run folder holds another run.

    Args:
        digest: of the config that is to run there.
        fingerprints: of its data; None leaves them unchecked.

    Raises:
        ConfigError: it holds a run of another config or of other data.
    """
    before = read_record(folder)
    if before is None:
        return
    if before.get("config_hash") != digest:
        raise ConfigError(
            f"{folder} holds a run of another config ({before.get('config_hash')}, this is {digest}): "
            "choose another folder (hydra.run.dir=...), or continue that run with `tinyrm resume`."
        )
    if fingerprints is not None and before.get("fingerprints") != fingerprints:
        raise ConfigError(
            f"the data have changed since the run in {folder} began: choose another folder (hydra.run.dir=...)."
        )


def read_record(folder: Path) -> dict[str, Any] | None:
    """The run.json of a run folder; None where there is none."""
    try:
        record: dict[str, Any] = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record


def config_of(record: Mapping[str, Any], schema: Any, given: Sequence[str]) -> Any:
    """The config that a run goes on with: as its record has it, what is masked there said again.

    Args:
        record: of run.json.
        schema: dataclass of the config.
        given: `KEY=VALUE` for keys that the record has masked; `${oc.env:NAME}` takes a value from the environment.

    Returns:
        a DictConfig of the schema.

    Raises:
        ConfigError: a key is given that is not masked.
    """
    keys = masked_keys(record["config"])
    for each in given:
        key = each.partition("=")[0]
        if key not in keys:
            raise ConfigError(
                f"{key} is not to be given: a run goes on with the config it began with"
                + (f", in which run.json has masked {', '.join(keys)}." if keys else ".")
            )
    return OmegaConf.merge(OmegaConf.structured(schema), record["config"], OmegaConf.from_dotlist(list(given)))


def check_unmasked(record: Mapping[str, Any], digest: str, given: Sequence[str]) -> None:
    """Raise where a config from :func:`config_of` is not what ran.

    Args:
        digest: of the config.

    Raises:
        ConfigError: with what must be said again. What is masked and decides nothing (tags) need not be.
    """
    keys = masked_keys(record["config"])
    if digest == record.get("config_hash") or not keys:
        return
    said = [each.partition("=")[0] for each in given]
    left = [key for key in keys if key not in said]
    why = f"run.json does not keep secrets: {', '.join(left)} must be said again" if left else "this is another value"
    raise ConfigError(
        f"{why}, as it was when the run began: tinyrm resume RUN {' '.join(f'{key}=...' for key in left or said)} "
        "('${oc.env:NAME}' takes it from the environment)."
    )


def _end_of(error: BaseException) -> str:
    if isinstance(error, Interrupted | KeyboardInterrupt):
        return "interrupted"
    if hasattr(error, "end"):  # a sweep's: pruned, timed out, ...
        return str(error.end or "interrupted")
    if isinstance(error, NonFiniteLossError):
        return "nonfinite"
    if isinstance(error, OutOfMemoryError):
        return "out_of_memory"
    return "failed"


def no_memory(error: BaseException) -> str | None:
    """What says that the memory of a device was used up ('' where nothing more is said); None for any other error."""
    told = str(error)
    lacking = isinstance(error, torch.cuda.OutOfMemoryError | MemoryError) or any(sign in told for sign in _NO_MEMORY)
    if isinstance(error, TinyRMError) or not lacking:
        return None
    return next((line.strip() for line in told.splitlines() if any(sign in line for sign in _NO_MEMORY)), told)


@contextlib.contextmanager
def threads_of(count: int) -> Iterator[None]:
    """Run the block with so many CPU threads; 0 leaves torch's choice."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
