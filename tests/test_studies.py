"""The studies of claims in sweeps/: both sizes compose, their points pass the rules, their claims fit their arms."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from tinyrm import sweep
from tinyrm.config import check, claim_of, claim_problems, config_dir, pairings, register, to_config
from tinyrm.sweep.asked import Asked, asked

ROOT = Path(__file__).resolve().parents[1]
STUDIES = sorted(p.parent.name for p in (ROOT / "sweeps").glob("*/small.yaml") if p.parent.name != "size")
SECTIONS = ("chat", "reasoning", "safety")


@cache
def study(name: str, size: str) -> Asked:
    register()
    sweep.register(group="sweep")
    return asked(config_dir(), [f"+sweeps={name}/{size}", *(["data.path=FOLDER"] if size == "small" else [])])


def test_there_is_one_for_each_claim_of_the_paper() -> None:
    claims = {"cloze", "dora", "freeze", "specialist", "warmup", "prompt"}
    assert set(STUDIES) == {*(f"claim_{claim}" for claim in claims), "paper"}


@pytest.mark.parametrize("size", ["small", "full"])
@pytest.mark.parametrize("name", STUDIES)
def test_every_point_composes_and_the_claim_fits(name: str, size: str) -> None:
    found = study(name, size)
    claim = claim_of(found.master)
    assert found.name == f"{name}-{size}"
    assert claim.statement and claim_problems(claim, found.points, SECTIONS) == []
    seeds: dict[str, set[str]] = {}
    for point, config in zip(found.points, found.configs, strict=True):
        check(to_config(config))
        seeds.setdefault(str({k: v for k, v in point.items() if k != "seed"}), set()).add(point["seed"])
    (count,) = set(map(len, seeds.values()))
    assert count >= 3
    assert all(p.first != p.second for p in pairings(claim, found.points))


def test_what_sizes_share_stands_in_one_place() -> None:
    """Within a size data, backbone and budget are the same wherever a study does not vary them."""
    first = {name: to_config(study(name, "small").configs[0]) for name in STUDIES}
    for shared in ("model", "trainer", "evaluation", "speed"):
        assert len({str(getattr(config, shared)) for config in first.values()}) == 1
    of_chat = [config for name, config in first.items() if name not in ("claim_specialist", "claim_dora")]
    assert len({str(config.data) for config in of_chat}) == 1


def test_a_specialist_is_tested_on_the_generalists_pairs_of_its_section() -> None:
    found = study("claim_specialist", "small")
    tests = {p["arm"]: to_config(c).data for p, c in zip(found.points, found.configs, strict=True)}
    generalist = tests.pop("generalist")
    assert generalist.max_test_pairs is not None and generalist.max_test_pairs % len(SECTIONS) == 0
    for arm, data in tests.items():
        assert data.sections == [arm]
        assert data.max_test_pairs == generalist.max_test_pairs // len(SECTIONS)
        assert (data.max_train_pairs, data.split_seed) == (generalist.max_train_pairs, generalist.split_seed)
