"""Benchmarks as tables: which subsets make a section, with what weight, and which sections make the overall number.

Where the numbers come from (read in the public source):

- RewardBench (allenai/reward-bench): `rewardbench/constants.py:42-66` EXAMPLE_COUNTS, `:68-100` SUBSET_MAPPING
  (@ a32e272); a section is the mean of its subsets weighted by EXAMPLE_COUNTS (`rewardbench/utils.py:68-84`
  calculate_scores_per_section @ a009692), the leaderboard's score the plain mean of the four sections (data set card
  of allenai/reward-bench). `math-prm` has 447 pairs and weighs 984 = 6 x 164, so that mathematics counts like code.
  The file @ a32e272 still gives xstest-should-refuse 250 and xstest-should-respond 154, that is, swapped. The data has
  154 and 250, and so do the tools since: only with 154 / 250 do the section scores printed in their pull requests 215
  and 223 follow from the subset scores printed there (a test holds this).
- RewardBench 2 (allenai/reward-bench-2, arXiv:2506.01937): six subsets, 1,865 questions (data set card); the score is
  the mean of the six. A question counts when its chosen response beats all rejected ones, and 1/k when k share the
  top (`rewardbench/utils.py` reroll_and_score_dataset @ a009692); for Ties see :mod:`tinyrm.evaluation.ties`.
  The questions of each subset (475, 160, 183, 450, 495, 102) are as used in third-party code; they add up to 1,865.
- The three-section view follows "Tiny Reward Models" (arXiv:2507.09973), which reports chat / reasoning / safety and
  their mean. That its chat pools the subsets of Chat and Chat Hard by their counts is OUR reading: the paper's tables
  were not at hand, so compare with its numbers with that in mind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tinyrm.errors import ConfigError, DataError, did_you_mean
from tinyrm.types import PreferencePair


@dataclass(frozen=True, slots=True)
class Subset:
    """The unit in which a benchmark counts.

    Attributes:
        name: as in the data; for `pairs` it is 'section/subset'.
        size: how many pairs (or questions) the full benchmark holds here.
        weight: of its accuracy within the section.
    """

    name: str
    size: int
    weight: float


@dataclass(frozen=True, slots=True)
class Section:
    """Subsets whose weighted mean is one number."""

    name: str
    subsets: tuple[Subset, ...]


@dataclass(frozen=True, slots=True)
class View:
    """Another way to cut the same subsets into sections; its overall number is the mean of its sections."""

    name: str
    sections: tuple[Section, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A table. The overall number is the plain mean of the sections.

    Attributes:
        name: 'rewardbench', 'rewardbench2' or 'pairs'.
        sections: disjoint; every subset stands in exactly one.
        unit: what is counted: a 'pair', or a 'question' (the pairs that share a `group`).
        views: further cuts, reported beside the main one.
        fixed: whether subsets and sizes are given by the benchmark rather than found in the data.
        scored_as_ties: subsets that get the Ties score of RewardBench 2 instead of an accuracy.
    """

    name: str
    sections: tuple[Section, ...]
    unit: Literal["pair", "question"] = "pair"
    views: tuple[View, ...] = ()
    fixed: bool = True
    scored_as_ties: frozenset[str] = frozenset()

    @property
    def subsets(self) -> dict[str, Subset]:
        """Every subset by its name, in the order of the table."""
        return {subset.name: subset for section in self.sections for subset in section.subsets}

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each subset's accuracy in the overall number; they sum to 1."""
        share = {section.name: sum(subset.weight for subset in section.subsets) for section in self.sections}
        return {
            subset.name: subset.weight / share[section.name] / len(self.sections)
            for section in self.sections
            for subset in section.subsets
        }

    def key(self, section: str, subset: str) -> str:
        """The name under which this benchmark counts a pair. A fixed benchmark goes by the pair's subset alone."""
        return subset if self.fixed else f"{section}/{subset}"

    def place(self, pairs: Sequence[PreferencePair]) -> dict[str, list[int]]:
        """Positions of `pairs` by subset, every subset of the table included (an empty list where it has none).

        Raises:
            DataError: a pair belongs to no subset of the table.
        """
        rows: dict[str, list[int]] = {name: [] for name in self.subsets}
        for position, pair in enumerate(pairs):
            name = self.key(pair.section, pair.subset)
            if name not in rows:
                raise DataError(
                    f"pair {pair.id!r} has the subset {name!r}, which {self.name} does not have."
                    + did_you_mean(name, rows)
                )
            rows[name].append(position)
        return rows


