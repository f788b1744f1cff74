"""`tinyrm plan`: exact trials and parameters, operations as the real passes have them, impossible depths refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tinyrm import reuse, sweep
from tinyrm.cli import main
from tinyrm.config import compose, register
from tinyrm.errors import ConfigError
from tinyrm.model import count_parameters
from tinyrm.model.costs import costs, rows_of
from tinyrm.planning import Rate, measured_rate, plan, study_overrides

TINY = ["model=tiny", "data.synthetic.train_pairs=30", "data.synthetic.dev_pairs=6", "data.synthetic.test_pairs=9"]


@pytest.fixture(autouse=True)
def registered() -> None:
    register()
    sweep.register(group="sweep")


@pytest.mark.parametrize("how", ["adapter=dora", "adapter=full", "objective=bradley_terry", "adapter=none"])
def test_operations_are_those_of_a_real_step(how: str) -> None:
    config = compose([*TINY, "freeze=2", how])
    net = reuse.base(config.model).net(config).train()
    net.base_model.config._attn_implementation = "eager"  # the counter does not know the CPU's own attention kernel
    with FlopCounterMode(display=False) as counter:
        net.scores(rows_of(net, 8, 64, "cpu")).sum().backward()
    found = costs(config, 64)
    assert 8 * found.train == pytest.approx(counter.get_total_flops(), rel=0.02)
    assert (found.trained, found.parameters) == count_parameters(net)
    assert 0 < found.prefix < found.forward and found.backward < 2.5 * found.forward


def test_freezing_takes_operations_away() -> None:
    whole, half = (costs(compose([*TINY, f"freeze={n}", "adapter=full"]), 64) for n in (0, 3))
    assert half.train < whole.train and half.forward == whole.forward
    assert half.trained < whole.trained and half.parameters == whole.parameters


def test_the_known_shapes_have_the_parameters_their_papers_name() -> None:
    """149M and 395M (arXiv:2412.13663), 17M (arXiv:2507.11412); with the vocabulary's bias and the head."""
    named = {"modernbert_base": 149e6, "modernbert_large": 395e6, "ettin_17m": 17e6}
    for name, parameters in named.items():
        found = costs(compose([f"model={name}", "freeze=0", "adapter=full"]), 16)
        assert found.parameters == pytest.approx(parameters, rel=0.03)


def test_a_plan_counts_trials_pairs_and_disk() -> None:
    found = plan([*TINY, "sweep.name=x", "freeze=0,2", "seed=0,1,2", "adapter=full", "trainer.save_model=none"])
    assert (found.name, found.trials) == ("x", 6)
    assert [arm.name for arm in found.arms] == ["freeze=0", "freeze=2"]
    first = found.arms[0]
    assert (first.seeds, first.work.train, first.work.dev, first.work.test, first.work.known) == (3, 30, 6, 9, True)
    rows = 2 * (first.work.dev + first.work.test)
    assert first.flops == 60 * first.costs.train + rows * first.costs.forward
    assert first.disk == 16 * first.costs.trained + 120 * 9
    assert found.hours(Rate(1.0, "given")) == pytest.approx(found.flops / 1e12 / 3600)
    assert found.store > 0


def test_a_full_study_is_planned_without_the_hub(tmp_path: Path) -> None:
    asked = "first: 'freeze=7', second: 'freeze=0', expect: no_worse"
    contrast = f"claim.contrasts=[{{{asked}}}, {{{asked}, pool: [prompt]}}]"
    fewer = ["adapter.rank=16", "freeze=0,7", "prompt=terse,instruct", "seed=0,1,2,3", contrast]
    found = plan([*study_overrides("paper", "full"), f"data.cache_dir={tmp_path}", *fewer])
    assert (found.trials, len(found.arms)) == (16, 4)
    assert {arm.seeds for arm in found.arms} == {4}
    names = [f"freeze=7 against freeze=0 (prompt={prompt})" for prompt in ("terse", "instruct")]
    names.append("freeze=7 against freeze=0 (pooled over prompt)")
    assert list(found.detectable) == names and all(0 < effect < 0.2 for effect in found.detectable.values())
    one, other, pooled = found.detectable.values()
    assert one == other and 0.5 * one < pooled < 0.9 * one  # two cells: what seeds do is averaged, pairs are shared
    deep = next(a for a in found.arms if a.config.freeze == 7)
    assert deep.flops < found.arms[0].flops
    arm = found.arms[0]
    assert arm.work.test == 2985 and not arm.work.known and arm.work.length == 2048
    assert arm.work.train == 77_000 - 2 * 7_700


def test_what_cannot_run_is_refused_without_the_hub() -> None:
    with pytest.raises(ConfigError, match="freeze=99 is more than the 28 encoder layers of model=modernbert_large"):
        plan([*study_overrides("paper", "full"), "freeze=99", "claim.contrasts=[]"])
    with pytest.raises(ConfigError, match=r"study 'claim_dora' has sizes: give --size small or --size full"):
        study_overrides("claim_dora", None)
    with pytest.raises(ConfigError, match=r"there is no --size ful of claim_dora\. Did you mean 'full'"):
        study_overrides("claim_dora", "ful")


def test_a_rate_is_measured_by_real_steps() -> None:
    found = measured_rate(compose([*TINY, "freeze=2"]))
    assert 0 < found.tflops < 1000 and found.measured
    assert "threads" in found.source or torch.cuda.is_available()


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["plan", "adapters", "--rate", "0.5", *TINY, "seed=0,1"]) == 0
    said = capsys.readouterr().out
    assert "adapters: 8 trials." in said and "head only" in said
    assert "at 0.5 TFLOP/s (given by --rate)" in said
    assert "assumed, not measured: 45% of one H100's dense bf16 peak of 989 TFLOP/s" in said
