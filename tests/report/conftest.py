"""Studies for the tests of reports: a real one of four tiny trials, made ones of any size, and a real browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from sqlalchemy import event

from tinyrm.evaluation.predictions import write_predictions
from tinyrm.evaluation.results import evaluate
from tinyrm.files import write_json
from tinyrm.sweep.outcome import OUTCOME, OVERRIDES, Outcome
from tinyrm.sweep.storage import open_storage
from tinyrm.sweep.study import HEADER, PLAN, Study
from tinyrm.types import PairScores, PreferencePair

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Made:
    """A trial that is to stand in a made study.

    Attributes:
        skill: mean log-odds of its verdicts on test; None leaves its folder away.
    """

    params: dict[str, Any]
    dev: float | None = 0.5
    end: str = "complete"
    skill: float | None = 0.5
    test: float | None = None  # what the storage says of test, where there is no folder
    message: str | None = None
    traceback: str | None = None
    values: dict[str, float] = field(default_factory=dict)


def pairs_of(count: int, prompt: str = "Which?") -> list[PreferencePair]:
    sections = ("chat", "reasoning", "safety")
    return [
        PreferencePair(f"p{i}", prompt, "word " * (1 + i % 7), "word " * (1 + i % 5), sections[i % 3], "s", "made")
        for i in range(count)
    ]


def make_study(
    folder: Path,
    trials: Sequence[Made],
    *,
    name: str = "made",
    metrics: dict[str, str] | None = None,
    distributions: dict[str, Any] | None = None,
    pairs: int = 60,
    sampler: str = "random",
    **header: Any,
) -> str:
    """A study as a sweep leaves it, from records; gives the URL of its storage."""
    metrics = metrics or {"dev_accuracy": "maximize"}
    url, place = f"sqlite:///{folder}/sweeps.db", folder / name
    values: dict[str, list[Any]] = {}
    for made in trials:
        for key, value in made.params.items():
            values.setdefault(key, []).append(value)
    choices = {key: optuna.distributions.CategoricalDistribution(tuple(dict.fromkeys(v))) for key, v in values.items()}
    known = {**choices, **(distributions or {})}
    storage = optuna.storages.RDBStorage(url)
    event.listen(storage.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    storage.engine.dispose()  # so that the next connection is a hasty one
    study = optuna.create_study(storage=storage, study_name=name, directions=list(metrics.values()))
    own = {
        "version": 1,
        "id": name,
        "metrics": metrics,
        "meaning": {"model.id": "tiny"},
        "identity": {},
        "sampler": sampler,
    }
    own |= {
        "command": ["x=1"],
        "program": "python run.py",
        "folder": str(place),
        "created": "2026-11-25T09:00:00+00:00",
    }
    study.set_user_attr(PLAN, [])
    study.set_user_attr(HEADER, {**own, **header})
    study.add_trials([_frozen(made, place / str(n), metrics, known, pairs, n) for n, made in enumerate(trials)])
    return url


def _frozen(
    made: Made, folder: Path, metrics: dict[str, str], known: dict[str, Any], pairs: int, number: int
) -> optuna.trial.FrozenTrial:
    values = {"dev_accuracy": made.dev, **made.values} if made.dev is not None else dict(made.values)
    complete = made.end == "complete"
    info: dict[str, Any] = {"dev_pairs": 100, "seed": int(made.params.get("seed", 0))}
    if complete and made.skill is not None:
        asked = pairs_of(pairs)
        odds = np.random.default_rng(number).normal(made.skill, 1, (2, pairs))
        scores = PairScores(odds[0], odds[1], np.zeros(pairs, bool), np.ones(pairs, np.int64))
        result = evaluate("pairs", asked, scores)
        write_predictions(folder / "predictions.parquet", asked, scores)
        write_json(folder / "metrics.json", result.to_json())
        looks = [{"step": s, "epoch": s / 3, "accuracy": 0.5 + s / 100, "loss": 0.7 - s / 100} for s in (1, 2, 3)]
        write_json(folder / "checkpoints" / "history.json", {"evaluations": looks})
        info |= {"test_accuracy": result.overall.accuracy.value}
    elif complete and made.test is not None:
        info |= {"test_accuracy": made.test}
    outcome = Outcome(
        made.end, values=dict(values), info=info, message=made.message, traceback=made.traceback, seconds=1.0
    )
    states = {"complete": optuna.trial.TrialState.COMPLETE, "pruned": optuna.trial.TrialState.PRUNED}
    distributions = {key: known[key] for key in made.params}
    overrides = [f"{k}={v}" for k, v in made.params.items()]
    return optuna.trial.create_trial(
        state=states.get(made.end, optuna.trial.TrialState.FAIL),
        params=made.params,
        distributions=distributions,
        values=[float(values[m]) for m in metrics] if complete else None,
        user_attrs={OUTCOME: outcome.as_json(), OVERRIDES: overrides},
    )


@dataclass
class Real:
    """A finished sweep.

    Attributes:
        cwd: where it was started, and where its name is found.
        folder: its own.
    """

    cwd: Path
    folder: Path
    output: str


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    """Two by two tiny trials, really trained; the last worker has written the page."""
    cwd = tmp_path_factory.mktemp("real")
    words = [
        "model=tiny",
        "data.synthetic.train_pairs=36",
        "data.synthetic.dev_pairs=15",
        "data.synthetic.test_pairs=30",
    ]
    words += ["prompt.max_tokens=96", "trainer.evaluations_per_epoch=2", "trainer.threads=1", "hydra/launcher=basic"]
    words += ["sweep.name=real", "adapter.rank=2,4", "seed=0,1", f"data.cache_dir={cwd}/cache"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), "-m", *words],
        cwd=cwd,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Real(cwd, cwd / "multirun" / "real", done.stderr)


def _program(*names: str) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium. Where CI lacks it that is a failure; on another machine the test is skipped and says why."""
    binary, driver = _program("chromium", "chromium-browser", "google-chrome"), _program("chromedriver")
    if binary is None or driver is None:
        reason = "needs Chromium and its driver: apt-get install chromium chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    quiet = (
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
    )
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1200,1000", *quiet):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    downloads = tmp_path_factory.mktemp("downloads")
    prefs = {
        "download.default_directory": str(downloads),
        "profile.default_content_setting_values.automatic_downloads": 1,
    }
    options.add_experimental_option("prefs", prefs)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    opened.downloads = downloads  # type: ignore[attr-defined]
    opened.set_script_timeout(60)
    try:
        yield opened
    finally:
        opened.quit()


