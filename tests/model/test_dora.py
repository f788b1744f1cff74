"""DoRA the fast way is PEFT's DoRA: output, gradients, checkpoints, merging."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tinyrm.model.dora import FastDora, linear_rows, use_fast_dora

WIDTH, OUT = 24, 40


class Layers(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.up = nn.Linear(WIDTH, OUT, bias=bias)
        self.down = nn.Linear(OUT, WIDTH, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(torch.tanh(self.up(x)))
        return out


def adapted(bias: bool = True, dropout: float = 0.0, seed: int = 0, **config: Any) -> PeftModel:
    """PEFT's model with every adapter weight moved from its start."""
    torch.manual_seed(seed)
    given = {"r": 4, "lora_alpha": 6, "use_dora": True, "target_modules": ["up", "down"], **config}
    model = get_peft_model(Layers(bias), LoraConfig(lora_dropout=dropout, **given))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def fast(model: PeftModel) -> PeftModel:
    copied = copy.deepcopy(model)
    assert use_fast_dora(copied) == 2
    return copied


def relative(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().norm() / other.detach().norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_output_and_gradients_are_pefts(bias: bool, dtype: torch.dtype) -> None:
    plain = adapted(bias).to(dtype)
    quick = fast(plain)
    x = torch.randn(3, 7, WIDTH, dtype=dtype)
    outputs, inputs = [], []
    for model in (quick, plain):
        inputs.append(x.clone().requires_grad_())
        outputs.append(model(inputs[-1]))
        outputs[-1].backward(torch.linspace(-1, 1, x.numel(), dtype=dtype).view_as(x))
    assert relative(*outputs) < 1e-6
    assert relative(inputs[0].grad, inputs[1].grad) < 1e-6  # type: ignore[arg-type]
    gradients = [{n: p.grad for n, p in m.named_parameters() if p.requires_grad} for m in (quick, plain)]
    assert len(gradients[1]) == 6
    for name, gradient in gradients[1].items():
        assert relative(gradients[0][name], gradient) < 1e-6, name  # type: ignore[arg-type]


def test_no_matrix_of_the_weights_size_is_made() -> None:
    """Multiplications beside the two of the adapter: 2 r (out + r) in a token's stead, not out x in x r."""
    plain = adapted(r=2)
    quick = fast(plain)
    counts = []
    for model in (quick, plain):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.randn(1, WIDTH))
        counts.append(counter.get_total_flops())
    adapter = 2 * 2 * 2 * (WIDTH + OUT)  # of one token through both layers: down to r, up from it
    base = 2 * 2 * WIDTH * OUT
    norms = 2 * (2 * WIDTH * OUT * 2) + 2 * (2 * 2 * (WIDTH + OUT) + 2 * 2 * (OUT + WIDTH))
    assert counts[0] == base + adapter + norms
    assert counts[1] > counts[0]


def test_training_ends_with_the_same_weights() -> None:
    plain = adapted()
    quick = fast(plain)
    x, y = torch.randn(32, WIDTH), torch.randn(32, WIDTH)
    for model in (quick, plain):
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
        for _ in range(20):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
    states = [m.state_dict() for m in (quick, plain)]
    assert states[0].keys() == states[1].keys()
    for name, value in states[1].items():
        torch.testing.assert_close(states[0][name], value, atol=1e-5, rtol=1e-5)


def test_a_checkpoint_is_pefts_in_both_directions(tmp_path: Path) -> None:
    plain = adapted()
    quick = fast(plain)
    x = torch.randn(5, WIDTH)
    expected = plain(x)
    quick.save_pretrained(str(tmp_path / "quick"))
    plain.save_pretrained(str(tmp_path / "plain"))
    torch.manual_seed(0)
    loaded = PeftModel.from_pretrained(Layers(True), str(tmp_path / "quick"))  # the base is drawn from the same seed
    torch.testing.assert_close(loaded(x), expected, atol=1e-6, rtol=1e-5)
    torch.manual_seed(0)
    loaded = PeftModel.from_pretrained(Layers(True), str(tmp_path / "plain"))
    assert use_fast_dora(loaded) == 2
    torch.testing.assert_close(loaded(x), expected, atol=1e-6, rtol=1e-5)


