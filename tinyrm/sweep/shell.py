"""Shell commands out of a config: what they take from the environment is left to the shell: no script holds it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from .errors import SweepError

_MARK = re.compile("\0([^\0]*)\0")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def commands(config: DictConfig, key: str) -> tuple[Any, list[str]]:
    """A text or list of texts of a config, with `${oc.env:NAME}` as the shell's own `${NAME}`.

    So it is also where another key that the text refers to takes it from the environment. A default is used as
    OmegaConf uses it: where there is no such variable here.

    Args:
        config: a whole one, so that interpolations find what they name.
        key: dotted.

    Returns:
        the value, and the variables that the shell will read.

    Raises:
        SweepError: what is taken from the environment goes through another resolver, or no shell can name it.
    """
    names: list[str] = []

    def here(text: str) -> str:
        return _referring(text, names)

    try:
        with _marking():
            found = OmegaConf.select(config, key)
            plain = OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
    except OmegaConfBaseException as error:
        raise SweepError(
            f"{key}: {' '.join(str(error).split())} (in a shell command, ${{oc.env:NAME}} stands for the shell's own "
            "reference, which no other resolver can read)."
        ) from error
    value = [here(str(text)) for text in plain] if isinstance(plain, list) else here(str(plain)) if plain else plain
    wrong = [name for name in names if not _NAME.fullmatch(name)]
    if wrong:
        raise SweepError(f"{key}: a shell cannot read the environment variable {wrong[0]!r}: rename it.")
    return value, list(dict.fromkeys(names))


def kept_from_jobs(names: Sequence[str], additional: Mapping[str, Any]) -> tuple[list[str], str]:
    """Which variables Slurm would not export to a job, and the setting that says so.

    Args:
        additional: further parameters of sbatch.
    """
    given = additional.get("export")
    setting = f"hydra.launcher.additional_parameters.export={given}"
    if given is None:
        given = os.environ.get("SBATCH_EXPORT")
        setting = f"SBATCH_EXPORT={given}"
    exported = [word.partition("=")[0].strip() for word in str(given or "ALL").split(",")]
    if "ALL" in (word.upper() for word in exported):
        return [], ""
    return [name for name in names if name not in exported], setting


@contextlib.contextmanager
def _marking() -> Iterator[None]:
    """Let `oc.env` give a mark with the variable's name in place of its value."""

    def mark(key: str, *default: str | None) -> str | None:
        return f"\0{key}\0" if key in os.environ else oc.env(key, *default)

    OmegaConf.register_new_resolver("oc.env", mark, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


def _referring(text: str, names: list[str]) -> str:
    """The text with a reference in the place of each mark, which the quotes around it let the shell expand."""
    done, quote = "", ""
    for number, part in enumerate(_MARK.split(text)):
        if number % 2:
            names.append(part)
            done += f"'\"${{{part}}}\"'" if quote == "'" else f"${{{part}}}"
        else:
            done, quote = done + part, _quote_after(part, quote)
    return done


def _quote_after(text: str, quote: str) -> str:
    """Which quote is open behind a text that begins inside `quote`; none: an empty text."""
    escaped = False
    for letter in text:
        if escaped:
            escaped = False
        elif letter == "\\" and quote != "'":
            escaped = True
        elif letter == quote:
            quote = ""
        elif letter in "'\"" and not quote:
            quote = letter
    return quote
