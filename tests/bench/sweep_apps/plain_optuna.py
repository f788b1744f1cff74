"""Optuna's own loop over a trial that does nothing: plain_optuna.py TRIALS FILE [wal]."""

import sys

import optuna
from sqlalchemy import event


def objective(trial: optuna.Trial) -> float:
    trial.suggest_int("x", 0, 1_000_000)
    return 0.0


def write_ahead(connection: object, record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(f"sqlite:///{sys.argv[2]}")
    if sys.argv[3:] == ["wal"]:
        event.listen(storage.engine, "connect", write_ahead)
        storage.engine.dispose()
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=int(sys.argv[1]))
