"""`run.py` whose process forgets between two jobs what it has read: what each job costs on its own."""

import sys
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))


@hydra.main(version_base="1.3", config_path="../../../conf", config_name="config")
def main(config: DictConfig) -> Any:
    import run
    from tinyrm import reuse

    reuse.clear()
    return run.main.__wrapped__(config)


if __name__ == "__main__":
    from tinyrm.cli import launch

    launch(main)
