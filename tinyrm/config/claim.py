"""A claim as data: what is said, which arms of a study decide it, and what they are expected to show.

The node `claim` stands beside the experiment in a study's YAML, as `sweep` does. It says how finished trials are read
and has no part in what a trial computes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from tinyrm.errors import did_you_mean

EXPECTATIONS = ("better", "no_worse", "same")
NEEDS = ("all", "any")
# Arms that every study has: what a coin and the two length rules say of the same pairs.
RULES = ("chance", "longer wins", "shorter wins")
ARM, SEED = "arm", "seed"  # parameters of a study: the named arm, and what repeats it

Point = Mapping[str, Any]  # the parameters of a trial, as typed


@dataclass
class ContrastConfig:
    """Two arms, and what their difference in test accuracy is expected to be.

    An arm is named by its name in `sweep.arms`, or by what it sets (`freeze=4`; several by commas:
    `rank=8, prompt=terse`). Where the study varies more than that, there is a contrast for each value of the rest; of
    what is named in `pool` there is one, of the mean over its values.
    """

    first: str = MISSING
    second: str = MISSING  # an arm, or a rule: chance | longer wins | shorter wins
    name: str | None = None  # null: "FIRST against SECOND"
    statement: str | None = None  # the claim it decides, where that is not the study's own
    expect: str = "better"  # better | no_worse (than second less the margin) | same (within the margin either way)
    margin: float | None = None  # null: the claim's
    # section -> signed weight: {chat: 1} is that section alone, {reasoning: 1, chat: -0.5, safety: -0.5} asks whether
    # the difference is larger in reasoning than elsewhere; empty: the benchmark's overall accuracy
    sections: dict[str, float] = field(default_factory=dict)
    # What else varies and is averaged over, as [freeze, prompt]: the differences of all arms that match are averaged
    # seed by seed and pair by pair, so that the interval is that of the mean difference.
    pool: list[str] = field(default_factory=list)


@dataclass
class ClaimConfig:
    """What a study is to decide, and how."""

    statement: str = ""  # the claim in words
    contrasts: list[ContrastConfig] = field(default_factory=list)
    needs: str = "all"  # contrasts of a statement that must be supported for it to be: all | any
    margin: float = 0.02  # a difference in accuracy that does not matter, for no_worse and same
    # Assumed until the study has run, for the effect that it can detect:
    power: float = 0.8
    discordance: float = 0.25  # share of test pairs on which exactly one of two arms is right
    seed_sd: float = 0.015  # of the accuracy, between seeds of one arm


@dataclass(frozen=True)
class Pairing:
    """A contrast between two arms that a study has, or pooled over several such pairs.

    Attributes:
        statement: the claim it decides.
        name: of the contrast; where the study varies more than it says, with the rest in brackets.
        first, second: full names of the arms, as :func:`arm_name` gives them; of a pooled one what they have in common.
        margin: its own or the claim's.
        cells: the arms whose differences are averaged, by full names; one pair where nothing is pooled.
    """

    statement: str
    name: str
    first: str
    second: str
    expect: str
    margin: float
    sections: Mapping[str, float]
    cells: tuple[tuple[str, str], ...]


def arm_name(point: Point) -> str:
    """The name of a trial's arm: what varies, but for the seed. 'dora 8', 'freeze=4', 'rank=8 freeze=2'."""
    return " ".join(_labels(point).values()) or "the one configuration"


def pairings(claim: ClaimConfig, points: Sequence[Point]) -> list[Pairing]:
    """Every contrast of a claim between arms that there are; a claim with problems may have fewer.

    Args:
        points: of the study; those that differ in nothing but the seed count once.
    """
    arms = {arm_name(point): _labels(point) for point in points}
    found = []
    for contrast in claim.contrasts:
        for left, cells in _matched(contrast, arms).items():
            beside = [f"pooled over {' and '.join(contrast.pool)}"] * (bool(contrast.pool) and contrast.name is None)
            beside += [", ".join(left)] * bool(left)
            title = contrast.name or f"{contrast.first} against {contrast.second}"
            title += f" ({'; '.join(beside)})" if beside else ""
            margin = claim.margin if contrast.margin is None else contrast.margin
            first, second = (contrast.first, contrast.second) if contrast.pool else cells[0]
            how = (contrast.expect, margin, dict(contrast.sections), tuple(cells))
            found.append(Pairing(contrast.statement or claim.statement, title, first, second, *how))
    return found


