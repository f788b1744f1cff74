"""What is stored of the frozen layers is what they give, under what decides it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tinyrm.model import PrefixStore, RewardNet, merged_net
from tinyrm.model.prefix import operations_per_byte, prefix_keys
from tinyrm.model.rowstore import DATA

FAMILIES = ("bert", "roberta", "modernbert")

NetMaker = Callable[..., RewardNet]


def open_store(folder: Path, net: RewardNet, **settings: Any) -> PrefixStore:
    return PrefixStore(folder, net, **({"limit_gb": 1.0} | settings))


class CountedLayers:
    """Which layers of a net have run since, and on how many rows."""

    def __init__(self, net: RewardNet) -> None:
        self.ran: list[tuple[int, int]] = []
        for number, layer in enumerate(net.family.layers_of(net.base_model)):
            layer.register_forward_hook(self._hook(number))

    def _hook(self, number: int) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: Any, _output: Any) -> None:
            self.ran.append((number, len(inputs[0])))

        return hook


@pytest.mark.parametrize("objective", ["cloze", "bradley_terry"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_gives_the_same_from_the_store(
    family: str, objective: str, tmp_path: Path, make_net: NetMaker, make_backbone: Any, make_batch: Any
) -> None:
    net, batch = make_net(family, objective, freeze=2), make_batch(make_backbone(family), objective)
    store = open_store(tmp_path, net)
    needed = store.needed(batch["passes"])
    tokens = sum(int(rows["attention_mask"].sum()) for rows in batch["passes"])
    assert (needed.stored, needed.missing, needed.size) == (0, tokens, tokens * 32 * 4)
    assert store.attach(batch)["passes"] == batch["passes"]  # nothing is there yet
    assert store.fill(needed)
    assert store.needed(batch["passes"]).missing == 0
    counted = CountedLayers(net)
    attached = store.attach(batch)
    assert all("hidden" in rows and "input_ids" not in rows for rows in attached["passes"])
    torch.testing.assert_close(net(attached), net(batch), atol=1e-6, rtol=1e-5)
    assert [number for number, _ in counted.ran] == [0, 1] * len(batch["passes"])  # of the plain one alone
    for rows, plain in zip(attached["passes"], batch["passes"], strict=True):
        assert (rows["hidden"][plain["attention_mask"] == 0] == 0).all()


def test_a_deeper_run_goes_on_from_a_shallower_one(tmp_path: Path, make_net: NetMaker, make_batch: Any) -> None:
    batch = make_batch(2, "cloze")
    shallow = open_store(tmp_path, make_net("bert", freeze=1))
    shallow.fill(shallow.needed(batch["passes"]))
    net = make_net("bert", freeze=3)
    counted, deep = CountedLayers(net), open_store(tmp_path, net)
    assert deep.fill(deep.needed(batch["passes"]))
    assert counted.ran == [(1, 1), (2, 1)] * 3  # on each row alone
    torch.testing.assert_close(net(deep.attach(batch)), net(batch), atol=1e-6, rtol=1e-5)


def test_runs_that_share_the_frozen_layers_share_the_store(tmp_path: Path, make_net: NetMaker, make_batch: Any) -> None:
    batch = make_batch(2, "cloze")
    store = open_store(tmp_path, make_net("bert"))
    store.fill(store.needed(batch["passes"]))
    for other in (make_net("bert", rank=4), make_net("bert", kind="lora"), make_net("bert", kind="full")):
        assert open_store(tmp_path, other).needed(batch["passes"]).missing == 0
        assert open_store(tmp_path, merged_net(other)).needed(batch["passes"]).missing == 0


def test_keys_hold_what_decides(make_net: NetMaker) -> None:
    plain = prefix_keys(make_net("bert", freeze=2), "32-true", "32")
    assert len(plain) == 2
    assert prefix_keys(make_net("bert", freeze=3), "32-true", "32")[:2] == plain
    for key in (
        prefix_keys(make_net("bert", freeze=2), "bf16-mixed", "32"),
        prefix_keys(make_net("bert", freeze=2), "32-true", "bf16"),
        prefix_keys(make_net("bert", freeze=2, seed=1), "32-true", "32"),
        prefix_keys(make_net("roberta", freeze=2), "32-true", "32"),
    ):
        assert not set(key) & set(plain)
    net = make_net("bert", freeze=2)
    with torch.no_grad():
        net.family.layers_of(net.base_model)[1].attention.output.dense.bias[0] += 1e-6
    first, second = prefix_keys(net, "32-true", "32")
    assert first == plain[0] and second != plain[1]
    with torch.no_grad():
        net.family.embeddings_of(net.base_model)[0].LayerNorm.bias[0] += 1e-6
    assert prefix_keys(net, "32-true", "32")[0] != plain[0]


def test_rows_are_known_by_tokens_and_segments(tmp_path: Path, make_net: NetMaker, make_batch: Any) -> None:
    batch = make_batch(2, "cloze")
    store = open_store(tmp_path, make_net("bert"))
    store.fill(store.needed(batch["passes"]))
    for name in ("input_ids", "token_type_ids"):
        other = [{k: v.clone() for k, v in rows.items()} for rows in batch["passes"]]
        other[0][name][0, 3] = 1 - other[0][name][0, 3] if name == "token_type_ids" else 999
        assert store.needed(other).missing == int(other[0]["attention_mask"][0].sum())
        attached = store.attach({**batch, "passes": other})["passes"]
        assert attached[0] is other[0]  # one row is missing: the whole pass is computed
        assert all("hidden" in rows for rows in attached[1:])


def test_half_precision(tmp_path: Path, make_net: NetMaker, make_batch: Any) -> None:
    batch, net = make_batch(2, "cloze"), make_net("bert")

    def context() -> AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16)

    with context(), torch.no_grad():
        expected, hidden = net(batch), net.prefix(batch["passes"][0])
    sizes = []
    for dtype in ("32", "bf16"):
        store = open_store(tmp_path / dtype, net, precision="bf16-mixed", context=context, dtype=dtype)
        needed = store.needed(batch["passes"])
        sizes.append(needed.size)
        store.fill(needed)
        attached = store.attach(batch)
        assert attached["passes"][0]["hidden"].dtype == torch.float32
        exact = hidden if dtype == "32" else hidden.bfloat16()
        torch.testing.assert_close(attached["passes"][0]["hidden"][0], exact[0].float(), atol=0, rtol=0)
        with context(), torch.no_grad():
            torch.testing.assert_close(net(attached), expected, atol=2e-2, rtol=2e-2)
    assert sizes[0] == 2 * sizes[1]


def test_what_is_damaged_meanwhile_is_computed(tmp_path: Path, make_net: NetMaker, make_batch: Any) -> None:
    batch, net = make_batch(2, "cloze"), make_net("bert")
    store = open_store(tmp_path, net)
    store.fill(store.needed(batch["passes"]))
    (data,) = tmp_path.glob(f"prefix/*/*{DATA}")
    data.write_bytes(bytes(data.stat().st_size))  # under the map that is open
    attached = store.attach(batch)
    assert attached["passes"] == batch["passes"]
    assert torch.equal(net(attached), net(batch))
    assert store.fill(store.needed(batch["passes"]))
    assert all("hidden" in rows for rows in store.attach(batch)["passes"])


def test_a_limit_that_is_too_low_costs_time_only(
    tmp_path: Path, make_net: NetMaker, make_batch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    batch, net = make_batch(2, "cloze"), make_net("bert")
    store = open_store(tmp_path, net, limit_gb=1e-6)
    assert not store.fill(store.needed(batch["passes"]))
    assert "more than the limit" in caplog.text
    assert store.attach(batch)["passes"] == batch["passes"]


def test_a_folder_that_cannot_be_written_costs_time_only(
    tmp_path: Path, make_net: NetMaker, make_batch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "prefix").write_text("a file where the folder should be")
    batch, net = make_batch(2, "cloze"), make_net("bert")
    store = open_store(tmp_path, net)
    assert not store.fill(store.needed(batch["passes"]))
    assert "is not stored" in caplog.text


def test_it_stops_when_told_and_keeps_what_is_done(tmp_path: Path, make_net: NetMaker, make_batch: Any) -> None:
    batch, net = make_batch(2, "cloze"), make_net("bert")
    store = open_store(tmp_path, net)
    needed = store.needed(batch["passes"])
    asked: list[bool] = []

    def stopped() -> bool:
        asked.append(len(asked) == 1)
        return asked[-1]

    assert not store.fill(needed, stopped=stopped)
    assert asked == [False, True]
    assert open_store(tmp_path, net).needed(batch["passes"]).stored == len(needed.rows[0].ids)


def test_what_is_stored_of_a_row_does_not_depend_on_the_others(
    tmp_path: Path, make_net: NetMaker, make_batch: Any
) -> None:
    batch, net = make_batch(2, "cloze"), make_net("bert", freeze=2)
    whole, piecemeal = (open_store(tmp_path / name, net) for name in ("whole", "piecemeal"))
    whole.fill(whole.needed(batch["passes"]))
    shallow = open_store(tmp_path / "piecemeal", make_net("bert", freeze=1))
    shallow.fill(shallow.needed(batch["passes"][:1]))  # one pass goes on from there, the others start from the tokens
    for rows in reversed(batch["passes"]):
        assert piecemeal.fill(piecemeal.needed([rows]))
    for one, other in zip(whole.attach(batch)["passes"], piecemeal.attach(batch)["passes"], strict=True):
        assert torch.equal(one["hidden"], other["hidden"])


def test_operations_for_a_byte(make_net: NetMaker) -> None:
    weights = 4 * 32 * 32 + 2 * 32 * 48  # of a layer of the small BERT
    for freeze in (1, 3):
        net = make_net("bert", freeze=freeze)
        assert operations_per_byte(net, "32") == 2 * freeze * weights / (32 * 4)
        assert operations_per_byte(net, "bf16") == 2 * operations_per_byte(net, "32")


def test_where_it_is_possible(make_net: NetMaker) -> None:
    assert PrefixStore.possible(make_net("bert"))
    assert not PrefixStore.possible(make_net("bert", freeze=0))
    assert not PrefixStore.possible(make_net("deberta-v2"))
