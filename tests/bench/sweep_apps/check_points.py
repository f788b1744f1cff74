"""Seconds that the checks before launch take over a grid of this project's config: check_points.py OVERRIDES ..."""

import json
import sys
import time

from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.types import HydraContext, RunMode

from tinyrm.config import config_dir, register
from tinyrm.sweep import register as register_engine
from tinyrm.sweep.checking import check_points
from tinyrm.sweep.composing import Composer
from tinyrm.sweep.space import parse


def main() -> None:
    register()
    register_engine(group="sweep")
    hydra = Hydra.create_main_hydra2("check", create_config_search_path(str(config_dir())))
    master = hydra.compose_config("config", ["hydra.mode=MULTIRUN"], RunMode.MULTIRUN, with_log_configuration=False)
    context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())
    space, fixed = parse(sys.argv[1:], None, hydra.config_loader)
    points = list(space.grid())
    began = time.perf_counter()
    from tinyrm.trial import TinyRMApp

    imported, cpu = time.perf_counter(), time.process_time()
    digests = check_points(points, space, fixed, Composer(context, master), TinyRMApp())
    ended, cpu = time.perf_counter(), time.process_time() - cpu
    assert len(digests) == len(points)
    seconds = {"points": len(points), "imports_s": imported - began, "check_s": ended - imported, "check_cpu_s": cpu}
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
