"""One call of a sweep, from what was typed to the table at the end."""

from __future__ import annotations

import contextlib
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from rich.table import Table
from rich.text import Text

from .app import App, load_app
from .board import Board, print_line
from .checking import check_points, sample, settings_problems
from .composing import Composer, save_yaml
from .config import SweepConfig, on_cluster
from .errors import SweepError, SweepInterrupted, TrialsFailedError
from .folders import mark
from .interrupts import signals_order
from .outcome import TrialRecord
from .planning import Question, Settled, settle
from .samplers import GRID, problems
from .sharing import Sharing
from .space import Space, config_key, is_below, parse, quoted
from .storage import open_storage
from .study import Study
from .summary import CSV, PARQUET, best_line, ranked, ranking_table, write_summary

if TYPE_CHECKING:
    from .sweeper import WorkerTask

log = logging.getLogger(__name__)

_MOST_POINTS = 100_000  # of a grid: each is composed and checked before the first runs, some 6 ms each
# Of the call itself: `sweep resume` names the sweep and where it was found, and says whether to repeat what failed.
_OF_ONE_CALL = {
    "hydra.mode",
    *(f"{node}.{key}" for node in ("sweep", "hydra.sweeper.settings") for key in ("name", "storage", "retry_failed")),
}
_ROUNDS = 10  # of starting workers again where they died, in a row in which no trial ended


