"""The output of the frozen layers, computed once: for every epoch, every evaluation, and every run that shares it.

With `freeze=N` what comes out of the embeddings and the first N layers for a sequence of tokens never changes. The
store keeps it under what decides it: the frozen weights themselves, the precision they are computed in, and the tokens.
So runs share it wherever they can (other adapter, rank, learning rate, seed; a deeper `freeze` goes on from it).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from transformers import PreTrainedModel

from tinyrm.errors import StorageError
from tinyrm.model.net import RewardNet
from tinyrm.model.rowstore import RowStore

log = logging.getLogger(__name__)

FOLDER = "prefix"  # below data.cache_dir
_FORMAT = 1  # raise when the meaning of what is stored changes
_BATCH_TOKENS = 8192
_DTYPES: dict[str, np.dtype[Any]] = {"32": np.dtype(np.float32), "bf16": np.dtype(np.uint16)}  # bf16 by its bits


@dataclass(frozen=True)
class _Row:
    digest: bytes
    ids: NDArray[np.int32]
    types: NDArray[np.int8] | None


@dataclass(frozen=True)
class Needed:
    """What a run would read, each row once.

    Attributes:
        stored: tokens that the store has already.
        missing: tokens that would have to be computed and stored.
        size: bytes of the latter.
        rows: that are missing, longest first.
    """

    stored: int
    missing: int
    size: int
    rows: tuple[_Row, ...]


class PrefixStore:
    """Stored outputs of the frozen layers of one net, and of those below them.

    Args:
        cache_dir: the store lies in its folder `prefix`.
        net: with at least one frozen layer, which runs layer by layer.
        precision: of the computation, as Lightning names it; `context` must be that.
        context: makes the context in which the net is run (autocast).
        dtype: of what is stored, '32' or 'bf16'.
        limit_gb: that everything stored may take, in 1e9 bytes.
    """

    def __init__(
        self,
        cache_dir: str | Path,
        net: RewardNet,
        *,
        precision: str = "32-true",
        context: Callable[[], AbstractContextManager[Any]] = nullcontext,
        dtype: str = "32",
        limit_gb: float,
    ) -> None:
        self.net, self._context, self._dtype = net, context, _DTYPES[dtype]
        width, root = int(net.base_model.config.hidden_size), Path(cache_dir).expanduser() / FOLDER
        keys = prefix_keys(net, precision, dtype)
        # One store a depth; the last is ours, those below it are where another run may have been.
        self._stores = [RowStore(root, key, width, self._dtype, int(limit_gb * 1e9)) for key in keys]

    @staticmethod
    def possible(net: RewardNet) -> bool:
        """Whether the net has a constant prefix that can be run by itself."""
        return net.freeze > 0 and net.runner is not None

    def needed(self, passes: Iterable[dict[str, Tensor]]) -> Needed:
        """What these forward passes read."""
        rows = {row.digest: row for rows in passes for row in _rows(rows)}
        missing = [row for row in rows.values() if row.digest not in self._stores[-1]]
        missing.sort(key=lambda row: -len(row.ids))
        lacking = sum(len(row.ids) for row in missing)
        stored = sum(len(row.ids) for row in rows.values()) - lacking
        return Needed(stored, lacking, self.size(lacking), tuple(missing))

    def size(self, tokens: int) -> int:
        """Bytes that so many tokens take."""
        return tokens * bytes_of_a_token(self.net, self._dtype)

    def fill(self, needed: Needed, *, progress: bool = False, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Compute and store what is missing; whether all of it is there now. What is there when it stops stays.

        Args:
            needed: of :meth:`needed`.
            progress: show a bar on stderr.
            stopped: asked between batches.
        """
        own = self._stores[-1]
        try:
            with own.locked(stopped) as got:
                if not got:
                    return False
                own.refresh()  # another process may have done it while we waited
                missing = [row for row in needed.rows if row.digest not in own]
                if not missing:
                    return True
                with own.adding(sum(len(row.ids) for row in missing)) as writer:
                    batches = list(_batches(missing, self._batch_tokens()))
                    shown = track(batches, "frozen layers", console=Console(stderr=True), disable=not progress)
                    for batch in shown:
                        if stopped():
                            return False
                        hidden = self._computed(batch)
                        for row, values in zip(batch, hidden, strict=True):
                            writer.add(row.digest, values[: len(row.ids)])
        except (OSError, StorageError) as error:  # NoRoomError among them
            log.warning("The frozen layers' output is not stored (%s): they are computed each time.", error)
            return False
        return all(row.digest in own for row in needed.rows)

    def attach(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with stored hidden states in place of tokens, in every forward pass whose rows are all there."""
        return {**batch, "passes": [self._attached(rows) for rows in batch["passes"]]}

    def _attached(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        hidden = self._stored(self._stores[-1], list(_rows(rows)), rows["input_ids"].shape[1])
        if hidden is None:
            return rows
        return {"hidden": hidden} | {k: v for k, v in rows.items() if k not in ("input_ids", "token_type_ids")}

    def _stored(self, store: RowStore, rows: Sequence[_Row], longest: int) -> Tensor | None:
        """(rows, longest, d) float32; None where a row is not there."""
        if not all(row.digest in store for row in rows):
            return None
        values = np.zeros((len(rows), longest, store.width), self._dtype)
        for row, into in zip(rows, values, strict=True):
            if not store.read(row.digest, into):
                return None
        hidden = torch.from_numpy(values)
        return hidden if self._dtype == np.float32 else hidden.view(torch.bfloat16).float()

    def _batch_tokens(self) -> int:
        """Of what is run at once; 0 for single rows.

        On a CPU each row is run alone, which is no slower: what is stored for it is then the same in every store, bit
        for bit. A GPU wants more at once, and promises no such thing anyway.
        """
        return 0 if next(self.net.parameters()).device.type == "cpu" else _BATCH_TOKENS

    def _computed(self, rows: Sequence[_Row]) -> NDArray[Any]:
        """(rows, longest, d) in the store's dtype, from the deepest layer whose output is known for all of them."""
        longest, net = len(rows[0].ids), self.net
        device = next(net.parameters()).device
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for line, row in enumerate(rows):
            mask[line, : len(row.ids)] = 1
        given: dict[str, Tensor] = {"attention_mask": mask}
        start = 0
        exact = self._dtype == np.float32  # from what is rounded one would come to other numbers than from the tokens
        for depth in range(len(self._stores) - 1, 0, -1) if exact else ():
            known = self._stored(self._stores[depth - 1], rows, longest)
            if known is not None:
                given["hidden"], start = known, depth
                break
        else:
            given |= _padded(rows, longest)
        with torch.no_grad(), self._context():
            hidden = net.prefix({name: value.to(device) for name, value in given.items()}, start)
        if exact:
            values: NDArray[Any] = hidden.float().cpu().numpy()
            return values
        rounded: NDArray[Any] = hidden.to(torch.bfloat16).cpu().view(torch.uint16).numpy()
        return rounded


def bytes_of_a_token(net: RewardNet, dtype: np.dtype[Any] | str) -> int:
    """What the hidden state of a token takes in a store of this dtype ('32', 'bf16')."""
    kind = _DTYPES[dtype] if isinstance(dtype, str) else dtype
    return int(net.base_model.config.hidden_size) * kind.itemsize


def operations_per_byte(net: RewardNet, dtype: str) -> float:
    """Of computing a token's hidden state over reading it: what a store has to offer, whatever the machine does."""
    layers = net.family.layers_of(net.base_model)[: net.freeze]
    weights = sum(p.numel() for layer in layers for p in layer.parameters() if p.ndim == 2)
    return 2 * weights / bytes_of_a_token(net, dtype)


def prefix_keys(net: RewardNet, precision: str, dtype: str) -> list[str]:
    """What decides the output of the first 1, 2, ... frozen layers beside the tokens: a key each."""
    model = net.base_model
    device = next(net.parameters()).device.type
    digest = hashlib.blake2b(digest_size=16)
    versions = (torch.__version__, transformers.__version__)
    how = (precision, dtype, device, model.config._attn_implementation, *versions)
    digest.update(repr((_FORMAT, config_items(model), how)).encode())
    for module in net.family.embeddings_of(model):
        feed_weights(digest, module)
    keys = []
    for layer in net.family.layers_of(model)[: net.freeze]:
        feed_weights(digest, layer)
        keys.append(digest.hexdigest())
    return keys


def config_items(model: PreTrainedModel) -> list[tuple[str, Any]]:
    """What a model's config says of how it computes, in order."""
    return sorted(((k, v) for k, v in model.config.to_dict().items() if k not in _NAMES), key=str)


_NAMES = ("_name_or_path", "transformers_version", "architectures", "id2label", "label2id", "problem_type", "dtype")


def feed_weights(digest: Any, module: nn.Module) -> None:
    """Add every parameter and buffer, with its name, to a digest of `hashlib`."""
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)


