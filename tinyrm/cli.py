"""What people type: `python run.py OVERRIDES` and the `tinyrm` command."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from rich.logging import RichHandler

from tinyrm import studies, sweep
from tinyrm.config import (
    PretrainingConfig,
    TinyRMConfig,
    compose,
    config_dir,
    config_hash,
    explain,
    register,
    to_config,
)
from tinyrm.config.rules import BACKENDS
from tinyrm.errors import ConfigError, Interrupted, StorageError, TinyRMError, did_you_mean
from tinyrm.masking import MaskingFormatter, mask_yaml, masked
from tinyrm.report import probing
from tinyrm.serving import arguments as serving_arguments

if TYPE_CHECKING:
    from tinyrm.experiment import ExperimentResult
    from tinyrm.model import SharedPrefix

log = logging.getLogger(__name__)

# Folders of data.cache_dir.
CACHES = {
    "prefix": "output of frozen layers",
    "tokens": "tokenised pairs",
    "onnx": "models exported for ONNX Runtime",
    "warmups": "warmed backbones",
    "bag": "what a bag of words says of pairs",
}


def launch(hydra_main: Callable[[], Any], argv: list[str] | None = None) -> NoReturn:
    """Run a `hydra.main` function; problems become one message on stderr and a non-zero exit.

    `-v` (`--verbose`) shows the traceback too.

    Args:
        hydra_main: the decorated function.
        argv: the command line without the program; `sys.argv` by default.
    """
    arguments = sys.argv[1:] if argv is None else argv
    verbose = any(flag in arguments for flag in ("-v", "--verbose"))
    sys.argv[1:] = [argument for argument in arguments if argument not in ("-v", "--verbose")]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands exceptions on instead of printing them its own way
    register()
    sweep.register(group="sweep")
    kind = PretrainingConfig if _config_name(arguments) == "pretrain" else TinyRMConfig
    sys.exit(_guarded(hydra_main, verbose, kind))


def run_one(composed: DictConfig) -> Any:
    """What one Hydra job does: run the experiment in Hydra's folder and print its table.

    Returns:
        dev accuracy, the number a foreign sweeper may choose by; in a trial of a sweep of ours, its Result; of a
        pretraining its held-out loss.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    for written in folder.glob(f"{HydraConfig.get().output_subdir}/*.yaml"):
        mask_yaml(written)  # as typed: Hydra has just written it
    if HydraConfig.get().job.config_name == "pretrain":
        return _pretrain(to_config(composed, PretrainingConfig), folder)
    config: TinyRMConfig = to_config(composed)
    led = sweep.followed_trial()
    try:
        if led is not None:
            from tinyrm.experiment import take_part

            return take_part(config, led)
        if not sweep.in_trial():
            return _run(config, folder).dev_accuracy
        from tinyrm.trial import callbacks_of, prepared, result_of, shared_prefix

        return result_of(_run(prepared(config), folder, callbacks_of(config), shared=shared_prefix()), config)
    except Interrupted as error:
        raise KeyboardInterrupt(str(error)) from error  # a sweep ends with it; it goes on after anything less


def main(argv: Sequence[str] | None = None) -> int:
    """The `tinyrm` command."""
    parser = argparse.ArgumentParser(prog="tinyrm", description="Work with runs that `python run.py` made.")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(dest="command", required=True)
    resume = commands.add_parser("resume", help="continue an interrupted run from its last checkpoint")
    resume.add_argument("run", type=Path, help="its run folder")
    resume.add_argument("values", nargs="*", metavar="KEY=VALUE", help="what run.json keeps masked, as it was a secret")
    evaluate = commands.add_parser("eval", help="evaluate a saved model on a benchmark or on your pairs")
    evaluate.add_argument("run", type=Path, help="a run folder, or a folder with a saved model")
    evaluate.add_argument("--benchmark", default="pairs", help="rewardbench | rewardbench2 | pairs (default)")
    evaluate.add_argument("--path", help="local file or folder; needed for pairs, in place of the hub for the others")
    evaluate.add_argument("--out", type=Path, help="where metrics.json and predictions.parquet go")
    evaluate.add_argument("--backend", default="auto", help="float32 (default) | bf16 | int8 | onnx: what scores")
    evaluate.add_argument("--partial", action="store_true", help="accept a benchmark that lacks subsets")
    cache = commands.add_parser("cache", help="what is kept between runs: tokens, the frozen layers' output, warm-ups")
    cache.add_argument("action", choices=("show", "clear"), help="show how much there is, or remove it")
    cache.add_argument("--dir", type=Path, default=None, help="data.cache_dir, where that is not the default")
    pretrain = commands.add_parser("pretrain", help="pretrain a masked language model, or go on with one, on your text")
    pretrain.add_argument("overrides", nargs="*", help="as of run.py: corpus.path=FOLDER ...; see conf/pretrain.yaml")
    sync = commands.add_parser("sync", help="upload to W&B what was tracked offline")
    sync.add_argument("folders", nargs="*", type=Path, help="of runs or sweeps (default: outputs and multirun)")
    serving_arguments.add_commands(commands)
    sweep.add_commands(commands)
    studies.add_commands(commands)
    probing.add_command(commands)
    report = commands.add_parser("report", help="what one or several sweeps found, as a page that opens from disk")
    report.add_argument("names", nargs="+", metavar="NAME", help="of the sweeps, finished or running")
    report.add_argument("--storage", help="where they are (default: sweep.storage's own default)")
    report.add_argument("--format", default="html", help="html (default) | md | json | png: a picture a chart")
    report.add_argument("--out", type=Path, help="file, or folder of the pictures (default: in the sweep's folder)")
    report.add_argument("--wandb", action="store_true", help="save it to W&B too, as a report and a workspace view")
    report.add_argument("--project", help="of W&B (default: tracking.project of the sweep)")
    report.add_argument("--entity", help="of W&B (default: tracking.entity of the sweep, else the key's own)")
    options, left = parser.parse_known_args(argv)
    if left and not studies.take_overrides(options, left):
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    logging.basicConfig(
        level=logging.INFO,
        format="%(message)s",
        handlers=[RichHandler(show_path=False, show_time=False, console=Console(stderr=True))],
    )
    actions = {
        "resume": _resume,
        "eval": _evaluate,
        "sweep": _sweep,
        "sync": _sync,
        "cache": _cache,
        "pretrain": _begin_pretraining,
        "report": _report,
        "probe": probing.run_command,
    }
    actions |= dict.fromkeys(serving_arguments.COMMANDS, serving_arguments.run_command)
    actions |= dict.fromkeys(studies.COMMANDS, lambda options: studies.run_command(options, _again))
    kind = PretrainingConfig if options.command == "pretrain" else TinyRMConfig
    return _guarded(lambda: actions[options.command](options), options.verbose, kind)


