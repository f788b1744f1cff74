"""From a data config to train, dev and test pairs."""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tinyrm.config.schema import DataConfig, SourceConfig
from tinyrm.data import reading
from tinyrm.data.report import DataReport, SourceReport, by_section
from tinyrm.data.sampling import check_sections, subsample, weighted_sizes
from tinyrm.data.splits import SPLITS, PromptKeys, Splits, complete, prompts, without_duplicates, without_prompts
from tinyrm.errors import DataError
from tinyrm.types import PreferencePair

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairData:
    """The pairs to train on, to choose with, and to report on at the end; no prompt is in two of them.

    `test` may be empty when a benchmark is evaluated instead; `train` and `dev` never are.
    """

    train: tuple[PreferencePair, ...]
    dev: tuple[PreferencePair, ...]
    test: tuple[PreferencePair, ...]
    report: DataReport


def read_source(config: SourceConfig) -> dict[str, list[PreferencePair]]:
    """The pairs of one source by split ('train', 'dev', 'test'; those that it has), in its own order.

    Nothing is filtered but rows that make no pair. Ids are unique. The suite of `reader=synthetic` has its default
    sizes here, or those of `config.synthetic` where the config has it.

    Raises:
        DataError: with what is wrong, the file and line, and what would be right.
    """
    return reading.read(
        config, synthetic=getattr(config, "synthetic", None), seed=getattr(config, "split_seed", 0)
    ).splits


def load(config: DataConfig, *, evaluation: Sequence[PreferencePair] = ()) -> PairData:
    """Read every source, complete its splits, and keep what the config asks for.

    In this order: read; cut missing splits from train by prompt; keep `config.sections`; drop duplicates; drop train
    pairs with a prompt of dev, test or `evaluation`, and dev pairs with one of the latter two; drop what
    `config.unseen_subsets` says; take
    `config.max_*_pairs`, and from the sources of a mixture as many train pairs as their weights say. Weights are about
    train: dev and test keep the pairs of every source (up to their limits). The same config and data give the same.

    Args:
        config: the data; `mixture`, where given, replaces the source in `config` itself.
        evaluation: the pairs reported on at the end, if they come from elsewhere: nothing of their prompts is
            trained on.

    Raises:
        DataError: a source cannot be read, a section does not exist, or a split ends up empty (the message says
            by which step). An empty test split is accepted when there are `evaluation` pairs.
    """
    keys = PromptKeys()
    configs = list(config.mixture) or [config]
    found = [reading.read(source, synthetic=config.synthetic, seed=config.split_seed) for source in configs]
    fractions = {"dev": config.dev_fraction, "test": config.test_fraction}
    completed = [complete(source.splits, fractions, config.split_seed, keys, source.name) for source in found]
    sources = reading.with_unique_ids([splits for splits, _ in completed])
    reports = tuple(
        SourceReport(source.name, {split: len(pairs) for split, pairs in source.splits.items()}, source.dropped, cut)
        for source, (_, cut) in zip(found, completed, strict=True)
    )

    steps = _Steps(sources)
    check_sections(config.sections, {p.section for splits in sources for pairs in splits.values() for p in pairs})
    if config.sections:
        steps.take("pairs of other sections", _of_sections(sources, set(config.sections)))
    steps.take("duplicates", without_duplicates(steps.sources))
    reported = prompts(steps.sources, "test", keys) | {keys(pair) for pair in evaluation}
    judged = reported | prompts(steps.sources, "dev", keys)
    steps.take(
        "train pairs with a prompt of dev, test or the benchmark", without_prompts(steps.sources, "train", judged, keys)
    )
    # Dev chooses, and choosing must not see what is reported at the end.
    steps.take(
        "dev pairs with a prompt of test or the benchmark", without_prompts(steps.sources, "dev", reported, keys)
    )
    if config.unseen_subsets == "drop":
        steps.take("pairs of subsets that train has nothing of", _of_train_subsets(steps.sources))
    steps.take("pairs over the weights and limits", _sized(steps.sources, configs, config))

    steps.check_not_empty(test_too=not evaluation)
    merged: Splits = {split: [pair for splits in steps.sources for pair in splits[split]] for split in SPLITS}
    report = DataReport(reports, steps.dropped, by_section(merged))
    _LOG.info("%s", report)
    return PairData(tuple(merged["train"]), tuple(merged["dev"]), tuple(merged["test"]), report)


