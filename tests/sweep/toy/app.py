"""A toy trial: sleeps in steps with a checkpoint after each, and fails in every way a trial can fail."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig

from tinyrm.sweep import Result, SweepError, current_progress, followed_trial, register

register()
HOLD_AT = 4
LEAK: list[bytearray] = []  # outlives its trial


def note(config: Any, what: str) -> None:
    """One line, appended in one write: lines of several processes never mix."""
    if config.runs:
        handle = os.open(config.runs, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(handle, f"{what} {time.time()}\n".encode())
        os.close(handle)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: Any) -> Result:
    folder = Path(HydraConfig.get().runtime.output_dir)
    number = HydraConfig.get().job.num
    if followed_trial() is not None:
        note(config, f"beside {number} {followed_trial() == folder.parents[1]}")
        if config.mode == "raise_beside":
            raise RuntimeError("this process raises")
        return Result({})
    progress = current_progress()
    steps = round(config.seconds / config.step_s)
    checkpoint = folder / "checkpoint"
    done, work = map(int, checkpoint.read_text().split()[:2]) if checkpoint.exists() else (0, 0)
    note(config, f"begin {number} {done} {os.environ.get('CUDA_VISIBLE_DEVICES') or '-'} {os.getpid()}")
    mapped = None
    if config.maps:
        with Path(config.maps).open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            sum(mapped[::4096])  # every page
    fail(config)
    for step in range(done, steps):
        while step == HOLD_AT and config.hold and Path(config.hold).exists():
            time.sleep(0.02)
        time.sleep(config.step_s)
        work += config.x
        temporary = folder / f".checkpoint.{os.getpid()}"
        temporary.write_text(f"{step + 1} {work} {'.' * config.padding}")
        temporary.replace(checkpoint)
        if progress is not None:
            progress.advance((step + 1) / steps)
            if config.mode == "report":
                progress.report(config.x * (step + 1), step + 1, samples=[config.x + i for i in range(20)])
    value = 10 * config.x + config.y + 100 * config.g.z
    note(config, f"end {number}")
    if config.mode == "nan_value":
        value = float("nan")
    return Result(
        {"value": value, "cost": float(config.x)}, {"value": (value - 1, value + 1)}, {"steps": steps, "work": work}
    )


def fail(config: Any) -> None:
    """Go wrong, where asked to."""
    if config.mode == "raise":
        raise RuntimeError("this trial raises")
    if config.mode == "exit":
        sys.exit("this trial ends its process")
    if str(config.mode) == "nan":
        raise FloatingPointError("the loss became NaN")
    if config.mode in ("hang", "raise_beside"):
        while True:
            time.sleep(0.1)
    if config.mode == "hang_hard":  # in C, and it keeps Python's lock: no thread of this process can run
        ctypes.PyDLL(None).sleep(3600)
    if config.mode == "hang_lock":  # in C, where no signal gets through; other threads run
        lock = ctypes.create_string_buffer(64)
        ctypes.CDLL(None).pthread_mutex_lock(lock)
        ctypes.CDLL(None).pthread_mutex_lock(lock)
    if config.mode == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if config.mode in ("memory", "leak"):
        hoard = LEAK if config.mode == "leak" else []
        while True:
            hoard.append(bytearray(b"x") * 50_000_000)
            time.sleep(0.02)


if __name__ == "__main__":
    try:
        main()
    except SweepError as error:
        print(f"{type(error).__name__}: {error}")
        sys.exit(error.exit_code)