@pytest.fixture(scope="session")
def build() -> Any:
    """`build.trial(...)` and `build.study(folder, trials, ...)`: :class:`Made` and :func:`make_study`."""
    return SimpleNamespace(trial=Made, study=make_study)


def big_space(build: Any, count: int) -> tuple[list[Made], dict[str, Any]]:
    """Trials of a continuous space, every tenth pruned and every twentieth failed."""
    known = {
        "optimizer.lr": optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True),
        "adapter.rank": optuna.distributions.CategoricalDistribution((4, 8, 16, 32)),
        "freeze": optuna.distributions.IntDistribution(0, 5),
    }
    random, trials = np.random.default_rng(0), []
    for n in range(count):
        lr = float(10 ** random.uniform(-5, -2))
        params = {
            "optimizer.lr": lr,
            "adapter.rank": int(random.choice([4, 8, 16, 32])),
            "freeze": int(random.integers(0, 6)),
        }
        dev = 0.9 - 0.05 * abs(np.log10(lr) + 3) - 0.01 * params["freeze"] + float(random.normal(0, 0.01))
        end = "pruned" if n % 10 == 9 else "failed" if n % 20 == 1 else "complete"
        cost = {"trained_parameters": 1000.0 * params["adapter.rank"], "pairs_per_second": 50 + 5.0 * params["freeze"]}
        message = {"pruned": "TrialPruned: no hope", "failed": "ValueError: a defect"}.get(end)
        trace = "Traceback\n  ValueError: a defect" if end == "failed" else None
        given = (float(dev) if end == "complete" else None, end, 0.5 if dev > 0.885 else None, 0.8)
        trials.append(Made(params, *given, message, trace, cost))
    return trials, known


@pytest.fixture(scope="session")
def thousand(build: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The storage of a study of 1,000 trials, named `made`."""
    trials, known = big_space(build, 1000)
    return make_study(tmp_path_factory.mktemp("thousand"), trials, distributions=known, sampler="tpe")


CLAIM = """
claim:
  statement: Better is better.
  contrasts:
    - {first: skill=good, second: skill=bad}
    - {statement: It learns., first: skill=good, second: chance, sections: {chat: 1}}
    - {statement: Worse is no worse., first: skill=bad, second: skill=good, expect: no_worse, margin: 0.05}
    - {first: skill=good, second: skill=lost}
"""


def claimed_study(folder: Path, claim: str | None = CLAIM) -> Study:
    """Two arms that differ and one that failed, with a claim about them."""
    trials = [
        Made({"skill": name, "seed": seed}, skill=level)
        for name, level in (("good", 2.0), ("bad", 0.0))
        for seed in range(3)
    ]
    trials += [Made({"skill": "lost", "seed": 0}, end="failed", dev=None, skill=None, message="ValueError: /a/b c")]
    url = make_study(folder, trials, pairs=300)
    if claim is not None:
        (folder / "made" / "multirun.yaml").write_text(claim)
    return Study(open_storage(url, create=False), "made", 10)


@pytest.fixture(scope="session")
def claimed() -> Any:
    """See :func:`claimed_study`."""
    return claimed_study
