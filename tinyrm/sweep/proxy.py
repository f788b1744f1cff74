"""A storage behind Optuna's gRPC proxy: one process keeps the few connections to the database, workers talk to it.

The proxy knows no transactions, so the lock is a file's, in a folder that all workers see.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, GrpcStorageProxy, run_grpc_proxy_server

from .errors import SweepError
from .shared import AWAY, SharedStorage, flock, short

AWAY.add(grpc.RpcError)
_ANSWERS_S = 10.0


class GrpcStorage(SharedStorage):
    """`grpc://HOST:PORT/FOLDER`.

    Raises:
        grpc.RpcError: nothing answers.
    """

    def __init__(self, host: str, port: int, folder: Path, label: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder.resolve()
        channel = grpc.insecure_channel(f"{host}:{port}")
        try:
            grpc.channel_ready_future(channel).result(timeout=_ANSWERS_S)
        except grpc.FutureTimeoutError:
            raise ConnectionError(f"nothing answers at {host}:{port}: start `tinyrm sweep proxy` there") from None
        finally:
            channel.close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(GrpcStorageProxy(host=host, port=port), label)

    @contextlib.contextmanager
    def _exclusive(self, name: str) -> Iterator[None]:
        with flock(self._folder / f".proxy.{short(name)}.lock"):
            yield

    def widen(self, study_id: int, distributions: Mapping[str, BaseDistribution]) -> None:
        """Refused: the proxy cannot rewrite what is recorded.

        Raises:
            SweepError: always.
        """
        raise SweepError("a proxy cannot take more choices: extend the sweep with the database's own URL.")

    def close(self) -> None:
        self.optuna.close()  # type: ignore[attr-defined]


def parse(url: str) -> tuple[str, int, Path]:
    """Host, port and folder of `grpc://HOST:PORT/FOLDER` (a second slash begins an absolute path).

    Raises:
        SweepError: it is malformed.
    """
    found = re.fullmatch(r"grpc://([\w.-]+|\[[0-9a-fA-F:]+\]):(\d+)/(.+)", url)
    if found is None:
        raise SweepError(
            f"sweep.storage={url}: give grpc://HOST:PORT/FOLDER, a folder that all workers see, for locks."
        )
    return found[1], int(found[2]), Path(found[3]).expanduser()


def serve(storage: BaseStorage, host: str, port: int) -> None:
    """Be the proxy in front of a storage, until a signal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        run_grpc_proxy_server(storage, host=host, port=port)
