"""What a finished study says of its claim, from made records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tinyrm.config import ClaimConfig, ContrastConfig, pairings
from tinyrm.evaluation.benchmarks import REWARDBENCH, pairs_benchmark
from tinyrm.evaluation.verdicts import Verdict
from tinyrm.report.claims import detectable, expected_lines, joined, judged, sections_of
from tinyrm.report.html import html_page
from tinyrm.report.markdown import markdown
from tinyrm.report.ranking import in_three_sections
from tinyrm.report.reading import read_report


def test_each_statement_has_a_verdict(tmp_path: Path, claimed: Any) -> None:
    found = judged(claimed(tmp_path))
    assert found is not None
    assert dict(found.verdicts) == {
        "Better is better.": Verdict.UNDECIDED,  # one of its contrasts has no trials
        "It learns.": Verdict.SUPPORTED,
        "Worse is no worse.": Verdict.REFUTED,
    }
    (first,) = found.of("Better is better.")
    assert first.verdict == Verdict.SUPPORTED and first.n == 300 and first.seeds == 3
    assert found.of("It learns.")[0].n == 100
    assert found.missing == ("skill=good against skill=lost: no finished trial of skill=lost",)
    assert any(line.startswith("Refuted: Worse is no worse.") for line in found.lines())


def test_a_study_without_a_claim_has_no_verdict(tmp_path: Path, claimed: Any) -> None:
    assert judged(claimed(tmp_path, claim=None)) is None


def test_a_report_begins_with_the_verdicts(tmp_path: Path, claimed: Any) -> None:
    claimed(tmp_path)
    report = read_report(["made"], f"sqlite:///{tmp_path}/sweeps.db")
    assert [(c.claim, c.verdict) for c in report.claims] == [
        ("undecided", "supported"),
        ("supported", "supported"),
        ("refuted", "refuted"),
    ]
    assert report.sweeps[0].question == "Better is better."
    page = html_page(report)
    assert page.index('<section id="claims">') < page.index('<section id="part-')
    assert "<td>Worse is no worse.</td><td><b>refuted</b></td>" in page
    assert "Not judged in made: skill=good against skill=lost" in page
    assert "| Worse is no worse. | refuted |" in markdown(report)


@pytest.mark.parametrize(
    ("verdicts", "needs", "whole"),
    [
        ("SS", "all", "supported"),
        ("SR", "all", "refuted"),
        ("SU", "all", "undecided"),
        ("SR", "any", "supported"),
        ("RR", "any", "refuted"),
        ("RU", "any", "undecided"),
        ("", "all", "undecided"),
    ],
)
def test_verdicts_join(verdicts: str, needs: str, whole: str) -> None:
    letters = {"S": Verdict.SUPPORTED, "R": Verdict.REFUTED, "U": Verdict.UNDECIDED}
    assert joined([letters[v] for v in verdicts], needs) == whole


def test_units_of_a_section_are_those_its_weights_are_worth() -> None:
    found = sections_of(in_three_sections(REWARDBENCH))
    assert set(found) == {"chat", "reasoning", "safety"}
    assert found["safety"] == 740 and found["chat"] == 814  # weighed as they are counted
    # math-prm: 447 pairs that weigh as 984
    assert found["reasoning"] == round(1968**2 / (984**2 / 447 + 984))
    assert sections_of(pairs_benchmark([])) == {}


def test_more_seeds_and_a_whole_benchmark_show_smaller_effects() -> None:
    claim = ClaimConfig("It helps.", [ContrastConfig(first="a", second="b"), ContrastConfig(first="a", second="b")])
    claim.contrasts[1].sections = {"chat": 1}
    points = [{"arm": arm, "seed": seed} for arm in "ab" for seed in "012"]
    units = {"chat": 400, "reasoning": 400, "safety": 400}
    three, five = (detectable(claim, pairings(claim, points), units, seeds) for seeds in (3, 5))
    assert three[0] < three[1] and five[0] < three[0]
    lines = expected_lines(claim, points, units)
    assert lines[1] == f"  a against b: {100 * three[0]:.1f} points"