def _config_name(arguments: Sequence[str]) -> str | None:
    """What `--config-name` (or `-cn`) gives."""
    for number, argument in enumerate(arguments):
        flag, _, value = argument.partition("=")
        if flag in ("--config-name", "-cn"):
            return value or next(iter(arguments[number + 1 :]), None)
    return None


def _guarded(action: Callable[[], Any], verbose: bool, kind: type = TinyRMConfig) -> int:
    """Run `action`; give the exit code, and tell what went wrong without a traceback unless `verbose`.

    Args:
        kind: the schema of the config that it composes, for near names.
    """
    try:
        action()
    except (HydraException, OmegaConfBaseException) as error:
        return _tell(explain(error, kind), verbose, error)
    except (TinyRMError, sweep.SweepError) as error:
        return _tell(error, verbose)
    except KeyboardInterrupt as error:
        return _tell(Interrupted(str(error) or "stopped by Ctrl-C."), verbose, error)
    except OSError as error:
        if error.errno not in _STORAGE_ERRNOS:
            raise
        where = error.filename or "the run folder"
        return _tell(StorageError(f"cannot write {where}: {error.strerror}."), verbose, error)
    return 0


# What Hydra and loggers raise when the run folder cannot be made or the disk is full.
_STORAGE_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOENT, errno.ENOTDIR}


def _tell(meaning: TinyRMError | sweep.SweepError, verbose: bool, cause: BaseException | None = None) -> int:
    """Print what went wrong (and with `verbose` where); give the exit code."""
    if verbose:
        traceback.print_exception(cause or meaning)
    label = "stopped" if isinstance(meaning, Interrupted | sweep.SweepInterrupted) else "error"
    sys.stderr.write(f"{label}: {masked(str(meaning))}\n")
    return meaning.exit_code


def _run(
    config: TinyRMConfig,
    folder: Path,
    callbacks: Sequence[Any] = (),
    siblings: bool = False,
    shared: SharedPrefix | None = None,
) -> ExperimentResult:
    # The heavy imports wait until a config has been composed: `--help` and a typo answer at once.
    from tinyrm.experiment import run
    from tinyrm.report.terminal import result_table

    try:
        result = run(config, folder, callbacks=callbacks, siblings=siblings or sweep.in_trial(), shared=shared)
    except Interrupted as error:
        hint = "" if sweep.in_trial() else f" Continue with: tinyrm resume {folder}"
        raise Interrupted(f"{error}{hint}") from error
    console = table_console()
    console.print(result_table(result.evaluation))
    seconds, parameters = result.record["seconds"], result.record["parameters"]
    console.print(
        f"dev accuracy {100 * result.dev_accuracy:.1f}% | trained {parameters['trained']:,} parameters | "
        f"{result.record['throughput']['pairs_per_second']:.1f} pairs/s | "
        f"train {seconds['train']:.0f} s, evaluate {seconds['evaluate']:.0f} s",
        highlight=False,
    )
    console.print(f"run folder: {folder}", highlight=False, soft_wrap=True)
    return result


def table_console() -> Console:
    """Stdout; where it is no terminal (a file, a pipe) wide enough for a table, whatever the width of the terminal."""
    return Console() if sys.stdout.isatty() else Console(width=110)


