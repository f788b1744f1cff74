"""From a config to train, dev and test."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tinyrm.config.schema import DataConfig, SourceConfig
from tinyrm.data import PairData, fingerprint, load, normalized_prompt
from tinyrm.errors import DataError
from tinyrm.types import PreferencePair


def load_folder(folder: Path, *, evaluation: list[PreferencePair] | None = None, **more: Any) -> PairData:
    return load(DataConfig(reader="jsonl", path=str(folder), **more), evaluation=evaluation or [])


@pytest.fixture
def folder(write: Any, rows: Any, tmp_path: Path) -> Path:
    """20 chat and 10 reasoning pairs to train on, 4 + 2 in dev, 3 + 3 in test."""
    write("d/train.jsonl.gz", rows(20, "tc") + rows(10, "tr", "reasoning"))
    write("d/dev.jsonl", rows(4, "dc") + rows(2, "dr", "reasoning"))
    write("d/test.jsonl", rows(3, "ec") + rows(3, "er", "reasoning"))
    return tmp_path / "d"


def test_a_folder_with_all_splits_is_taken_as_it_is(folder: Path) -> None:
    data = load_folder(folder)
    assert [len(data.train), len(data.dev), len(data.test)] == [30, 6, 6]
    assert [p.id for p in data.dev] == ["dc-0", "dc-1", "dc-2", "dc-3", "dr-0", "dr-1"]
    assert data.report.as_dict() == {
        "sources": [{"name": f"jsonl:{folder}", "read": {"train": 30, "dev": 6, "test": 6}, "dropped": {}, "cut": []}],
        "dropped": {
            "duplicates": 0,
            "train pairs with a prompt of dev, test or the benchmark": 0,
            "dev pairs with a prompt of test or the benchmark": 0,
            "pairs over the weights and limits": 0,
        },
        "kept": {
            "chat": {"train": 20, "dev": 4, "test": 3},
            "reasoning": {"train": 10, "dev": 2, "test": 3},
        },
    }
    assert str(data.report).splitlines()[-1] == "kept of section reasoning: 10 train, 2 dev, 3 test"


def test_a_composed_config_gives_the_same_as_the_dataclass(folder: Path) -> None:
    config = DataConfig(reader="jsonl", path=str(folder), sections=["chat"], max_train_pairs=5)
    assert load(OmegaConf.structured(config)) == load(config)


def test_a_single_file_is_split_by_prompt(write: Any, rows: Any) -> None:
    # Every prompt twice, the second time in other letters.
    again = [{**row, "id": f"{row['id']}b", "prompt": row["prompt"].upper(), "chosen": "other"} for row in rows(60)]
    path = write("all.jsonl", rows(60) + again)
    data = load_folder(path)
    prompts = [{normalized_prompt(p.prompt) for p in part} for part in (data.train, data.dev, data.test)]
    assert [len(part) for part in (data.train, data.dev, data.test)] == [2 * len(p) for p in prompts]
    assert sum(map(len, prompts)) == len(set().union(*prompts)) == 60
    assert data.report.sources[0].cut == ("test", "dev")
    assert fingerprint(load_folder(path).train) == fingerprint(data.train)
    assert fingerprint(load_folder(path, split_seed=1).train) != fingerprint(data.train)


def test_train_pairs_with_an_evaluation_prompt_are_dropped_and_counted(write: Any, rows: Any, tmp_path: Path) -> None:
    train = rows(10, "t")
    train[1]["prompt"] = "  question D number 0 "  # in dev
    train[2]["prompt"] = "Human: Question e number 0?"  # in test
    train[3]["prompt"] = [{"role": "user", "content": "benchmark, prompt"}]  # in the benchmark
    dev = rows(3, "d")
    dev[1]["prompt"] = "Question e number 1"  # in test
    write("d/train.jsonl", train)
    write("d/dev.jsonl", dev)
    write("d/test.jsonl", rows(2, "e"))
    benchmark = [PreferencePair("b", "Benchmark prompt!", "x", "y", "chat", "chat", "b")]
    data = load_folder(tmp_path / "d", evaluation=benchmark)
    assert [p.id for p in data.train] == ["t-0", "t-4", "t-5", "t-6", "t-7", "t-8", "t-9"]
    assert [p.id for p in data.dev] == ["d-0", "d-2"]
    assert data.report.dropped["train pairs with a prompt of dev, test or the benchmark"] == 3
    assert data.report.dropped["dev pairs with a prompt of test or the benchmark"] == 1
    assert data.report.kept == {"chat": {"train": 7, "dev": 2, "test": 2}}


def test_duplicates_are_dropped_and_counted(write: Any, rows: Any, folder: Path) -> None:
    write("d/train.jsonl.gz", rows(5, "a") + rows(5, "a") + [{**rows(1, "a")[0], "chosen": "another"}])
    data = load_folder(folder)
    assert len(data.train) == 6
    assert data.report.dropped["duplicates"] == 5


def test_sections_make_a_specialist(folder: Path) -> None:
    data = load_folder(folder, sections=["reasoning"])
    assert {p.section for part in (data.train, data.dev, data.test) for p in part} == {"reasoning"}
    assert [len(data.train), len(data.dev), len(data.test)] == [10, 2, 3]
    assert data.report.dropped["pairs of other sections"] == 27


def test_subsets_that_train_has_nothing_of_can_be_left_out(write: Any, rows: Any, tmp_path: Path) -> None:
    def named(start: str, *subsets: str) -> list[dict[str, Any]]:
        return [{**row, "subset": s} for s, row in zip(subsets, rows(len(subsets), start), strict=True)]

    write("d/train.jsonl", named("t", "a", "a", "b"))
    write("d/dev.jsonl", named("d", "a", "c"))
    write("d/test.jsonl", named("e", "b", "c", "a", "d"))
    kept, dropped = (load_folder(tmp_path / "d", unseen_subsets=choice) for choice in ("keep", "drop"))
    assert [len(kept.dev), len(kept.test)] == [2, 4]
    assert [p.subset for p in dropped.dev + dropped.test] == ["a", "b", "a"]
    assert len(dropped.train) == 3
    assert dropped.report.dropped["pairs of subsets that train has nothing of"] == 3
    write("d/test.jsonl", named("e", "c"))
    with pytest.raises(DataError, match=r"the test split is empty: .*data\.unseen_subsets=keep"):
        load_folder(tmp_path / "d", unseen_subsets="drop")


def test_a_section_that_is_not_there(folder: Path) -> None:
    with pytest.raises(
        DataError, match=r"no section 'reasonning' .* Sections: chat, reasoning\. Did you mean 'reasoning'"
    ):
        load_folder(folder, sections=["chat", "reasonning"])


def test_limits_are_even_over_sections_and_nested(folder: Path) -> None:
    small = load_folder(folder, max_train_pairs=8, max_dev_pairs=2, max_test_pairs=4)
    assert small.report.kept == {
        "chat": {"train": 4, "dev": 1, "test": 2},
        "reasoning": {"train": 4, "dev": 1, "test": 2},
    }
    large = load_folder(folder, max_train_pairs=25)
    assert Counter(p.section for p in large.train) == {"chat": 15, "reasoning": 10}
    assert {p.id for p in small.train} < {p.id for p in large.train}


def test_an_empty_split_says_which_step_emptied_it(write: Any, rows: Any, folder: Path) -> None:
    write("d/dev.jsonl", rows(4, "dc"))
    with pytest.raises(DataError) as caught:
        load_folder(folder, sections=["reasoning"])
    assert str(caught.value) == (
        "the dev split is empty: its last 4 pairs were left out as 'pairs of other sections'. It has chat: change "
        "data.sections, or give data whose dev split has these sections."
    )
    write("d/train.jsonl.gz", rows(4, "dc"))
    with pytest.raises(DataError, match=r"the train split is empty: its last 4 pairs .* Every prompt of it is also in"):
        load_folder(folder)


def test_splits_may_be_empty_only_where_nothing_needs_them(write: Any, rows: Any) -> None:
    path = write("all.jsonl", rows(30))
    with pytest.raises(DataError, match=r"the dev split is empty: .* Set data\.dev_fraction \(0\.1 is"):
        load_folder(path, dev_fraction=0)
    with pytest.raises(DataError, match=r"the test split is empty: .* or evaluate on a benchmark\."):
        load_folder(path, test_fraction=0)
    benchmark = [PreferencePair("b", "other", "x", "y", "chat", "chat", "b")]
    data = load_folder(path, test_fraction=0, evaluation=benchmark)
    assert data.test == ()
    assert len(data.train) + len(data.dev) == 30


def mixture(folder: Path, other: Path, weights: tuple[float, float], **more: Any) -> DataConfig:
    return DataConfig(
        mixture=[
            SourceConfig(reader="folder", path=str(folder), weight=weights[0]),
            SourceConfig(reader="csv", path=str(other), weight=weights[1], section="safety"),
        ],
        **more,
    )


@pytest.fixture
def other(write: Any, rows: Any) -> Path:
    keep = ("id", "prompt", "chosen", "rejected")
    path: Path = write("other.csv", [{key: row[key] for key in keep} for row in rows(200, "tc2")])
    return path


@pytest.mark.parametrize(
    ("weights", "limit", "expected"),
    [((1, 2), None, (30, 60)), ((3, 1), None, (30, 10)), ((1, 1), 20, (10, 10)), ((0, 1), 40, (0, 40))],
)
def test_a_mixture_keeps_to_its_weights(
    folder: Path, other: Path, weights: tuple[float, float], limit: int | None, expected: tuple[int, int]
) -> None:
    config = mixture(folder, other, weights, max_train_pairs=limit)
    data = load(config)
    assert tuple(Counter(p.source == "other.csv" for p in data.train)[own] for own in (False, True)) == expected
    # Weights are about train alone.
    assert {p.source for p in data.dev} == {p.source for p in data.test} == {"owner/repository", "other.csv"}
    assert load(OmegaConf.structured(config)) == data
    if limit == 20:
        assert Counter(p.section for p in data.train) == {"chat": 5, "reasoning": 5, "safety": 10}


def test_a_mixture_splits_by_prompt_over_its_sources_and_keeps_ids_apart(write: Any, rows: Any) -> None:
    first, second = write("a.jsonl", rows(50)), write("b.jsonl", [{**row, "chosen": "else"} for row in rows(50)])
    data = load(DataConfig(mixture=[SourceConfig(reader="jsonl", path=str(p)) for p in (first, second)]))
    parts = (data.train, data.dev, data.test)
    prompts = [{normalized_prompt(p.prompt) for p in part} for part in parts]
    assert sum(map(len, prompts)) == len(set().union(*prompts)) == 50
    ids = [p.id for part in parts for p in part]
    assert len(ids) == len(set(ids)) == 100


def test_a_source_of_a_mixture_with_nothing_left(folder: Path, other: Path) -> None:
    with pytest.raises(DataError, match=r"data\.mixture: .*other\.csv has no train pairs left"):
        load(mixture(folder, other, (1, 1), sections=["chat"]))


def test_the_synthetic_suite_is_read_like_any_other() -> None:
    pytest.importorskip("tinyrm.data.synthetic", reason="the suite is another part of the package")
    config = DataConfig()
    config.synthetic.train_pairs, config.synthetic.dev_pairs, config.synthetic.test_pairs = 60, 30, 30
    data = load(config)
    assert 55 <= len(data.train) <= 60
    assert (len(data.dev), len(data.test)) == (30, 30)
    assert load(config) == data