class Run:
    """One call of the sweeper.

    Args:
        context, task, master: Hydra's: the task function and the config composed for the sweep.
        settings: of the sweep.
        app: dotted path of the application's :class:`App`.
        params: of `hydra.sweeper.params`.
    """

    def __init__(
        self,
        context: HydraContext,
        task: TaskFunction,
        master: DictConfig,
        settings: SweepConfig,
        app: str | None,
        params: dict[str, Any] | None,
    ) -> None:
        self.context, self.task, self.master = context, task, master
        self.settings, self.app_path, self.app = settings, app, load_app(app)
        self.params = {**settings.params, **(params or {})}
        self.metrics = dict(settings.metrics or self.app.metrics)
        self._early: Any = None  # a launcher whose processes have been started

    def sweep(self, arguments: Sequence[str]) -> list[TrialRecord]:
        """Check, plan, run, report."""
        try:
            return self._sweep(arguments)
        finally:
            if self._early is not None:
                self._early.close()

    def _sweep(self, arguments: Sequence[str]) -> list[TrialRecord]:
        question = self._question(arguments)
        if self.settings.dry_run:
            print_line(_dry(question))
            self._preview(question)
            return []
        storage = open_storage(self.settings.storage)
        settled = settle(storage, self.settings.name, question, self.settings.storage_patience_s)
        study = settled.study
        self._announce(settled, question)
        header = study.header()
        folder = Path(header["folder"])
        folder.mkdir(parents=True, exist_ok=True)
        mark(folder, header.get("id"))
        save_yaml(folder / "multirun.yaml", self.master)
        try:
            self._work(study, folder)
        except (SweepInterrupted, KeyboardInterrupt) as error:
            said = str(error) if isinstance(error, SweepInterrupted) else "stopped."
            raise SweepInterrupted(f"{said} Go on with: {_again(study.name)}") from error
        if self.settings.detach:
            log.info("Detached. Ask: tinyrm sweep status %s; end: tinyrm sweep stop %s", study.name, study.name)
            return study.records()
        finish_if_last(study, self.app)
        records = study.records()
        _print_result(study, records, self.app)
        failed = [r for r in records if r.failed]
        if failed:
            raise TrialsFailedError(_failures(study.name, failed, len(records)))
        return records

    def _preview(self, question: Question) -> None:
        """What the launcher would submit, where it submits anything."""
        launcher: Any = self._new_launcher(self.task) if on_cluster(self.master) else None
        if hasattr(launcher, "preview"):
            folder = question.folder / (self.settings.name or question.own_name())
            sys.stdout.write("\n" + launcher.preview(_count(question), folder) + "\n")

    # --- before

    def _question(self, arguments: Sequence[str]) -> Question:
        settings, loader = self.settings, self.context.config_loader
        wrong = settings_problems(settings, self.metrics, self.master, self.app)
        wrong += self._launcher_problems()
        if wrong:
            raise SweepError(wrong)
        given = [f"{key}={value}" for key, value in self.params.items()]
        space, fixed = parse([*given, *arguments], settings.arms, loader)
        sampler = self._sampler(space)
        wrong = problems(
            sampler, settings.sampler_options, settings.pruner, settings.pruner_options, list(self.metrics)
        )
        if sampler == GRID and not space.finite:
            endless = ", ".join(d.name for d in space.dimensions if not d.finite)
            wrong.append(f"sweep.sampler=grid cannot list {endless}: give choices or a range, or another sampler.")
        elif sampler == GRID and space.size > _MOST_POINTS:
            wrong.append(
                f"a grid of {space.size:,} points is more than a study takes ({_MOST_POINTS:,}): give fewer values, or "
                "draw from them with sweep.sampler=random (or tpe, ...) and sweep.n_trials."
            )
        if sampler != GRID and settings.n_trials is None:
            wrong.append(f"sweep.sampler={sampler} needs sweep.n_trials: how many trials in all.")
        if wrong:
            raise SweepError(wrong)
        self._start_early(space.size if sampler == GRID else settings.n_trials or 1)
        composer = Composer(self.context, self.master)
        points = list(space.grid()) if sampler == GRID else sample(space, settings.check_points, settings.seed)
        digests = check_points(points, space, fixed, composer, self.app)
        self._begin(space, points if sampler == GRID else [], fixed, composer)
        return Question(
            space=space,
            fixed=tuple(fixed),
            sampler=sampler,
            n_trials=settings.n_trials,
            fingerprints=digests if sampler == GRID else (),
            meaning=self._meaning(space, fixed, composer),
            identity=self.app.identity(),
            metrics=self.metrics,
            search=self._search(sampler),
            command=tuple(self._command(arguments)),
            program=_program(),
            folder=Path(settings.dir),
            on_change=settings.on_change,
            retry_failed=settings.retry_failed,
        )

    def _begin(self, space: Space, points: Sequence[Sequence[str]], fixed: Sequence[str], composer: Composer) -> None:
        """Let the application look at the sweep as a whole, and say something of it."""
        names = [d.name for d in space.dimensions]
        config = composer.compose_bare(_beside(space, fixed)[0])
        try:
            said = self.app.begin(config, [dict(zip(names, point, strict=True)) for point in points])
        except Exception as error:
            if not hasattr(error, "problems"):
                raise
            raise SweepError(list(error.problems)) from error
        for line in said:
            log.info(line)

    def _launcher_problems(self) -> list[str]:
        """What the launcher finds wrong, where it is one that looks: before any point is checked."""
        launcher: Any = self._new_launcher(self.task) if on_cluster(self.master) else None
        found = list(launcher.problems(self.settings)) if hasattr(launcher, "problems") else []
        if self.settings.detach and not getattr(launcher, "detaches", False):
            found.append(f"sweep.detach=true needs hydra/launcher=slurm; {self._launcher()} runs with this process.")
        if self.settings.nodes_per_trial > 1 and not getattr(launcher, "joins_nodes", False):
            found.append(
                f"sweep.nodes_per_trial={self.settings.nodes_per_trial} needs hydra/launcher=slurm: "
                f"{self._launcher()} starts workers of one machine each."
            )
        if not found and hasattr(launcher, "preview"):
            found += self._written_out(launcher.preview(1, Path(self.settings.dir)))
        return found

    def _written_out(self, script: str) -> list[str]:
        """Whether a job script would hold a secret, as what is no shell command but an option of sbatch may."""
        shown = [line for line in self.app.hidden(script).splitlines() if line not in script.splitlines()]
        if not shown:
            return []
        return [
            f"hydra.launcher: the job script would hold a password or a key, masked here: {'; '.join(shown)}. Take it "
            "from the environment in hydra.launcher.setup, where ${oc.env:NAME} stays a reference for the shell."
        ]

    def _start_early(self, points: int) -> None:
        """Let workers import what they need meanwhile, where the launcher can."""
        # A job's own environment is set before it imports anything.
        if self.app.preload and not self.settings.dry_run and not self.master.hydra.job.env_set:
            launcher = self._new_launcher(self.task)
            if hasattr(launcher, "prepare"):
                launcher.prepare(points, self.app.preload)
                self._early = launcher

    def _new_launcher(self, task: TaskFunction) -> Any:
        return Plugins.instance().instantiate_launcher(self.context, task, self.master)

    def _meaning(self, space: Space, fixed: Sequence[str], composer: Composer) -> dict[str, Any]:
        """What of the config decides results and does not vary.

        Below a group that varies the config says something else in every point: there, what was typed counts.
        """
        varies = space.config_keys()
        above, below = _beside(space, fixed)
        beside = self.app.meaning(composer.compose_bare(above))
        alike = {key: value for key, value in beside.items() if key not in varies and not is_below(key, varies)}
        return alike | composer.given(below)

    def _search(self, sampler: str) -> dict[str, Any]:
        """What beside the space decides which points are drawn, and which are pruned."""
        settings, search = self.settings, {}
        if sampler != GRID:
            search = {"seed": settings.seed, "sampler_options": settings.sampler_options}
        if settings.pruner != "none":
            search |= {"pruner": settings.pruner, "pruner_options": settings.pruner_options}
        return search

    def _sampler(self, space: Space) -> str:
        if self.settings.sampler != "auto":
            return self.settings.sampler
        return GRID if space.finite else "tpe"

    def _command(self, arguments: Sequence[str]) -> list[str]:
        """What `sweep resume` is to repeat: the last override of each key, but for those of this call alone."""
        hydra = OmegaConf.to_container(self.master.hydra.overrides.hydra)
        assert isinstance(hydra, list)
        kept: dict[str, str] = {}
        for override in (*map(str, hydra), *arguments):
            key = override.partition("=")[0]
            kept.pop(key, None)  # a later one comes later
            if key.lstrip("+") not in _OF_ONE_CALL:
                kept[key] = override
        return list(kept.values())

    def _announce(self, settled: Settled, question: Question) -> None:
        study = settled.study
        left = study.unstarted()
        parts = [f"{settled.new} new points"] if settled.new else []
        parts += [f"{settled.kept} trials were there before"] if settled.kept else []
        parts += [f"{settled.there} points are there already"] if settled.there else []
        parts += [f"{settled.equal} points equal others"] if settled.equal else []
        log.info(
            "Sweep %s (%s): %s to start%s. Trials go to %s; watch with: %s",
            study.name,
            question.sampler,
            left,
            f" ({', '.join(parts)})" if parts else "",
            study.header()["folder"],
            f"tinyrm sweep status {study.name} --watch",
        )
        if self.settings.pack > 1 and not Sharing((), tuple(self.app.packable)).packs(question.space):
            varies = ", ".join(sorted(question.space.config_keys())) or "nothing"
            may = f"only in {', '.join(self.app.packable)}" if self.app.packable else "in no key of this application"
            log.warning(
                "sweep.pack=%s: trials can run together that differ %s; here varies %s. They run one by one.",
                *(self.settings.pack, may, varies),
            )

    # --- the work

    def _work(self, study: Study, folder: Path) -> None:
        """Start workers until nothing is left to do."""
        from .sweeper import WorkerTask

        task = WorkerTask(self.task, self.context, self.master, study.name, self.app_path, study.stops())
        idle, ended = 0, -1
        while idle < _ROUNDS:
            records = study.records()
            finished = sum(r.finished for r in records)
            open_points = study.unstarted() + len(records) - finished
            if not open_points:
                return
            idle, ended = (idle + 1 if finished == ended else 0), finished
            # Each round has a launcher of its own: some keep state of their jobs.
            launcher, self._early = self._early or self._new_launcher(task), None
            launcher.setup(hydra_context=self.context, task_function=task, config=self.master)
            for done in self._launched(launcher, task, study, folder, open_points):
                try:
                    _ = done.return_value  # raises what the job raised
                except SweepInterrupted as stopped:
                    if stopped.whole:
                        raise SweepInterrupted(f"sweep {study.name} was told to stop.") from stopped
            if self.settings.detach:
                return
        raise SweepError(f"workers of sweep {study.name} keep dying; see {folder / 'workers'}.")

    def _launched(
        self, launcher: Launcher, task: WorkerTask, study: Study, folder: Path, open_points: int
    ) -> Sequence[JobReturn]:
        """Run workers until they end; nothing where the launcher itself fails, as some do when a worker dies.

        Raises:
            SweepInterrupted: a signal came.
            SweepError, OSError: what another try would not help.
        """
        names = _fresh(folder / "workers", min(self._workers(launcher), open_points))
        task.workers = len(names)
        overrides = [
            [f"hydra.sweep.dir={quoted(folder)}", f"hydra.sweep.subdir={quoted(f'workers/{n}')}"] for n in names
        ]
        board = Board(study, self.metrics, live=self._launcher() != "basic")
        returns: Sequence[JobReturn] = ()
        with signals_order(study.stop) as received:
            try:
                with board:
                    returns = launcher.launch(overrides, initial_job_idx=0)
            except (SweepError, OSError):
                raise
            except Exception as error:
                log.warning("hydra/launcher=%s failed, workers start anew: %s", self._launcher(), error)
        if received:
            raise SweepInterrupted("stopped; what ran is waiting with its checkpoints.")
        return returns

    def _launcher(self) -> str:
        return str(self.master.hydra.runtime.choices.get("hydra/launcher"))

    def _workers(self, launcher: Any) -> int:
        if hasattr(launcher, "workers") and callable(launcher.workers):
            return int(launcher.workers())
        name = self._launcher()
        if name == "basic":
            return 1  # in this process, one after another
        if self.settings.workers is not None:
            return self.settings.workers
        jobs = OmegaConf.select(self.master, "hydra.launcher.n_jobs")
        if isinstance(jobs, int) and jobs > 0:
            return jobs
        raise SweepError(f"hydra/launcher={name}: say how many workers it is to start, with sweep.workers=N.")


