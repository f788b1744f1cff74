"""A trial that does nothing, over this project's own config: `run.py` without its experiment."""

import hydra
from omegaconf import DictConfig

from tinyrm.cli import launch


@hydra.main(version_base="1.3", config_path="../../../conf", config_name="config")
def main(config: DictConfig) -> float:
    return 0.0


if __name__ == "__main__":
    launch(main)
