"""The commands `compare`, `rank`, `filter`, `serve` and `doctor` of `tinyrm`: their options, and starting them."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMMANDS = ("compare", "rank", "filter", "serve", "doctor")


def add_commands(commands: Any) -> None:
    """Add them to the subparsers of `tinyrm`."""
    compare = commands.add_parser("compare", help="say of each pair in a file which response is better")
    rank = commands.add_parser("rank", help="rank the responses of each row of a file")
    keep = commands.add_parser("filter", help="keep the preference pairs of a file with which the model agrees")
    for parser, fields in ((compare, "prompt, a, b"), (rank, "prompt, responses"), (keep, "prompt, chosen, rejected")):
        parser.add_argument("model", help="a run folder, a folder with a saved model, or owner/name of the hub")
        parser.add_argument("input", nargs="?", default="-", help=f"JSONL, Parquet or CSV with {fields}; - is stdin")
        parser.add_argument("--out", default="-", help="JSONL, Parquet or CSV; - (default) is stdout. Resumable")
        parser.add_argument("--columns", default="", help="where the columns have other names: field=column,...")
        parser.add_argument("--prefix", default="", help="before the names of the added columns")
        parser.add_argument("--replace", action="store_true", help="write over an --out that is there")
        _add_scoring(parser)
    rank.add_argument("--method", default="auto", help="all | tournament | auto (all pairs up to 16 responses)")
    keep.add_argument("--min-probability", type=float, default=0.5, help="that chosen is better (default 0.5)")
    keep.add_argument("--consistent", action="store_true", help="keep only pairs with one verdict in both orders")
    keep.add_argument("--rejects", help="where the other pairs go")
    serve = commands.add_parser("serve", help="answer over HTTP (pip install 'tinyrm[serve]')")
    serve.add_argument("model", help="a run folder, a folder with a saved model, or owner/name of the hub")
    serve.add_argument("--host", default="127.0.0.1", help="elsewhere than here it needs TINYRM_API_KEY")
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--max-queue", type=int, help="pairs that may wait before 429")
    serve.add_argument("--timeout", type=float, help="seconds a request may take before 503")
    _add_scoring(serve)
    doctor = commands.add_parser("doctor", help="what this machine can do, and what is missing")
    doctor.add_argument("--json", action="store_true", help="as JSON")


def run_command(options: argparse.Namespace) -> None:
    """Do what was asked.

    Raises:
        TinyRMError: what is wrong and what would be right.
    """
    started: dict[str, Callable[[argparse.Namespace], None]] = {"serve": _serve, "doctor": _doctor}
    started.get(options.command, _rows)(options)


def _add_scoring(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", default="auto", help="float32 (default) | bf16 | int8 | onnx: what scores")
    parser.add_argument("--truncation", default="warn", help="warn | error | ignore: when a text does not fit")


def _rows(options: argparse.Namespace) -> None:
    from tinyrm.serving.columns import Task, renames
    from tinyrm.serving.rows import STANDARD, check_outputs, open_rows, run_rows

    _check_backend(options.backend)
    columns = renames(options.command, options.columns)
    outputs = {"out": options.out}
    if getattr(options, "rejects", None):
        outputs["rejects"] = options.rejects
    check_outputs(outputs, replace=options.replace)
    if options.out == STANDARD and "rejects" in outputs:
        from tinyrm.errors import ConfigError

        raise ConfigError("--rejects needs --out FILE: both are written when all is done.")
    table = open_rows(options.input)
    own = {name: getattr(options, name) for name in ("method", "min_probability", "consistent") if name in options}
    task = Task(options.command, _model(options), columns, options.prefix, **own)
    with _progress(options.command) as told, warnings.catch_warnings():
        warnings.simplefilter("default")  # the first cut text is told of; each row says it for itself
        run_rows(table, task, outputs, task.settings, replace=options.replace, progress=told)


def _check_backend(name: str) -> None:
    from tinyrm.config.rules import BACKENDS
    from tinyrm.errors import ConfigError, did_you_mean

    if name not in BACKENDS:
        raise ConfigError(f"--backend {name} is not known.{did_you_mean(name, BACKENDS)}")


def _model(options: argparse.Namespace) -> Any:
    from tinyrm.serving.model import RewardModel

    return RewardModel.from_pretrained(options.model, backend=options.backend, truncation=options.truncation)


class _progress:  # noqa: N801 (reads as a word)
    """A count of rows on stderr, where that is a terminal."""

    def __init__(self, what: str) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        self.bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self.what, self.task = what, self.bar.add_task(what, total=None)

    def __enter__(self) -> Callable[[int], None]:
        self.bar.start()
        return lambda rows: self.bar.update(self.task, description=f"{self.what}: {rows:,} rows")

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


def _serve(options: argparse.Namespace) -> None:
    from tinyrm.serving.server import check_serve, serve

    given = {"max_queue": options.max_queue, "timeout_s": options.timeout}
    check_serve(options.host)
    _check_backend(options.backend)
    serve(_model(options), options.host, options.port, **{k: v for k, v in given.items() if v is not None})


def _doctor(options: argparse.Namespace) -> None:
    from tinyrm.serving.doctor import examine, show

    show(examine(Path.cwd()), as_json=options.json)
