"""TinyRM's own training, as `run.py` does it: 3 trials of model=tiny, 100 optimizer steps, a checkpoint every 10.

Every optimizer step that an attempt begins is noted, by a callback that Lightning finds through an entry point, so that
nothing of TinyRM is changed. A run under `local` that nothing disturbs says what each trial must come to, byte by byte.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from .rig import PATIENCE_S, ROOT, Rig

STEPS, CHECKPOINT_STEPS = 100, 10
TRIALS = [
    *("model=tiny", "adapter.rank=2,4,8", "freeze=1", f"data.synthetic.train_pairs={STEPS}"),
    *("data.synthetic.dev_pairs=12", "data.synthetic.test_pairs=12", "prompt.max_tokens=96"),
    *("trainer.batch_pairs=1", f"trainer.checkpoint_steps={CHECKPOINT_STEPS}", "trainer.threads=1", "tracking=none"),
]
# Of a trial's folder, what must be the same byte by byte; the rest says when and how fast.
RESULTS = ("metrics.json", "predictions.parquet", "checkpoints/best.safetensors", "model/adapter/*.safetensors")
NOTING = """
import os, time
from lightning.pytorch.callbacks import Callback

class Noting(Callback):
    def on_train_batch_start(self, trainer, *args):
        if trainer.is_global_zero:
            trial = next(c.folder.parent.name for c in trainer.callbacks if hasattr(c, "folder"))
            handle = os.open(os.environ["NOTED_STEPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            os.write(handle, f"{trial} {trainer.global_step + 1} {os.getpid()}\\n".encode())
            os.close(handle)
        time.sleep(float(os.environ["PAUSE_S"]))
"""


class RealRig(Rig):
    """See the module."""

    trials, begun = 3, 25
    node = "sweep"
    brisk, slow = 0.0, 1.0

    def start(self, *options: str) -> subprocess.Popen[str]:
        self.undisturbed = undisturbed()
        self.notes = self.folder / "steps.txt"
        return sweep(self.folder, *options, pause_s=self.pause_s)

    def multirun(self) -> Path:
        return self.folder / "multirun"

    def steps_of(self, record: Any) -> int:
        return max((step for trial, step, _ in self._noted() if trial == record.number), default=0)

    def told(self, records: list[Any]) -> dict[str, Any]:
        noted = self._noted()
        often = Counter((trial, step) for trial, step, _ in noted)
        went_on: dict[int, list[int]] = {}  # trial -> the first step of each attempt after the first, less one
        last: dict[int, int] = {}
        for trial, step, process in noted:
            if trial in last and last[trial] != process:
                went_on.setdefault(trial, []).append(step - 1)
            last[trial] = process
        return {
            "steps_missing": self.trials * STEPS - len(often),
            "steps_done_twice": sum(often.values()) - len(often),
            "most_in_one_trial": max(sum(n - 1 for (t, _), n in often.items() if t == r.number) for r in records),
            "went_on_from_step": sorted(step for steps in went_on.values() for step in steps),
            "differing_from_undisturbed": self._differing(records),
        }

    def _noted(self) -> list[tuple[int, int, int]]:
        """Trial, step and process of every optimizer step begun."""
        lines = self.notes.read_text(encoding="utf-8").splitlines() if self.notes.exists() else []
        return [(int(t), int(s), int(p)) for t, s, p in (line.split() for line in lines)]

    def _differing(self, records: list[Any]) -> list[str]:
        """Files that are not those of the undisturbed run."""
        found = []
        for record in records:
            here, there = Path(record.folder), self.undisturbed / str(record.number)
            names = sorted(str(p.relative_to(there)) for pattern in RESULTS for p in there.glob(pattern))
            assert len(names) == len(RESULTS), names
            found += [f"{record.number}/{n}" for n in names if (here / n).read_bytes() != (there / n).read_bytes()]
        return found


def sweep(folder: Path, *options: str, pause_s: float | None = None) -> subprocess.Popen[str]:
    """Start the sweep in a process group of its own; its trials lie in `folder/multirun`.

    Args:
        pause_s: note each step, and wait so long in it; None: nothing is noted.
    """
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    if pause_s is not None:
        environment |= {"NOTED_STEPS": str(folder / "steps.txt"), "PAUSE_S": str(pause_s)}
        environment["PYTHONPATH"] = _with_noting(folder / "noting")
    command = [sys.executable, str(ROOT / "run.py"), "-m", *TRIALS, f"data.cache_dir={folder}/cache", *options]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@cache
def undisturbed() -> Path:
    """The folder of the same sweep under `local`, one trial after another."""
    folder = Path(tempfile.mkdtemp(prefix="undisturbed-"))
    process = sweep(folder, "sweep.name=s", "sweep.workers=1")
    output, _ = process.communicate(timeout=PATIENCE_S)
    if process.returncode:
        raise SystemExit(output)
    shutil.rmtree(folder / "cache")
    return folder / "multirun" / "s"


def _with_noting(folder: Path) -> str:
    """PYTHONPATH with the callback, and with what makes Lightning find it."""
    described = folder / "noting-1.0.dist-info"
    described.mkdir(parents=True)
    (folder / "noting.py").write_text(NOTING, encoding="utf-8")
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: noting\nVersion: 1.0\n", encoding="utf-8")
    entry = "[lightning.pytorch.callbacks_factory]\nnoting = noting:Noting\n"
    (described / "entry_points.txt").write_text(entry, encoding="utf-8")
    return os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
