"""What a storage takes, and what 1,000 workers on 100,000 trials ask of it.

    python tests/bench/slurm_scale.py
    python tests/bench/slurm_scale.py --processes 2 --sizes 0 --seconds 1    # whether it runs; its figures mean nothing

Processes without trials to run claim and finish as fast as the storage lets them, then renew leases: how many workers
fit follows from that. Journal, PostgreSQL (durable), and Optuna's proxy in front of it, each with few processes and
with many (`--processes`); some 10 minutes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WORKERS, TRIALS, HEARTBEAT_S = 1000, 100_000, 5.0


def _work(url: str, what: str, seconds: float, told: Any, ready: Any) -> None:
    from sweep_parts.studies import NAME

    from tinyrm.sweep import End
    from tinyrm.sweep.leases import WorkerId
    from tinyrm.sweep.outcome import Outcome
    from tinyrm.sweep.storage import open_storage
    from tinyrm.sweep.study import Claim, Study

    study, worker = Study(open_storage(url, create=False), NAME, 60), WorkerId.here()
    claim = study.claim(worker, lease_s=600, max_retries=0)
    ready.wait(timeout=300)  # all at once
    done, end = 0, time.monotonic() + seconds
    while time.monotonic() < end and isinstance(claim, Claim):
        if what == "heartbeat":
            study.heartbeat(claim, 0.5, lease_s=60, stops=0)
        else:
            study.finish(claim, Outcome(End.COMPLETE, fingerprint=str(claim.number), values={"value": 0.0}), [0.0])
            claim = study.claim(worker, lease_s=600, max_retries=0)
        done += 1
    told.put(done)


def rate(url: str, what: str, processes: int, seconds: float) -> float:
    """Operations a second of all processes together."""
    context = multiprocessing.get_context("spawn")
    told, ready = context.Queue(), context.Barrier(processes)
    started = [context.Process(target=_work, args=(url, what, seconds, told, ready)) for _ in range(processes)]
    for process in started:
        process.start()
    done = sum(told.get(timeout=300) for _ in started)
    for process in started:
        process.join()
    return max(float(done), 1 / 2) / seconds  # where none was done: fewer than one


def fill(url: str, finished: int, folder: Path) -> float:
    """A study of TRIALS trials of which the first `finished` have ended; seconds that opening and reading it takes."""
    import optuna
    from optuna.trial import TrialState
    from sweep_parts import studies

    from tinyrm.sweep.storage import open_storage
    from tinyrm.sweep.study import Study

    storage = open_storage(url)
    study = studies.make(storage, TRIALS, folder).study
    if finished and url.startswith("postgresql"):
        studies.fill(study, finished)
    elif finished:
        outcome = {"end": "complete", "fingerprint": "0" * 16, "values": {"value": 0.5}, "intervals": {}, "info": {}}
        for number in range(finished):
            attrs = {"point": number, "overrides": [f"x={number}"], "outcome": outcome}
            trial = optuna.trial.create_trial(state=TrialState.COMPLETE, value=0.5, user_attrs=attrs)
            storage.optuna.create_new_trial(study.id, trial)
    storage.close()
    began = time.monotonic()
    Study(open_storage(url, create=False), studies.NAME, 60).trials()
    return time.monotonic() - began


def proxy(url: str) -> tuple[subprocess.Popen[bytes], int]:
    """A proxy in front of a storage, and its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    code = "import sys; from tinyrm.cli import main; sys.exit(main(['sweep', *sys.argv[1:]]))"
    words = ["proxy", "--storage", url, "--host", "127.0.0.1", "--port", str(port)]
    return subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL), port


def measure(
    kind: str, urls: dict[int, str], folder: Path, counts: list[int], seconds: float, filled: dict[int, str]
) -> None:
    """Print what one storage takes, by the number of trials that have ended, and of processes at once.

    Args:
        kind: what it is called.
        urls: by the number of trials, a storage of its own each.
        folder: of the studies.
        counts: of processes.
        seconds: that each measurement takes.
        filled: where to put the trials, if not there: a proxy is slow at that.
    """
    for size, processes in ((size, processes) for size in urls for processes in counts):
        url = urls[size]
        if processes == counts[0]:
            opened = fill(filled.get(size, url), size, folder / f"{kind}{size}")
        claims = rate(url, "claim", processes, seconds)
        beats = rate(url, "heartbeat", processes, seconds)
        # A worker beats every HEARTBEAT_S, and claims and finishes once a trial.
        trial_s = {s: WORKERS / HEARTBEAT_S / beats + WORKERS / s / claims for s in (60, 600, 3600)}
        print(
            json.dumps(
                {
                    "storage": kind,
                    "trials_ended": size,
                    "processes": processes,
                    "read_s": round(opened, 2),
                    "claim_and_finish_per_s": round(claims, 1),
                    "heartbeats_per_s": round(beats, 1),
                    f"load_of_{WORKERS}_workers_by_seconds_a_trial": {k: round(v, 2) for k, v in trial_s.items()},
                    "most_workers_at_600_s_a_trial": int(1 / (1 / HEARTBEAT_S / beats + 1 / 600 / claims)),
                    "most_workers_at_heartbeat_60_s": int(1 / (1 / 60 / beats + 1 / 600 / claims)),
                }
            ),
            flush=True,
        )


def main() -> None:
    """Measure each storage asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["journal", "postgresql", "grpc"])
    parser.add_argument("--processes", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 10_000])
    parser.add_argument("--seconds", type=float, default=8.0, help="that each measurement takes")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="scale-"))
    if "journal" in options.only:
        urls = {n: f"journal:///{folder}/{n}.journal" for n in options.sizes}
        measure("journal", urls, folder, options.processes, options.seconds, {})
    if {"postgresql", "grpc"} & set(options.only):
        from sweep_parts.claims import _DURABLE, _server

        server = _server()
        try:
            server.begin()
            with (server.data / "postgresql.conf").open("a", encoding="utf-8") as settings:
                settings.write(_DURABLE)
            server.stop()
            server.start()
            if "postgresql" in options.only:
                urls = {n: server.database(f"n{n}") for n in options.sizes}
                measure("postgresql", urls, folder, options.processes, options.seconds, {})
            for size in options.sizes if "grpc" in options.only else ():
                behind = server.database(f"b{size}")
                process, port = proxy(behind)
                try:
                    urls = {size: f"grpc://127.0.0.1:{port}/{folder}/locks{size}"}
                    measure("grpc before postgresql", urls, folder, options.processes, options.seconds, {size: behind})
                finally:
                    process.terminate()
                    process.wait()
        finally:
            server.destroy()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