def _resume(options: argparse.Namespace) -> None:
    from tinyrm.runs import check_unmasked, config_of, read_record

    record = read_record(options.run)
    if record is None:
        raise ConfigError(f"{options.run} is no run folder: it has no run.json.{_near_runs(options.run)}")
    if record.get("state") == "complete":
        raise ConfigError(f"{options.run} is complete already; its numbers are in {options.run / 'metrics.json'}.")
    handler = logging.FileHandler(options.run / "run.log")
    handler.setFormatter(MaskingFormatter())
    logging.getLogger().addHandler(handler)
    if record.get("kind") == "pretraining":
        pretraining = to_config(config_of(record, PretrainingConfig, options.values), PretrainingConfig)
        check_unmasked(record, config_hash(pretraining), options.values)
        _pretrain(pretraining, options.run)
        return
    config: TinyRMConfig = to_config(config_of(record, TinyRMConfig, options.values))
    check_unmasked(record, config_hash(config), options.values)
    # As a trial of a sweep went on: what its siblings shared decides how numbers are rounded.
    _run(config, options.run, siblings=bool(record.get("siblings")))


def _pretrain(config: PretrainingConfig, folder: Path) -> float:
    from tinyrm.pretraining import run
    from tinyrm.report.terminal import pretraining_table

    try:
        result = run(config, folder)
    except Interrupted as error:
        raise Interrupted(f"{error} Continue with: tinyrm resume {folder}") from error
    console = table_console()
    console.print(pretraining_table(result.record))
    console.print(f"use it: python run.py model=local model.path={folder / 'model'}", highlight=False, soft_wrap=True)
    return float(result.record["heldout"]["loss"])


def _begin_pretraining(options: argparse.Namespace) -> None:
    _as_run_py(options.overrides, "pretrain")


def _sweep(options: argparse.Namespace) -> None:
    sweep.run_command(options, _again)


def _again(arguments: Sequence[str]) -> None:
    """Run experiments with these arguments, as `run.py` does."""
    _as_run_py(arguments, "config")


def _as_run_py(arguments: Sequence[str], config_name: str) -> None:
    os.environ["HYDRA_FULL_ERROR"] = "1"
    register()
    sweep.register(group="sweep")
    logging.getLogger().handlers.clear()  # Hydra sets up its own
    sys.argv = ["run.py", *arguments]
    hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)(run_one)()


def _evaluate(options: argparse.Namespace) -> None:
    from tinyrm.evaluation.saved import evaluate_saved
    from tinyrm.report.terminal import result_table

    out = options.out or options.run / f"eval-{options.benchmark}"
    if options.backend not in BACKENDS:
        raise ConfigError(f"--backend {options.backend} is not known.{did_you_mean(options.backend, BACKENDS)}")
    result = evaluate_saved(
        options.run,
        options.benchmark,
        options.path,
        out,
        partial=options.partial,
        backend=options.backend,
        cache_dir=compose().data.cache_dir,
    )
    console = table_console()
    console.print(result_table(result))
    console.print(f"written to: {out}", highlight=False, soft_wrap=True)


def _report(options: argparse.Namespace) -> None:
    from tinyrm.report.reading import read_report
    from tinyrm.report.writing import check_format, default_place, write_report

    check_format(options.format)
    report = read_report(options.names, options.storage)
    out = write_report(report, options.format, options.out or default_place(report, options.format))
    print(f"written to: {out}")
    if options.wandb:
        from tinyrm.report.publishing import publish_report

        published = publish_report(report, options.project, options.entity)
        print(f"W&B report: {published.report}\nW&B workspace: {published.workspace}")


def _cache(options: argparse.Namespace) -> None:
    from tinyrm import warmup_store
    from tinyrm.model import rowstore
    from tinyrm.model.rowstore import amount, usage

    config = compose()
    root = (options.dir or Path(config.data.cache_dir)).expanduser()
    limits = {"prefix": f"speed.prefix_gb={config.speed.prefix_gb:g}"}
    found = warmup_store.kept(root / warmup_store.WARMUPS)
    limits[warmup_store.WARMUPS] = f"{found.count}, in use {found.held}; warmup.cache_gb={config.warmup.cache_gb:g}"
    for part, what in CACHES.items():
        if options.action == "show":
            beside = f"; {limits[part]}" if part in limits else ""
            print(f"{root / part}: {amount(usage(root / part))} ({what}{beside})")
        else:
            removed = (warmup_store if part == warmup_store.WARMUPS else rowstore).clear(root / part)
            print(f"{root / part}: {amount(removed)} removed ({what})")


def _sync(options: argparse.Namespace) -> None:
    from tinyrm.tracking.syncing import sync

    folders = options.folders or [folder for folder in (Path("outputs"), Path("multirun")) if folder.is_dir()]
    done = sync(folders)
    beside = f"; {done.there} were there before" if done.there else ""
    beside += f"; {done.running} still run" if done.running else ""
    print(f"{done.uploaded} runs uploaded to W&B{beside}")


def _near_runs(folder: Path) -> str:
    parent = folder.parent
    runs = [str(p.parent) for p in parent.glob("*/run.json")] if parent.is_dir() else []
    return did_you_mean(str(folder), runs) if runs else " Run folders are where `python run.py` said, below outputs/."


if __name__ == "__main__":
    sys.exit(main())
