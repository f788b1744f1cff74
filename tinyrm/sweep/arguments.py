"""The arguments of `sweep ls | status | resume | stop | show`, apart from what they do: `--help` answers at once."""

from __future__ import annotations

import argparse


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str = "sweep") -> None:
    """Add the `sweep` command and its verbs to a command line."""
    sweep = commands.add_parser(name, help="what sweeps run, what failed and why; resume and stop them")
    verbs = sweep.add_subparsers(dest="verb", required=True)
    verb = {
        "ls": verbs.add_parser("ls", help="all sweeps of a storage"),
        "status": verbs.add_parser("status", help="the trials of one sweep"),
        "resume": verbs.add_parser("resume", help="run what is missing, with the command the sweep was started by"),
        "stop": verbs.add_parser("stop", help="stop its workers with checkpoints, or end one trial for good"),
        "show": verbs.add_parser("show", help="one trial: config, result, traceback"),
        "proxy": verbs.add_parser("proxy", help="stand between a database and very many workers, until Ctrl-C"),
    }
    for key, parser in verb.items():
        parser.add_argument("--storage", help="where the study is (default: sweep.storage's own default)")
        if key not in ("ls", "proxy"):
            parser.add_argument("name", help="of the sweep")
    verb["status"].add_argument("--watch", action="store_true", help="until it is done or Ctrl-C")
    verb["resume"].add_argument("--failed", action="store_true", help="run failed trials once more")
    verb["resume"].add_argument("overrides", nargs="*", help="further overrides, as in sweep.workers=4")
    verb["stop"].add_argument("--trial", type=int, help="end only this trial, for good")
    verb["proxy"].add_argument(
        "--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 for workers elsewhere: no password is asked"
    )
    verb["proxy"].add_argument("--port", type=int, default=13000)
    verb["show"].add_argument("trial", type=int)
