"""A merged net as an ONNX graph, run by ONNX Runtime on the CPU: float32, faster than torch where its GEMMs are.

The graph is what the net computes for one forward pass: tokens in, one score a row out, with the last layer at one
position and two rows of the vocabulary matrix (cloze). Batch and length are free. Exporting takes seconds, so a graph
is kept below `data.cache_dir` under what decides it; a kept one that is damaged or gone is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import shutil
import warnings
import zlib
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from tinyrm.errors import ModelError, StorageError
from tinyrm.files import atomic_path
from tinyrm.model.net import RewardNet, log_odds_of
from tinyrm.model.prefix import config_items, feed_weights
from tinyrm.prompting import TensorBatch

log = logging.getLogger(__name__)

FOLDER = "onnx"  # below data.cache_dir
_PACKAGES = ("onnxruntime", "onnx", "onnxscript")
_FORMAT = 1  # raise when another graph is made of the same net
_KEPT = 4  # graphs on disk, those used last: each is as large as the model
_TOLERANCE = 1e-3  # of a score, times its size where that is above 1: far above rounding, far below a wrong graph
_INSTEAD = "Use evaluation.backend=float32."


class OnnxNet(nn.Module):
    """A net that ONNX Runtime runs, called as a :class:`RewardNet` is; on the CPU, without gradients.

    Args:
        net: merged and on the CPU; not needed afterwards.
        example: a forward pass as the net will get them (which inputs there are).
        cache_dir: graphs lie in its folder `onnx`.

    Raises:
        ModelError: the extra is not installed, or this model cannot be exported.
    """

    def __init__(self, net: RewardNet, example: dict[str, Tensor], cache_dir: str | Path) -> None:
        super().__init__()
        need_onnx()
        self.objective = net.objective
        self.device = torch.device("cpu")
        example = {name: value.repeat(2, *[1] * (value.ndim - 1))[:2] for name, value in example.items()}
        place = Path(cache_dir).expanduser() / FOLDER / _digest(net, sorted(example))
        self._session = _kept(place) or _made(net, example, place)

    def forward(self, batch: TensorBatch) -> Tensor:
        """Log-odds that the chosen response is better, (pairs,) float32; a batch of `tinyrm.prompting.encoding`."""
        scores = torch.cat([_run(self._session, rows) for rows in batch["passes"]])
        return log_odds_of(scores, batch, self.objective)


def need_onnx() -> None:
    """Raise a ModelError where the extra is not installed."""
    missing = [name for name in _PACKAGES if util.find_spec(name) is None]
    if missing:
        raise ModelError(f'evaluation.backend=onnx needs {" and ".join(missing)}: pip install "tinyrm[onnx]"')


class _Scores(nn.Module):
    """One forward pass of a net, for the exporter."""

    def __init__(self, net: RewardNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, rows: dict[str, Tensor]) -> Tensor:
        return self.net.scores(rows)


def _digest(net: RewardNet, inputs: list[str]) -> str:
    """What decides the graph."""
    digest = hashlib.blake2b(digest_size=16)
    versions = (torch.__version__, transformers.__version__, *(metadata.version(name) for name in _PACKAGES))
    told = (_FORMAT, versions, net.objective, net.whole, net.verbalizers.tolist(), inputs, config_items(net.base_model))
    digest.update(repr(told).encode())
    feed_weights(digest, net.base_model)
    return digest.hexdigest()


def _kept(place: Path) -> Any:
    """A session of the graph in this folder; None where there is none that is whole. Its name is its checksum."""
    for path in place.glob("*.onnx"):
        try:
            graph = path.read_bytes()
            whole = path.stem == _checksum(graph)
            place.touch() if whole else path.unlink()  # what was used last is kept longest
        except OSError as error:
            log.warning("%s cannot be used (%s): the model is exported again.", path, error)
            continue
        if whole:
            return _session(graph)
        log.warning("%s is damaged: the model is exported again.", path)
    return None


def _made(net: RewardNet, example: dict[str, Tensor], place: Path) -> Any:
    """A session of a graph made now, checked, and kept where there is room."""
    log.info("Exporting the model for ONNX Runtime.")
    try:
        graph = _export(net, example)
        session = _session(graph)
        far = _difference(session, net, example)
    except Exception as error:  # neither library's errors have a base that says so
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{net.family.name} cannot be exported to ONNX: {reason} {_INSTEAD}") from error
    if not far <= _TOLERANCE:
        raise ModelError(
            f"{net.family.name} exported to ONNX gives other scores than torch ({far:.2g} away). {_INSTEAD}"
        )
    try:
        with atomic_path(place / f"{_checksum(graph)}.onnx") as path:
            path.write_bytes(graph)
        for old in sorted(place.parent.iterdir(), key=lambda folder: -folder.stat().st_mtime)[_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
    except (StorageError, OSError) as error:
        log.warning("The exported model is not kept (%s): it is made each time.", error)
    return session


def _export(net: RewardNet, example: dict[str, Tensor]) -> bytes:
    """The serialized graph; float32, inputs as in `example`, output (rows,)."""
    dynamic = torch.export.Dim.DYNAMIC
    shapes = {name: dict.fromkeys(range(value.ndim), dynamic) for name, value in example.items()}
    with _quiet(), torch.no_grad():
        program: Any = torch.onnx.export(
            _Scores(net).eval(),
            kwargs={"rows": example},
            input_names=list(example),
            output_names=["scores"],
            dynamic_shapes={"rows": shapes},
            dynamo=True,
            verbose=False,
        )
    graph = io.BytesIO()
    program.save(graph)
    return graph.getvalue()


def _difference(session: Any, net: RewardNet, example: dict[str, Tensor]) -> float:
    """How far the graph's scores lie from the net's, for another number and length of rows than it was made with.

    Rows as long as the model's context cannot be made longer: there only their number differs.
    """
    more = min(3, net.family.context(net.base_model.config) - example["input_ids"].shape[1])
    rows = {name: torch.cat([value, value[:1]]) for name, value in example.items()}
    rows = {name: nn.functional.pad(value, (0, more)) if value.ndim == 2 else value for name, value in rows.items()}
    with torch.no_grad():
        expected = net.scores(rows).float()
    return float(((_run(session, rows) - expected).abs() / expected.abs().clamp(min=1)).max())


def _session(graph: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # lengths differ from batch to batch: the arena would keep room for each
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _run(session: Any, rows: dict[str, Tensor]) -> Tensor:
    """(rows,) scores."""
    return torch.from_numpy(session.run(None, {name: value.numpy() for name, value in rows.items()})[0])


def _checksum(graph: bytes) -> str:
    return f"{zlib.crc32(graph):08x}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's advice off the screen."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
