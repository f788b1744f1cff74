"""A graph gives what the net gives, for any batch, and what is kept of it on disk never changes that."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tinyrm.errors import ModelError
from tinyrm.model import OnnxNet, RewardNet, merged_net
from tinyrm.model import onnx as exporting
from tinyrm.prompting import TensorBatch

NetMaker = Callable[..., RewardNet]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.fixture(scope="module")
def net(make_net: NetMaker) -> RewardNet:
    return merged_net(make_net("bert"))


@pytest.fixture(scope="module")
def batch(make_batch: Any) -> TensorBatch:
    made: TensorBatch = make_batch(2, "cloze")
    return made


@pytest.fixture(scope="module")
def graph(net: RewardNet, batch: TensorBatch) -> bytes:
    example = {name: value.repeat(2, *[1] * (value.ndim - 1))[:2] for name, value in batch["passes"][0].items()}
    return exporting._export(net, example)


@pytest.fixture
def exports(graph: bytes, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for each time that a graph was made; it takes no time here."""
    made: list[int] = []

    def export(*_: Any) -> bytes:
        made.append(len(made))
        return graph

    monkeypatch.setattr(exporting, "_export", export)
    return made


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("onnx/*/*"))


@pytest.mark.parametrize(
    ("family", "objective"),
    [
        ("bert", "cloze"),
        ("bert", "bradley_terry"),
        ("roberta", "cloze"),
        ("deberta-v2", "cloze"),
        ("modernbert", "cloze"),
        ("modernbert", "bradley_terry"),
    ],
)
def test_it_gives_what_the_net_gives(
    family: str, objective: str, tmp_path: Path, make_net: NetMaker, make_backbone: Any, make_batch: Any
) -> None:
    net, batch = merged_net(make_net(family, objective)), make_batch(make_backbone(family), objective)
    rows = batch["passes"][0]
    assert family != "modernbert" or rows["input_ids"].shape[1] > 33  # beyond the sliding window
    found = OnnxNet(net, {name: value[:1] for name, value in rows.items()}, tmp_path)
    short = {name: value[:1, :20] if value.ndim == 2 else value[:1].clamp(max=19) for name, value in rows.items()}
    few = {"passes": [short, short], "unsort": torch.tensor([1, 0]), "sign": torch.tensor([1.0, -1.0])}
    for given in (batch, few):
        with torch.no_grad():
            expected = net(given)
        torch.testing.assert_close(found(given), expected, **CLOSE)
    assert net(batch).abs().max() > 1e-4  # or nothing would be compared


def test_rows_as_long_as_the_context(tmp_path: Path, net: RewardNet, batch: TensorBatch) -> None:
    """Pairs that were cut to fit leave no room to try the graph at another length."""
    rows = {name: value[:1] for name, value in batch["passes"][0].items()}
    context = net.family.context(net.base_model.config)
    full = {name: v if v.ndim == 1 else v.repeat(1, context)[:, :context] for name, v in rows.items()}
    given = {"passes": [full], "unsort": torch.tensor([0]), "sign": torch.tensor([1.0])}
    with torch.no_grad():
        expected = net(given)
    torch.testing.assert_close(OnnxNet(net, full, tmp_path)(given), expected, **CLOSE)


def test_a_graph_is_made_once(net: RewardNet, batch: TensorBatch, tmp_path: Path, exports: list[int]) -> None:
    first = OnnxNet(net, batch["passes"][0], tmp_path)(batch)
    assert len(kept(tmp_path)) == 1
    again = OnnxNet(net, batch["passes"][0], tmp_path)(batch)
    assert exports == [0]
    assert torch.equal(first, again)


def test_other_weights_have_a_graph_of_their_own(
    net: RewardNet, batch: TensorBatch, make_net: NetMaker, tmp_path: Path, exports: list[int]
) -> None:
    other = merged_net(make_net("bert", seed=3))
    inputs = sorted(batch["passes"][0])
    digests = {exporting._digest(n, inputs) for n in (net, merged_net(net), other)}
    assert len(digests) == 2  # a copy has that of the original


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b"", lambda b: b[:5000] + b"\x01" + b[5001:]])
def test_a_damaged_graph_is_made_again(
    damage: Callable[[bytes], bytes],
    net: RewardNet,
    batch: TensorBatch,
    tmp_path: Path,
    exports: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = OnnxNet(net, batch["passes"][0], tmp_path)(batch)
    (path,) = kept(tmp_path)
    before = path.read_bytes()
    path.write_bytes(damage(before))
    assert path.read_bytes() != before
    again = OnnxNet(net, batch["passes"][0], tmp_path)(batch)
    assert exports == [0, 1]
    assert "is damaged" in caplog.text
    assert torch.equal(first, again)
    assert path.read_bytes() == before


def test_without_a_place_to_keep_it_scores_all_the_same(
    net: RewardNet, batch: TensorBatch, tmp_path: Path, exports: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "onnx").write_text("in the way")
    found = OnnxNet(net, batch["passes"][0], tmp_path)(batch)
    torch.testing.assert_close(found, net(batch).detach(), **CLOSE)
    assert "is not kept" in caplog.text


def test_the_graphs_used_last_are_kept(
    net: RewardNet, batch: TensorBatch, tmp_path: Path, exports: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        monkeypatch.setattr(exporting, "_digest", lambda *_, number=number: f"{number:02d}")
        OnnxNet(net, batch["passes"][0], tmp_path)
        OnnxNet(net, batch["passes"][0], tmp_path)
    assert [path.parent.name for path in kept(tmp_path)] == ["02", "03", "04", "05"]


def test_a_graph_that_gives_other_scores_is_refused(
    net: RewardNet, batch: TensorBatch, tmp_path: Path, exports: list[int], make_net: NetMaker
) -> None:
    other = merged_net(make_net("bert", seed=3))
    with pytest.raises(ModelError, match=r"BERT exported to ONNX gives other scores than torch"):
        OnnxNet(other, batch["passes"][0], tmp_path)  # its export is that of `net`
    assert kept(tmp_path) == []


def test_a_model_that_cannot_be_exported_is_named(
    net: RewardNet, batch: TensorBatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RewardNet, "scores", lambda self, rows: torch.tensor(rows["input_ids"].numpy().sum(1) * 0.1))
    with pytest.raises(ModelError, match=r"(?s)BERT cannot be exported to ONNX: .*evaluation.backend=float32"):
        OnnxNet(net, batch["passes"][0], tmp_path)


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    exporting.need_onnx()
    monkeypatch.setattr(exporting, "_PACKAGES", ("onnxruntime", "no_such_package"))
    with pytest.raises(ModelError, match=r'backend=onnx needs no_such_package: pip install "tinyrm\[onnx\]"'):
        exporting.need_onnx()


def test_nothing_is_left_of_the_exporters_settings(net: RewardNet, graph: bytes) -> None:
    assert logging.getLogger("torch.onnx").level == logging.NOTSET
    assert not net.training
