"""What the other sweepers need: hydra-optuna-sweeper's own environment, and a config that composes without TinyRM."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tinyrm.config import config_dir, register

# 1.3.0 declares neither an upper bound of SQLAlchemy nor one of Hydra; the Optuna 2.10 it asks for needs the former.
PINS = ("hydra-optuna-sweeper==1.3.0", "hydra-joblib-launcher==1.2.0", "hydra-core==1.3.8", "sqlalchemy<2")
FOREIGN_CONFIG = "experiment"  # conf/config.yaml without our sweeper


def optuna_sweeper_python(folder: Path) -> Path:
    """The interpreter of the environment in `folder`, which is made where missing."""
    python = folder / "bin" / "python"
    probe = [str(python), "-c", "import hydra_plugins.hydra_optuna_sweeper, hydra_plugins.hydra_joblib_launcher"]
    if not python.exists() or subprocess.run(probe, check=False, capture_output=True).returncode:
        print(f"installing {' '.join(PINS)} into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINS]
        subprocess.run(pip, check=True)
    return python


def plain_config(folder: Path) -> Path:
    """This project's composed config as plain YAML: the same groups and keys, without the schema of dataclasses.

    hydra-optuna-sweeper needs SQLAlchemy 1 and cannot live beside TinyRM, whose conf/ composes only with its schema.
    """
    register()
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        whole = compose(FOREIGN_CONFIG, return_hydra_config=True)
    chosen = {k: v for k, v in whole.hydra.runtime.choices.items() if not k.startswith("hydra/") and v is not None}
    plain = OmegaConf.to_container(whole, resolve=False, enum_to_str=True)
    assert isinstance(plain, dict)
    plain.pop("hydra")
    for group, choice in chosen.items():
        (folder / group).mkdir(parents=True, exist_ok=True)
        (folder / group / f"{choice}.yaml").write_text(yaml.safe_dump(plain.pop(group)), encoding="utf-8")
    defaults = [{group: choice} for group, choice in chosen.items()]
    defaults += [{f"override hydra/{kind}": "tinyrm"} for kind in ("help", "job_logging")]
    top = {"defaults": [*defaults, "_self_"], **plain}
    (folder / "config.yaml").write_text(yaml.safe_dump(top, sort_keys=False), encoding="utf-8")
    shutil.copytree(config_dir() / "hydra", folder / "hydra", dirs_exist_ok=True)
    return folder
