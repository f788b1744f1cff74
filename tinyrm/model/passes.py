"""What nets with the same frozen layers compute once, in memory, where they are trained side by side in one process."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

from tinyrm.model.net import RewardNet
from tinyrm.model.prefix import PrefixStore, prefix_keys

_NAME = "pass"  # of a forward pass, beside its tensors


class SharedPrefix:
    """The frozen parameters on their device, and the frozen layers' output for the forward passes made last.

    Nets that make the same passes at about the same time (the same data order; or dev and test, which all read in one
    order) read what the first one computed. For threads that run in turn, see :class:`tinyrm.sweep.App`.

    Args:
        passes: how many are kept.
        pass_on: called after each scored batch, so that others come to the same one.

    Attributes:
        computed, read: how often an output was computed, and found.
    """

    def __init__(self, passes: int, pass_on: Callable[[], None] = lambda: None) -> None:
        self._most, self.pass_on = passes, pass_on
        self._outputs: OrderedDict[Hashable, Tensor] = OrderedDict()
        self._weights: dict[Hashable, tuple[Tensor, Tensor]] = {}  # where they were (kept: its address stays its own)
        self.computed = self.read = 0

    def place(self, net: RewardNet, device: torch.device) -> None:
        """Put the frozen parameters of a net on a device, where nets that share them in memory share them again."""
        for parameter in net.parameters():
            if not parameter.requires_grad and parameter.device != device:
                here = parameter.data
                key = (here.data_ptr(), here.shape, here.stride(), here.dtype, device)
                if key not in self._weights:
                    self._weights[key] = (here, here.to(device))
                # Each its own parameter of the same memory: a net that is moved away takes no other along.
                parameter.data = self._weights[key][1]

    def of(self, net: RewardNet, precision: str) -> SharedPasses | None:
        """The passes of one net, computed in this precision (Lightning's name); None where it is only run whole."""
        return SharedPasses(self, net, prefix_keys(net, precision, "32")[-1]) if PrefixStore.possible(net) else None

    def output(self, key: Hashable, net: RewardNet, rows: dict[str, Tensor]) -> Tensor:
        """(rows, seqlen, d): what comes out of the frozen layers of a net. Not to be changed in place."""
        found = self._outputs.get(key)
        if found is None:
            with torch.inference_mode(False), torch.no_grad():  # a net that is trained may read it too
                found = net.prefix(rows)
            self._outputs[key] = found
            self.computed += 1
        else:
            self.read += 1
        self._outputs.move_to_end(key)
        while len(self._outputs) > self._most:
            self._outputs.popitem(last=False)
        return found


class SharedPasses:
    """The passes of one net: named while their tokens are in main memory, computed or found where the net runs.

    Args:
        shared: among nets.
        net: with a constant prefix that can be run by itself.
        key: what decides its output beside the tokens.
    """

    def __init__(self, shared: SharedPrefix, net: RewardNet, key: str) -> None:
        self.shared, self.net, self._key = shared, net, key

    def named(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with the name of each pass in it; what holds no tokens (any more) gets none."""
        return {**batch, "passes": [_named(rows) for rows in batch["passes"]]}

    def attach(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with hidden states in place of tokens, in each pass that has a name."""
        return {**batch, "passes": [self._attached(rows) for rows in batch["passes"]]}

    def _attached(self, rows: dict[str, Any]) -> dict[str, Any]:
        if _NAME not in rows:
            return rows
        given = {name: value for name, value in rows.items() if name not in (_NAME, "mask_position")}
        hidden = self.shared.output((self._key, rows[_NAME]), self.net, given)
        return {"hidden": hidden} | {k: v for k, v in rows.items() if k not in (_NAME, "input_ids", "token_type_ids")}


def _named(rows: dict[str, Any]) -> dict[str, Any]:
    if "input_ids" not in rows:
        return rows
    digest = hashlib.blake2b(digest_size=16)
    for name in ("input_ids", "token_type_ids", "attention_mask"):
        if name in rows:
            digest.update(f"{name} {tuple(rows[name].shape)}".encode())
            digest.update(rows[name].contiguous().numpy().data)
    return rows | {_NAME: digest.digest()}