def test_merging_and_leaving_it_again() -> None:
    quick = fast(adapted())
    x = torch.randn(5, WIDTH)
    expected = quick(x).detach()
    quick.merge_adapter()
    torch.testing.assert_close(quick(x), expected, atol=1e-5, rtol=1e-5)
    quick.unmerge_adapter()
    torch.testing.assert_close(quick(x), expected, atol=1e-5, rtol=1e-5)  # the kept norms are taken again
    with quick.disable_adapter():
        plain = quick(x)
    assert not torch.allclose(plain, expected, atol=1e-3)
    torch.testing.assert_close(quick.merge_and_unload()(x), expected, atol=1e-5, rtol=1e-5)


def test_kept_norms_follow_the_frozen_weight() -> None:
    quick = fast(adapted())
    x = torch.randn(5, WIDTH)
    quick(x)
    with torch.no_grad():
        quick.base_model.model.up.get_base_layer().weight.mul_(3)
    again = copy.deepcopy(quick)
    for module in again.modules():
        for name in getattr(module, "lora_variant", {}):
            module.lora_variant[name] = FastDora()  # type: ignore[union-attr,index,operator]
    torch.testing.assert_close(quick(x), again(x))
    buffer = io.BytesIO()  # as a process of a group gets it
    torch.save(quick, buffer)
    buffer.seek(0)
    torch.testing.assert_close(torch.load(buffer, weights_only=False)(x), again(x))


def test_dropout_takes_pefts_way() -> None:
    plain = adapted(dropout=0.5)
    quick = fast(plain)
    x = torch.randn(5, WIDTH)
    for training in (True, False):
        outputs = []
        for model in (quick, plain):
            model.train(training)
            torch.manual_seed(3)
            outputs.append(model(x))
        torch.testing.assert_close(*outputs, atol=1e-6, rtol=1e-5)


def test_kinds_of_layers_that_are_not_known_are_left_to_peft() -> None:
    model = get_peft_model(
        nn.ModuleDict({"conv": nn.Conv1d(WIDTH, OUT, 3), "words": nn.Embedding(9, WIDTH), "up": nn.Linear(WIDTH, OUT)}),
        LoraConfig(use_dora=True, target_modules=["conv", "words", "up"]),
    )
    assert use_fast_dora(model) == 1
    assert use_fast_dora(model) == 0  # it is already
    assert use_fast_dora(get_peft_model(Layers(True), LoraConfig(target_modules=["up"]))) == 0  # no DoRA


def test_a_row_of_zeros_gives_no_nan() -> None:
    quick = fast(adapted())
    layer = quick.base_model.model.up
    with torch.no_grad():
        layer.get_base_layer().weight[0] = 0
        layer.lora_B["default"].weight[0] = 0
    assert torch.isfinite(quick(torch.randn(2, WIDTH))).all()


@pytest.mark.parametrize("how", ["linear", "lora", "dora", "peft", "dropout", "disabled", "merged"])
@pytest.mark.parametrize("bias", [True, False])
def test_some_rows_of_a_linear_layer(how: str, bias: bool) -> None:
    model = adapted(bias, use_dora=how != "lora", dropout=0.5 if how == "dropout" else 0.0)
    layer: Any = model.base_model.model.up
    if how == "linear":
        layer = layer.get_base_layer()
    if how in ("dora", "disabled", "merged"):
        use_fast_dora(model)
    if how == "disabled":
        model.base_model.disable_adapter_layers()
    if how == "merged":
        model.merge_adapter()
    x = torch.randn(2, 3, WIDTH)
    for rows in (slice(0, 8), slice(8, OUT), slice(None)):
        torch.manual_seed(0)
        whole = layer(x)[..., rows]
        torch.manual_seed(0)
        torch.testing.assert_close(linear_rows(layer, x, rows), whole, atol=1e-6, rtol=1e-5)