def claim_problems(claim: ClaimConfig, points: Sequence[Point], sections: Collection[str]) -> list[str]:
    """What is wrong with a claim about a study.

    Args:
        points: of the study, known beforehand.
        sections: of the pairs that are reported on.
    """
    problems = _numbers(claim)
    labels = list(dict.fromkeys(label for point in points for label in _labels(point).values()))
    for number, contrast in enumerate(claim.contrasts):
        key, before = f"claim.contrasts[{number}]", len(problems)
        if contrast.expect not in EXPECTATIONS:
            near = did_you_mean(contrast.expect, EXPECTATIONS)
            problems.append(f"{key}.expect={contrast.expect} is not known.{near}")
        for side in ("first", "second"):
            named = getattr(contrast, side)
            rules = RULES if side == "second" else ()
            problems += [
                f"{key}.{side}: no arm {label!r} in this study.{did_you_mean(label, [*labels, *rules])}"
                for label in _asked(named)
                if label not in labels and named not in rules
            ]
        for section in contrast.sections:
            if section not in sections:
                problems.append(f"{key}.sections: no section {section!r}.{did_you_mean(section, sections)}")
        total = math.fsum(contrast.sections.values())
        if contrast.sections and (not all(contrast.sections.values()) or min(abs(total), abs(total - 1)) > 0.005):
            problems.append(
                f"{key}.sections: weights that are not 0 and sum to 1 (a mean) or to 0 (an interaction); got {total:g}."
            )
        problems += _pool_problems(contrast, key, points)
        if len(problems) == before:
            problems += _matching_problems(contrast, key, points)
    return problems


def _pool_problems(contrast: ContrastConfig, key: str, points: Sequence[Point]) -> list[str]:
    varying = list(dict.fromkeys(name for point in points for name in _labels(point)))
    named = {*_asked(contrast.first), *_asked(contrast.second)}
    fixed = {name for point in points for name, label in _labels(point).items() if label in named}
    problems = [
        f"{key}.pool: {name!r} does not vary in this study.{did_you_mean(name, varying)}"
        for name in contrast.pool
        if name not in varying
    ]
    return problems + [
        f"{key}.pool: {name!r} is what the contrast is about: leave it out." for name in contrast.pool if name in fixed
    ]


def _matching_problems(contrast: ContrastConfig, key: str, points: Sequence[Point]) -> list[str]:
    found = pairings(ClaimConfig(contrasts=[contrast]), points)
    if not found:
        return [f"{key}: no two arms differ by {contrast.first!r} against {contrast.second!r} alone."]
    if any(first == second for pairing in found for first, second in pairing.cells):
        return [f"{key}: {contrast.first!r} is compared with itself."]
    single = [pairing.cells[0] for pairing in found if len(pairing.cells) == 1]
    if contrast.pool and single:
        return [f"{key}.pool: nothing to average: only {single[0][0]!r} and {single[0][1]!r} match."]
    return []


def _numbers(claim: ClaimConfig) -> list[str]:
    problems = []
    if claim.needs not in NEEDS:
        problems.append(f"claim.needs={claim.needs} is not known.{did_you_mean(claim.needs, NEEDS)}")
    margins = {"claim.margin": claim.margin}
    margins |= {f"claim.contrasts[{i}].margin": c.margin for i, c in enumerate(claim.contrasts) if c.margin is not None}
    problems += [f"{key}={value} must be above 0 and below 1." for key, value in margins.items() if not 0 < value < 1]
    for key, value, high in (
        ("power", claim.power, 1.0),
        ("discordance", claim.discordance, 1.0),
        ("seed_sd", claim.seed_sd, 0.5),
    ):
        if not (0 < value < high or (key == "seed_sd" and value == 0)):
            problems.append(f"claim.{key}={value} must be between 0 and {high:g}.")
    return problems


def _labels(point: Point) -> dict[str, str]:
    """What an arm's name says of each parameter: {"rank": "rank=8"}, {"arm": "dora 8"}."""
    keys = [key for key in point if key != SEED]
    last = [key.rpartition(".")[2] for key in keys]
    shown = {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}
    return {shown[key]: str(point[key]) if key == ARM else f"{shown[key]}={point[key]}" for key in keys}


def _matched(
    contrast: ContrastConfig, arms: Mapping[str, Mapping[str, str]]
) -> dict[tuple[str, ...], list[tuple[str, str]]]:
    """The arms that differ as a contrast asks and in nothing else, by what is left open and not averaged over."""
    first, second = _asked(contrast.first), _asked(contrast.second)
    found: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for name, labels in arms.items():
        if not set(first) <= set(labels.values()):
            continue
        rest = {key: label for key, label in labels.items() if label not in first}
        other = contrast.second if contrast.second in RULES else _with(arms, {*second, *rest.values()})
        if other is not None:
            left = tuple(label for key, label in rest.items() if key not in contrast.pool)
            found.setdefault(left, []).append((name, other))
    return found


def _asked(reference: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in reference.split(","))


def _with(arms: Mapping[str, Mapping[str, str]], wanted: Collection[str]) -> str | None:
    """The arm that has what is wanted and nothing else."""
    return next((name for name, labels in arms.items() if set(labels.values()) == set(wanted)), None)
