"""Train and evaluate one TinyRM, or with `-m` a grid: `python run.py --help`."""

from typing import Any

import hydra
from omegaconf import DictConfig

from tinyrm.cli import launch, run_one


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> Any:
    return run_one(config)


if __name__ == "__main__":
    launch(main)
