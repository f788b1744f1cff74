"""Figures of others to set beside ours, with what must be known to read them."""

from __future__ import annotations

PAPER = "Tiny Reward Models (Pan 2025, arXiv:2507.09973)"
PAPER_NOTE = (
    "Figures of arXiv:2507.09973 on RewardBench, from public reading notes: the paper's own tables were not at hand, "
    "and that its chat pools Chat and Chat Hard by their counts is our reading of it."
)
# Accuracy by section of RewardBench's view `three_sections`, and the mean of the three.
PAPER_FIGURES: dict[str, dict[str, float]] = {
    "TinyRM 400M specialists": {"chat": 0.788, "reasoning": 0.912, "safety": 0.893, "overall": 0.864},
    "TinyRM 150M specialists": {"chat": 0.735, "reasoning": 0.833, "safety": 0.784, "overall": 0.784},
    "a 70B reward model": {"chat": 0.897, "reasoning": 0.906, "safety": 0.928, "overall": 0.910},
}
COMPARABLE = "rewardbench"  # the benchmark they are on
