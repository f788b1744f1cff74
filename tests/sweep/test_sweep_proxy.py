"""`sweep.storage=grpc://...`: a real proxy, as `tinyrm sweep proxy` starts it, in front of a journal."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tinyrm.sweep import SweepError
from tinyrm.sweep.proxy import parse
from tinyrm.sweep.storage import open_storage
from tinyrm.sweep.study import Study

SETTINGS = "hydra.sweeper.settings"


@pytest.fixture
def port(toy: Any) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        chosen = int(free.getsockname()[1])
    words = ["proxy", "--storage", "journal:///behind.journal", "--host", "127.0.0.1", "--port", str(chosen)]
    code = "import sys; from tinyrm.cli import main; sys.exit(main(['sweep', *sys.argv[1:]]))"
    process = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL, cwd=toy.folder)
    try:
        yield chosen
    finally:
        process.terminate()
        process.wait()


def test_workers_run_a_grid_through_the_proxy(toy: Any, port: int) -> None:
    url = f"grpc://127.0.0.1:{port}/locks"
    options = [f"{SETTINGS}.name=s", f"{SETTINGS}.storage={url}", f"{SETTINGS}.workers=2"]
    code, output = toy.run(*options, "x=1,2,3,4", "mode=fine,report")
    assert code == 0, output
    assert toy.noted("begin") == toy.noted("end") == Counter(range(8))
    storage = open_storage(f"journal:///{toy.folder}/behind.journal", create=False)
    assert [r.values["value"] for r in Study(storage, "s", 10).records()] == [
        110.5,
        110.5,
        120.5,
        120.5,
        130.5,
        130.5,
        140.5,
        140.5,
    ]
    code, output = toy.run(*options, "x=1,2,3,4", "mode=fine,report,nan_value")
    assert code == 2 and "extend the sweep with the database's own URL" in output


def test_urls() -> None:
    assert parse("grpc://head:13000/locks") == ("head", 13000, Path("locks"))
    assert parse("grpc://[::1]:13000//shared/locks") == ("[::1]", 13000, Path("/shared/locks"))
    for url in ("grpc://head/locks", "grpc://head:13000", "grpc://user@head:1/x"):
        with pytest.raises(SweepError, match="give grpc://HOST:PORT/FOLDER"):
            parse(url)


def test_one_that_is_not_there_is_named(toy: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"grpc://127.0.0.1:{free.getsockname()[1]}/{toy.folder}/locks"
    with pytest.raises(SweepError, match="start `tinyrm sweep proxy` there"):
        open_storage(url)