def finish_if_last(study: Study, app: App) -> None:
    """Write the summary, where nothing is left to run, and tell the application: the last one out does it."""
    if study.unstarted() != 0:
        return
    with study.storage.lock(f"{study.name}:summary"):
        records = study.records()
        new = all(r.finished for r in records) and write_summary(study.header(), records)
    if new:
        try:
            app.finished(study)
        except Exception as error:  # the sweep is done: nothing that comes after can fail it
            log.warning("What was to follow sweep %s failed: %s", study.name, error)


def _beside(space: Space, fixed: Sequence[str]) -> tuple[list[str], list[str]]:
    """The fixed overrides beside what varies, and those below a group that does."""
    varies = space.config_keys()
    below = [o for o in fixed if is_below(config_key(o), varies)]
    return [o for o in fixed if o not in below], below


def _dry(question: Question) -> Table:
    """What would run."""
    space, sampled, count = question.space, question.sampler != GRID, _count(question)
    title = (
        f"{count} trials ({question.sampler}), every point checked"
        if not sampled
        else f"{count} trials ({question.sampler})"
    )
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in ("varies", "over"):
        table.add_column(column)
    for dimension in space.dimensions:
        ends = f"{dimension.ends()[0]} to {dimension.ends()[-1]}{', logarithmic' if dimension.log else ''}"
        table.add_row(Text(dimension.name), Text(", ".join(dimension.texts) or ends))
    return table