def _section(name: str, **counts: int) -> Section:
    """Subsets that weigh as much as they have pairs; `_` in a keyword stands for `-`."""
    return Section(name, tuple(Subset(key.replace("_", "-"), n, n) for key, n in counts.items()))


_CHAT = _section(
    "Chat", alpacaeval_easy=100, alpacaeval_length=95, alpacaeval_hard=95, mt_bench_easy=28, mt_bench_med=40
)
_CHAT_HARD = _section(
    "Chat Hard",
    mt_bench_hard=37,
    llmbar_natural=100,
    llmbar_adver_neighbor=134,
    llmbar_adver_GPTInst=92,
    llmbar_adver_GPTOut=47,
    llmbar_adver_manual=46,
)
_SAFETY = _section(
    "Safety",
    refusals_dangerous=100,
    refusals_offensive=100,
    xstest_should_refuse=154,
    xstest_should_respond=250,
    donotanswer=136,
)
_CODE = _section("code", hep_cpp=164, hep_go=164, hep_java=164, hep_js=164, hep_python=164, hep_rust=164).subsets
_REASONING = Section("Reasoning", (Subset("math-prm", 447, 984), *_CODE))

REWARDBENCH = Benchmark(
    "rewardbench",
    (_CHAT, _CHAT_HARD, _SAFETY, _REASONING),
    views=(
        View(
            "three_sections",
            (
                Section("chat", _CHAT.subsets + _CHAT_HARD.subsets),
                Section("reasoning", _REASONING.subsets),
                Section("safety", _SAFETY.subsets),
            ),
            "as in arXiv:2507.09973; that chat pools Chat and Chat Hard by their counts is our reading of it",
        ),
    ),
)

_RB2_SIZES = {"Factuality": 475, "Precise IF": 160, "Math": 183, "Safety": 450, "Focus": 495, "Ties": 102}

REWARDBENCH2 = Benchmark(
    "rewardbench2",
    tuple(Section(name, (Subset(name, n, n),)) for name, n in _RB2_SIZES.items()),
    unit="question",
    scored_as_ties=frozenset({"Ties"}),
)

FIXED = {benchmark.name: benchmark for benchmark in (REWARDBENCH, REWARDBENCH2)}
NAMES = (*FIXED, "pairs")


def pairs_benchmark(pairs: Sequence[PreferencePair]) -> Benchmark:
    """The table of any data: sections and subsets as found, in sorted order, each pair of a section counting alike.

    Pairs count one by one, also those that share a `group`; intervals take them for independent.
    """
    return benchmark_of_places((pair.section, pair.subset) for pair in pairs)


def benchmark_of_places(places: Iterable[tuple[str, str]]) -> Benchmark:
    """The same from the (section, subset) of each pair."""
    counts: dict[str, dict[str, int]] = {}
    for name, subset in places:
        section = counts.setdefault(name, {})
        section[subset] = section.get(subset, 0) + 1
    sections = (
        Section(name, tuple(Subset(f"{name}/{key}", n, n) for key, n in sorted(found.items())))
        for name, found in sorted(counts.items())
    )
    return Benchmark("pairs", tuple(sections), fixed=False)


def benchmark_named(name: str, pairs: Sequence[PreferencePair]) -> Benchmark:
    """The benchmark of that name (`evaluation.benchmark`); `pairs` makes its table from the data.

    Raises:
        ConfigError: there is no such benchmark.
    """
    if name == "pairs":
        return pairs_benchmark(pairs)
    if name not in FIXED:
        raise ConfigError(f"evaluation.benchmark={name} is unknown." + did_you_mean(name, NAMES))
    return FIXED[name]
