"""Sweeps that pull: Optuna studies driven by Hydra, over every device.

A *study* in shared storage holds the trials; *workers*, started by any Hydra launcher, claim them one by one. Each
trial is an ordinary Hydra job with a folder of its own. The engine knows nothing of what it runs: its task is a
function from a config to a result, which may report progress through :func:`current_progress`.

It imports nothing of the application, and is a Hydra plugin wherever it lies: move the folder, call :func:`register`
before `hydra.main`'s function, and choose `hydra/sweeper=pull hydra/launcher=local`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .arguments import add_commands
from .context import current_progress, followed_trial, in_trial
from .errors import End, SweepError, SweepInterrupted, TrialEnded, TrialPruned, TrialsFailedError
from .sweeper import register

if TYPE_CHECKING:
    from .app import App
    from .commands import open_studies, run_command
    from .config import SweepConfig
    from .outcome import Result
    from .progress import Progress

# Optuna takes a second to import: only what a sweep needs does so.
_LATE = {
    "App": "app",
    "Progress": "progress",
    "Result": "outcome",
    "SweepConfig": "config",
    "open_studies": "commands",
    "run_command": "commands",
}

__all__ = [
    "App",
    "End",
    "Progress",
    "Result",
    "SweepConfig",
    "SweepError",
    "SweepInterrupted",
    "TrialEnded",
    "TrialPruned",
    "TrialsFailedError",
    "add_commands",
    "current_progress",
    "followed_trial",
    "in_trial",
    "open_studies",
    "register",
    "run_command",
]


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LATE[name]}", __name__), name)