def _count(question: Question) -> int:
    """How many trials are asked for."""
    if question.sampler != GRID:
        return question.n_trials or 0
    return min(question.space.size, question.n_trials or question.space.size)


def _print_result(study: Study, records: Sequence[TrialRecord], app: App) -> None:
    header = study.header()
    print_line(ranking_table(study.name, header, records))
    order = ranked(header["metrics"], records)
    if order:
        print_line(Text(f"best: {best_line(header, order[0])}"))
    print_line(Text(f"{header['folder']}: {CSV}, {PARQUET}, one folder a trial"))
    try:
        for line in app.conclusions(study):
            print_line(Text(line))
    except Exception as error:  # as after `finished`
        log.warning("What was to be said of sweep %s failed: %s", study.name, error)


def _failures(name: str, failed: Sequence[TrialRecord], total: int) -> str:
    lines = [f"  trial {r.number} {r.state.replace('_', ' ')}: {r.message}" for r in failed[:20]]
    more = [f"  ... and {len(failed) - 20} more"] if len(failed) > 20 else []
    return "\n".join(
        [
            f"{len(failed)} of {total} trials failed for good:",
            *lines,
            *more,
            f"Tracebacks: tinyrm sweep show {name} K. To run them once more: tinyrm sweep resume {name} --failed",
        ]
    )


def _again(name: str) -> str:
    return shlex.join(["tinyrm", "sweep", "resume", name])


def _program() -> str:
    script = Path(sys.argv[0]).name
    return f"python {script}" if script.endswith(".py") else script


def _fresh(folder: Path, count: int) -> list[int]:
    """Numbers of workers that had no folder yet; now they have, so that another shell takes others."""
    folder.mkdir(parents=True, exist_ok=True)
    taken: list[int] = []
    number = max((int(p.name) for p in folder.glob("*") if p.name.isdigit()), default=-1)
    while len(taken) < count:
        number += 1
        with contextlib.suppress(FileExistsError):
            (folder / str(number)).mkdir()
            taken.append(number)
    return taken
