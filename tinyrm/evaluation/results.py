"""Evaluate scored pairs on a benchmark: every number with n and interval, trivial rules beside each accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyrm.errors import DataError
from tinyrm.evaluation.benchmarks import Benchmark, Section, benchmark_named
from tinyrm.evaluation.metrics import metric_json, pooled, undefined, weighted, wilson
from tinyrm.evaluation.ties import ties_score
from tinyrm.evaluation.units import Units, check_scores, count_units, rows_of, word_margin
from tinyrm.types import Metric, PairScores, PreferencePair

METRICS = "metrics.json"  # in a run folder


def _mean(parts: Sequence[Metric], weights: Sequence[float]) -> Metric:
    return weighted(parts, weights) if parts else undefined()


def _pool(parts: Sequence[Metric], _: Sequence[float]) -> Metric:
    return pooled(parts)


@dataclass(frozen=True, slots=True)
class Measures:
    """What is known of a subset, a section or the whole. Units are pairs, or questions for `rewardbench2`.

    Attributes:
        accuracy: share of units won; a tie counts one half (1/k where k responses share the top).
        ties: share of units neither won nor lost: mean log-odds of exactly 0.
        order_consistent: share of units whose verdict is the same in both orders (of every pair, for a question).
        longer_wins: accuracy of 'more words wins' on the same units; equal lengths count one half.
        shorter_wins: accuracy of 'fewer words wins'.
        equal_length: share of units with a pair of equally many words.
        chosen_longer: accuracy on the units whose chosen response has more words (than every rejected one).
        chosen_shorter: accuracy where it has fewer. Far below `chosen_longer`: the model likes length.
        truncated: share of units cut to fit the context.

    In a section or a whole, all but two are means with the benchmark's weights; `chosen_longer` and `chosen_shorter`,
    which some subsets do not have at all, are over the section's units counted alike.
    """

    accuracy: Metric
    ties: Metric
    order_consistent: Metric
    longer_wins: Metric
    shorter_wins: Metric
    equal_length: Metric
    chosen_longer: Metric = field(metadata={"combine": _pool})
    chosen_shorter: Metric = field(metadata={"combine": _pool})
    truncated: Metric

    @property
    def n(self) -> int:
        """Units behind the accuracy."""
        return self.accuracy.n

    @property
    def beats_length(self) -> bool:
        """Whether the low end of the accuracy's interval is above what both length rules get on the same units."""
        return self.accuracy.low > max(self.longer_wins.value, self.shorter_wins.value)

    def to_json(self) -> dict[str, dict[str, float | int | None]]:
        """Every metric by name as `{"value", "n", "low", "high"}`."""
        return {f.name: metric_json(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def of(cls, units: Units) -> Measures:
        """The measures of some units, each counting alike."""

        def share(values: NDArray[Any]) -> Metric:
            return wilson(min(float(np.sum(values)), len(values)), len(values))

        return cls(
            accuracy=share(units.credit),
            ties=share(units.tie),
            order_consistent=share(units.consistent),
            longer_wins=share(units.longer),
            shorter_wins=share(units.shorter),
            equal_length=share(units.equal),
            chosen_longer=share(units.credit[units.longer == 1]),
            chosen_shorter=share(units.credit[units.shorter == 1]),
            truncated=share(units.truncated),
        )

    @classmethod
    def combine(cls, parts: Sequence[Measures], weights: Sequence[float]) -> Measures:
        """Weighted means of the measures of disjoint sets of units; undefined when there are no parts."""
        combined: dict[str, Metric] = {}
        for f in fields(cls):
            how: Callable[[Sequence[Metric], Sequence[float]], Metric] = f.metadata.get("combine", _mean)
            combined[f.name] = how([getattr(part, f.name) for part in parts], weights)
        return cls(**combined)


@dataclass(frozen=True, slots=True)
class ViewResult:
    """The numbers of one further cut into sections."""

    sections: Mapping[str, Measures]
    overall: Measures
    note: str


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """The numbers of one model on one benchmark.

    Attributes:
        benchmark: the table they were made with.
        subsets: by the subset's name, in the table's order; one without pairs has n = 0 and undefined numbers.
        sections: weighted means of their subsets.
        overall: plain mean of the sections ('macro'): the benchmark's headline number.
        pooled: all units counted alike ('micro'), whatever the section.
        views: further cuts by name.
        short: subsets whose number of units is not the benchmark's: (found, expected).
        partial: whether subsets without pairs were left out on request; else sections that miss one are undefined.
    """

    benchmark: Benchmark
    subsets: Mapping[str, Measures]
    sections: Mapping[str, Measures]
    overall: Measures
    pooled: Measures
    views: Mapping[str, ViewResult]
    short: Mapping[str, tuple[int, int]]
    partial: bool

    @property
    def missing(self) -> tuple[str, ...]:
        """Subsets of the benchmark without a single pair."""
        return tuple(name for name, (found, _) in self.short.items() if found == 0)

    def to_json(self) -> dict[str, Any]:
        """The content of `metrics.json`; every number as `{"value", "n", "low", "high"}`, null where undefined."""
        return {
            "benchmark": self.benchmark.name,
            "unit": self.benchmark.unit,
            "definitions": {
                "overall": "mean of the sections, each counting alike",
                "pooled": f"all {self.benchmark.unit}s counted alike",
                "interval": "95%, Wilson; weighted means with an effective sample size",
                "ties": "mean log-odds of exactly 0; one half of a success in every accuracy",
            },
            "overall": self.overall.to_json(),
            "pooled": self.pooled.to_json(),
            "sections": {name: measures.to_json() for name, measures in self.sections.items()},
            "subsets": {name: measures.to_json() for name, measures in self.subsets.items()},
            "views": {
                name: {
                    "note": view.note,
                    "overall": view.overall.to_json(),
                    "sections": {section: measures.to_json() for section, measures in view.sections.items()},
                }
                for name, view in self.views.items()
            },
            "missing": list(self.missing),
            "short": {name: {"found": found, "expected": expected} for name, (found, expected) in self.short.items()},
            "partial": self.partial,
        }


def evaluate(
    benchmark: Benchmark | str, pairs: Sequence[PreferencePair], scores: PairScores, partial: bool = False
) -> EvaluationResult:
    """The numbers of these scores on a benchmark.

    A subset of the benchmark without pairs is reported with n = 0, and the sections it belongs to are then undefined,
    and so is the overall number: never 0, and never a mean that silently leaves it out.

    Args:
        benchmark: a table, or the name of one ('rewardbench', 'rewardbench2', 'pairs').
        pairs, scores: one score a pair, in the same order.
        partial: the caller asks for the means over the subsets that are there; what is missing stays listed.

    Raises:
        DataError: no pairs, an id twice, a subset that the benchmark does not have, a question lacking pairs.
        ModelError: a score is not finite.
        ConfigError: no benchmark of that name.
    """
    check_scores(pairs, scores)
    table = benchmark_named(benchmark, pairs) if isinstance(benchmark, str) else benchmark
    by_question = table.unit == "question"
    if by_question:
        _need_groups(table.name, pairs)
    subsets, short, all_units = {}, {}, []
    for name, rows in table.place(pairs).items():
        some, some_scores = [pairs[row] for row in rows], rows_of(scores, rows)
        units = count_units(some, some_scores, by_question)
        all_units.append(units)
        subsets[name] = Measures.of(units)
        if some and name in table.scored_as_ties:
            subsets[name] = _with_ties_score(subsets[name], some, some_scores)
        if len(units) != table.subsets[name].size:
            short[name] = (len(units), table.subsets[name].size)

    def cut(sections: Sequence[Section]) -> tuple[dict[str, Measures], Measures]:
        each = {section.name: _mean_of([section], subsets, partial) for section in sections}
        return each, _mean_of(sections, subsets, partial)

    sections, overall = cut(table.sections)
    views = {view.name: ViewResult(*cut(view.sections), view.note) for view in table.views}
    together = Measures.of(_join(all_units))
    return EvaluationResult(table, subsets, sections, overall, together, views, short, partial)


def _mean_of(sections: Sequence[Section], subsets: Mapping[str, Measures], partial: bool) -> Measures:
    """Mean of the sections, each the mean of its subsets by weight; on request only of what has pairs.

    Made from the subsets at once, with the products of the weights, as :func:`weighted` wants.
    """
    parts: list[Measures] = []
    weights: list[float] = []
    for section in sections:
        used = [s for s in section.subsets if not partial or subsets[s.name].n > 0]
        parts += [subsets[s.name] for s in used]
        weights += [s.weight / sum(other.weight for other in used) for s in used]
    return Measures.combine(parts, weights)


def _with_ties_score(measures: Measures, pairs: Sequence[PreferencePair], scores: PairScores) -> Measures:
    """Replace the accuracies by the Ties score: of the model, and of the length rules with lengths for rewards."""
    margin = word_margin(pairs)
    values = {f.name: getattr(measures, f.name) for f in fields(measures)}
    values["accuracy"] = ties_score(pairs, scores.log_odds)
    values["longer_wins"], values["shorter_wins"] = ties_score(pairs, margin), ties_score(pairs, -margin)
    return Measures(**values)


def _join(parts: Sequence[Units]) -> Units:
    """All the units of several subsets."""
    return Units(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Units)})


def _need_groups(benchmark: str, pairs: Sequence[PreferencePair]) -> None:
    """Raise for a pair that says no question, where questions are counted."""
    for pair in pairs:
        if pair.group is None:
            raise DataError(f"pair {pair.id!r} has no group: {benchmark} counts questions, not pairs.")
