"""A trial that does nothing, over `toy/` or any folder given with `-cp`. Runs where TinyRM is not installed, too."""

import sys

import hydra
from omegaconf import DictConfig

if "hydra/sweeper=pull" in sys.argv:
    from tinyrm.sweep import register

    register()


@hydra.main(version_base="1.3", config_path="toy", config_name="config")
def main(config: DictConfig) -> float:
    return 0.0


if __name__ == "__main__":
    main()
