"""A claim about a study: which arms it compares, and what is refused before anything runs."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from omegaconf import OmegaConf

from tinyrm.config import ClaimConfig, ContrastConfig, arm_name, claim_of, claim_problems, pairings
from tinyrm.errors import ConfigError

SECTIONS = ("chat", "reasoning", "safety")


def study(**values: list[str]) -> list[dict[str, str]]:
    return [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]


def claim(*contrasts: dict[str, Any], **settings: Any) -> ClaimConfig:
    return ClaimConfig("It helps.", [ContrastConfig(**c) for c in contrasts], **settings)


ARMS = study(arm=["dora 8", "lora 8"], seed=["0", "1"])
GRID = study(**{"adapter.rank": ["4", "16"], "freeze": ["2", "4"], "seed": ["0", "1"]})


def test_an_arm_is_named_by_what_varies_but_for_the_seed() -> None:
    assert {arm_name(p) for p in ARMS} == {"dora 8", "lora 8"}
    assert arm_name(GRID[0]) == "rank=4 freeze=2"
    assert arm_name({"seed": "0"}) == "the one configuration"
    assert arm_name({"a.lr": "1", "b.lr": "2"}) == "a.lr=1 b.lr=2"


def test_a_contrast_is_made_for_each_value_of_what_it_leaves_open() -> None:
    found = pairings(claim({"first": "rank=16", "second": "rank=4"}, margin=0.05), GRID)
    assert [(p.name, p.first, p.second) for p in found] == [
        ("rank=16 against rank=4 (freeze=2)", "rank=16 freeze=2", "rank=4 freeze=2"),
        ("rank=16 against rank=4 (freeze=4)", "rank=16 freeze=4", "rank=4 freeze=4"),
    ]
    assert {p.margin for p in found} == {0.05}
    whole = claim({"first": "rank=16, freeze=2", "second": "rank=4, freeze=4", "margin": 0.01, "name": "corner"})
    (corner,) = pairings(whole, GRID)
    assert (corner.name, corner.first, corner.second) == ("corner", "rank=16 freeze=2", "rank=4 freeze=4")
    assert corner.margin == 0.01


CUBE = study(**{"adapter.rank": ["4", "16"], "freeze": ["2", "4"], "prompt": ["terse", "judge"], "seed": ["0", "1"]})


def test_what_is_pooled_over_is_one_contrast() -> None:
    everything = {"first": "rank=16", "second": "rank=4", "pool": ["freeze", "prompt"]}
    assert claim_problems(claim(everything), CUBE, SECTIONS) == []
    (found,) = pairings(claim(everything), CUBE)
    assert found.name == "rank=16 against rank=4 (pooled over freeze and prompt)"
    assert (found.first, found.second) == ("rank=16", "rank=4")
    rest = [f"freeze={f} prompt={p}" for f in "24" for p in ("terse", "judge")]
    assert found.cells == tuple((f"rank=16 {cell}", f"rank=4 {cell}") for cell in rest)

    # What is not averaged over is left open, as ever.
    half = pairings(claim({**everything, "pool": ["freeze"]}), CUBE)
    assert [p.name for p in half] == [
        f"rank=16 against rank=4 (pooled over freeze; prompt={p})" for p in ("terse", "judge")
    ]
    assert half[1].cells == tuple((f"rank=16 freeze={f} prompt=judge", f"rank=4 freeze={f} prompt=judge") for f in "24")
    # Only arms that match count: here without rank=4 freeze=2.
    fewer = [p for p in CUBE if (p["adapter.rank"], p["freeze"]) != ("4", "2")]
    (found,) = pairings(claim({**everything, "name": "rank"}), fewer)
    assert (found.name, len(found.cells)) == ("rank", 2)

    (rule,) = pairings(claim({**everything, "second": "longer wins", "first": "rank=16"}), CUBE)
    assert {second for _, second in rule.cells} == {"longer wins"} and len(rule.cells) == 4


@pytest.mark.parametrize(
    ("pool", "points", "told"),
    [
        (["freez"], CUBE, "claim.contrasts[0].pool: 'freez' does not vary in this study. Did you mean 'freeze'?"),
        (["rank"], CUBE, "claim.contrasts[0].pool: 'rank' is what the contrast is about: leave it out."),
        (
            ["freeze"],
            [p for p in GRID if p["freeze"] == "2" or p["adapter.rank"] == "4"],
            "claim.contrasts[0].pool: nothing to average: only 'rank=16 freeze=2' and 'rank=4 freeze=2' match.",
        ),
    ],
)
def test_what_cannot_be_pooled_is_refused(pool: list[str], points: list[dict[str, str]], told: str) -> None:
    asked = claim({"first": "rank=16", "second": "rank=4", "pool": pool})
    assert claim_problems(asked, points, SECTIONS) == [told]


def test_a_rule_is_an_arm_of_every_study() -> None:
    asked = claim({"first": "dora 8", "second": "longer wins", "statement": "It learns."})
    assert claim_problems(asked, ARMS, SECTIONS) == []
    (found,) = pairings(asked, ARMS)
    assert (found.second, found.statement) == ("longer wins", "It learns.")


def test_every_problem_is_told_with_what_stands_near() -> None:
    wrong = claim(
        {"first": "dora8", "second": "lora 8", "expect": "beter", "sections": {"reasonin": 1}},
        {"first": "dora 8", "second": "longer win"},
        {"first": "dora 8", "second": "dora 8", "margin": 0.0},
        {"first": "dora 8", "second": "lora 8", "sections": {"chat": 1, "safety": 1}},
        needs="some",
        power=1.0,
    )
    assert claim_problems(wrong, ARMS, SECTIONS) == [
        "claim.needs=some is not known. Choose one of: all, any.",
        "claim.contrasts[2].margin=0.0 must be above 0 and below 1.",
        "claim.power=1.0 must be between 0 and 1.",
        "claim.contrasts[0].expect=beter is not known. Did you mean 'better'?",
        "claim.contrasts[0].first: no arm 'dora8' in this study. Did you mean 'dora 8' or 'lora 8'?",
        "claim.contrasts[0].sections: no section 'reasonin'. Did you mean 'reasoning'?",
        "claim.contrasts[1].second: no arm 'longer win' in this study. Did you mean 'longer wins' or 'shorter wins'?",
        "claim.contrasts[2]: 'dora 8' is compared with itself.",
        "claim.contrasts[3].sections: weights that are not 0 and sum to 1 (a mean) or to 0 (an interaction); got 2.",
    ]


def test_arms_that_differ_in_more_than_the_contrast_says_are_no_contrast() -> None:
    holed = [p for p in GRID if (p["adapter.rank"], p["freeze"]) in {("4", "2"), ("16", "4")}]
    assert claim_problems(claim({"first": "rank=16", "second": "rank=4"}), holed, SECTIONS) == [
        "claim.contrasts[0]: no two arms differ by 'rank=16' against 'rank=4' alone."
    ]


def test_it_is_read_out_of_a_composed_config() -> None:
    given = OmegaConf.create({"claim": {"statement": "It helps.", "contrasts": [{"first": "a", "second": "b"}]}})
    assert claim_of(given) == claim({"first": "a", "second": "b"})
    assert claim_of(OmegaConf.create({"seed": 0})) == ClaimConfig()
    with pytest.raises(ConfigError, match=r"claim.contrasts\[0\].second has no value"):
        claim_of(OmegaConf.create({"claim": {"contrasts": [{"first": "a"}]}}))
    with pytest.raises(ConfigError, match="expct"):
        claim_of(OmegaConf.create({"claim": {"contrasts": [{"first": "a", "second": "b", "expct": "same"}]}}))