def _of_sections(sources: Sequence[Splits], wanted: Container[str]) -> list[Splits]:
    return [
        {split: [pair for pair in pairs if pair.section in wanted] for split, pairs in splits.items()}
        for splits in sources
    ]


def _of_train_subsets(sources: Sequence[Splits]) -> list[Splits]:
    """Dev and test without the subsets that no train split has."""
    seen = {(pair.section, pair.subset) for splits in sources for pair in splits["train"]}
    return [
        {split: [pair for pair in pairs if (pair.section, pair.subset) in seen] for split, pairs in splits.items()}
        for splits in sources
    ]


def _sized(sources: Sequence[Splits], configs: Sequence[SourceConfig], config: DataConfig) -> list[Splits]:
    """The sources after weights and limits. The limits of dev and test are shared out evenly over the sections of all
    sources together; train's first by weight over the sources, then evenly over the sections of each.
    """
    seed = config.split_seed
    limits = {"dev": config.max_dev_pairs, "test": config.max_test_pairs}
    result: list[Splits] = [dict(splits) for splits in sources]
    for split, limit in limits.items():
        kept = {id(pair) for pair in subsample([p for s in sources for p in s[split]], limit, seed)}
        for splits in result:
            splits[split] = [pair for pair in splits[split] if id(pair) in kept]
    trains = [splits["train"] for splits in sources]
    if config.mixture:
        weights = [source.weight for source in configs]
        for source, pairs in zip(configs, trains, strict=True):
            if source.weight > 0 and not pairs:
                raise DataError(
                    f"data.mixture: {source.path or source.reader} has no train pairs left to give its weight."
                )
        sizes: list[int | None] = list(
            weighted_sizes([len(pairs) for pairs in trains], weights, config.max_train_pairs)
        )
    else:
        sizes = [config.max_train_pairs]
    for splits, size in zip(result, sizes, strict=True):
        splits["train"] = [] if size == 0 and config.mixture else subsample(splits["train"], size, seed)
    return result


class _Steps:
    """The sources on their way, with a count of what each step left out: an empty split can say why it is empty."""

    def __init__(self, sources: list[Splits]) -> None:
        self.sources = sources
        self.dropped: dict[str, int] = {}
        self._read = {split: [pair for splits in sources for pair in splits[split]] for split in SPLITS}
        self._counts = [("read", self._count())]

    def take(self, reason: str, sources: list[Splits]) -> None:
        """Go on with `sources`; `reason` names the pairs that are no longer there."""
        self.sources = sources
        self._counts.append((reason, self._count()))
        (_, before), (_, after) = self._counts[-2:]
        self.dropped[reason] = sum(before.values()) - sum(after.values())

    def check_not_empty(self, *, test_too: bool) -> None:
        """Raise DataError for the first split without pairs, naming the step that took the last of them."""
        for split in SPLITS if test_too else SPLITS[:2]:
            if self._counts[-1][1][split] == 0:
                raise DataError(self._why_empty(split))

    def _why_empty(self, split: str) -> str:
        if self._counts[0][1][split] == 0:
            hint = " or evaluate on a benchmark" if split == "test" else ""
            return (
                f"the {split} split is empty: the data have none, none was cut from train. Set data.{split}_fraction "
                f"(0.1 is a tenth of the prompts; every split needs one of its own), or add a {split} file{hint}."
            )
        for (_, before), (reason, after) in pairwise(self._counts):
            if before[split] and not after[split]:
                lost = f"its last {before[split]} pairs were left out as '{reason}'"
                return f"the {split} split is empty: {lost}. {self._remedy(reason, split)}"
        raise AssertionError(split)

    def _remedy(self, reason: str, split: str) -> str:
        if "sections" in reason:
            there = sorted({pair.section for pair in self._read[split]})
            return (
                f"It has {', '.join(there)}: change data.sections, or give data whose {split} split has these sections."
            )
        if "subsets" in reason:
            return "Set data.unseen_subsets=keep, or give train pairs of the subsets that evaluate."
        if "prompt" in reason:
            return "Every prompt of it is also in a split that evaluates: give data whose prompts differ."
        return f"Raise data.max_{split}_pairs or the weights of the mixture."

    def _count(self) -> dict[str, int]:
        return {split: sum(len(splits[split]) for splits in self.sources) for split in SPLITS}