def _rows(rows: dict[str, Tensor]) -> Iterator[_Row]:
    """The rows of a forward pass without their padding."""
    ids, lengths = rows["input_ids"].numpy(), rows["attention_mask"].sum(dim=1).tolist()
    types = rows["token_type_ids"].numpy() if "token_type_ids" in rows else None
    for line, length in enumerate(lengths):
        own = ids[line, :length].astype(np.int32)  # a copy: a view would keep the whole batch
        kind = None if types is None else types[line, :length].astype(np.int8)
        digest = hashlib.blake2b(own.tobytes(), digest_size=16, person=b"" if kind is None else b"types")
        if kind is not None:
            digest.update(kind.tobytes())
        yield _Row(digest.digest(), own, kind)


def _batches(rows: Sequence[_Row], tokens: int) -> Iterator[list[_Row]]:
    """Rows, longest first, in batches of at most so many tokens, or of one row."""
    start = 0
    while start < len(rows):
        count = max(1, tokens // len(rows[start].ids))
        yield list(rows[start : start + count])
        start += count


def _padded(rows: Sequence[_Row], longest: int) -> dict[str, Tensor]:
    """Tokens (and types) padded on the right; what the padding holds reaches no real token."""
    given = {"input_ids": torch.zeros(len(rows), longest, dtype=torch.long)}
    if rows[0].types is not None:
        given["token_type_ids"] = torch.zeros(len(rows), longest, dtype=torch.long)
    for line, row in enumerate(rows):
        given["input_ids"][line, : len(row.ids)] = torch.from_numpy(row.ids)
        if row.types is not None:
            given["token_type_ids"][line, : len(row.ids)] = torch.from_numpy(row.types)
    return given
