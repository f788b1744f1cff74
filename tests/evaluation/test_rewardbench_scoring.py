"""Our section scores of RewardBench are those of its own tools, by their code and tables."""

from __future__ import annotations

import random

import pytest

from tinyrm.evaluation.benchmarks import REWARDBENCH
from tinyrm.evaluation.results import evaluate
from tinyrm.evaluation.rewardbench_json import ModelCard, command_results, leaderboard_results

# --- quoted from rewardbench 0.1.4 (allenai/reward-bench: rewardbench/constants.py, rewardbench/utils.py)
# Copyright 2023 AllenAI. All rights reserved. Licensed under the Apache License, Version 2.0:
# http://www.apache.org/licenses/LICENSE-2.0. Distributed "AS IS", without warranties or conditions of any kind.
# Changed: formatting, and names shortened in calculate_scores_per_section.
EXAMPLE_COUNTS = {
    "alpacaeval-easy": 100, "alpacaeval-length": 95, "alpacaeval-hard": 95, "mt-bench-easy": 28, "mt-bench-med": 40,
    "mt-bench-hard": 37, "math-prm": 984, "refusals-dangerous": 100, "refusals-offensive": 100, "llmbar-natural": 100,
    "llmbar-adver-neighbor": 134, "llmbar-adver-GPTInst": 92, "llmbar-adver-GPTOut": 47, "llmbar-adver-manual": 46,
    "xstest-should-refuse": 154, "xstest-should-respond": 250, "donotanswer": 136, "hep-cpp": 164, "hep-go": 164,
    "hep-java": 164, "hep-js": 164, "hep-python": 164, "hep-rust": 164,
}  # fmt: skip
SUBSET_MAPPING = {
    "Chat": ["alpacaeval-easy", "alpacaeval-length", "alpacaeval-hard", "mt-bench-easy", "mt-bench-med"],
    "Chat Hard": [
        "mt-bench-hard", "llmbar-natural", "llmbar-adver-neighbor", "llmbar-adver-GPTInst", "llmbar-adver-GPTOut",
        "llmbar-adver-manual",
    ],
    "Safety": [
        "refusals-dangerous", "refusals-offensive", "xstest-should-refuse", "xstest-should-respond", "donotanswer",
    ],
    "Reasoning": ["math-prm", "hep-cpp", "hep-go", "hep-java", "hep-js", "hep-python", "hep-rust"],
}  # fmt: skip


def calculate_scores_per_section(example_counts, subset_mapping, metrics):
    section_scores = {}
    for section, tests in subset_mapping.items():
        total_weighted_score = 0
        total_examples = 0
        for test in tests:
            if test in metrics:
                total_weighted_score += metrics[test] * example_counts[test]
                total_examples += example_counts[test]
        if total_examples > 0:
            section_scores[section] = total_weighted_score / total_examples
        else:
            section_scores[section] = 0
    return section_scores


# --- end of the quotation


def by_their_code(pairs, log_odds) -> tuple[float, dict[str, float]]:
    """As `rewardbench` goes on from scores: 1 where chosen > rejected, means by subset, then sections."""
    results = [1 if odds / 2 > -odds / 2 else 0 for odds in log_odds]
    subsets: dict[str, list[int]] = {}
    for pair, result in zip(pairs, results, strict=True):
        subsets.setdefault(pair.subset, []).append(result)
    return sum(results) / len(results), {name: sum(found) / len(found) for name, found in subsets.items()}


def test_the_tables_are_theirs() -> None:
    assert {s.name: [subset.name for subset in s.subsets] for s in REWARDBENCH.sections} == SUBSET_MAPPING
    assert {name: subset.weight for name, subset in REWARDBENCH.subsets.items()} == EXAMPLE_COUNTS


@pytest.mark.parametrize("seed", range(3))
def test_every_number_is_what_their_code_makes_of_our_scores(pair, scored, seed: int) -> None:
    draw = random.Random(seed)
    names = [name for name in EXAMPLE_COUNTS for _ in range(draw.randint(1, 9))]
    pairs = [pair(f"{number}", subset=name) for number, name in enumerate(names)]
    log_odds = [draw.gauss(0.3, 1) for _ in pairs]
    accuracy, subsets = by_their_code(pairs, log_odds)
    result = evaluate("rewardbench", pairs, scored(log_odds), partial=True)
    expected = calculate_scores_per_section(EXAMPLE_COUNTS, SUBSET_MAPPING, subsets)
    found = {name: measures.accuracy.value for name, measures in result.sections.items()}
    assert found == pytest.approx(expected)
    assert result.overall.accuracy.value == pytest.approx(sum(expected.values()) / 4)  # the leaderboard's score
    card = ModelCard("owner/name")
    assert {k: v for k, v in leaderboard_results(result, card).items() if k in EXAMPLE_COUNTS} == pytest.approx(subsets)
    command = command_results(result, card)
    assert (command["accuracy"], command["num_prompts"]) == (pytest.approx(accuracy), len(pairs))
    assert command["extra_results"] == pytest.approx(subsets)
