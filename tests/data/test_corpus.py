"""Text and questions for pretraining."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tinyrm.config import PassagesConfig
from tinyrm.data.comparisons import SPOILERS, passage_pairs, question_pairs
from tinyrm.data.corpus import Document, Question, read_corpus, read_questions
from tinyrm.errors import DataError


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_lines(tmp_path / "a.jsonl.gz", [{"text": f"text number {i}", "source": "a"} for i in range(60)])
    (tmp_path / "notes.md").write_text("\n\n".join(f"paragraph {i} " + "x" * 900 for i in range(20)), encoding="utf-8")
    (tmp_path / "program.py").write_text("print('not text')", encoding="utf-8")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "log.txt").write_text("hidden", encoding="utf-8")
    write_lines(tmp_path / "questions.jsonl", [{"question": "q", "choices": ["a", "b"], "answer": 0}])
    return tmp_path


class TestText:
    def test_a_folder_gives_the_documents_of_its_text_files(self, folder: Path) -> None:
        parts = read_corpus(str(folder), 0.2)
        everything = [*parts.train, *parts.dev]
        assert {d.text for d in everything if d.source == "a"} == {f"text number {i}" for i in range(60)}
        long = [d.text for d in everything if d.source == "notes.md"]
        assert len(long) == 3 and all(len(text) < 7000 for text in long)  # cut at paragraph ends near 6,000 characters
        assert not any("hidden" in d.text or "print" in d.text for d in everything)

    def test_what_is_held_out_does_not_depend_on_what_else_is_there(self, folder: Path, tmp_path: Path) -> None:
        before = {d.text for d in read_corpus(str(folder), 0.2).dev}
        assert 3 <= len(before) <= 25
        write_lines(folder / "b.jsonl", [{"text": f"another text {i}"} for i in range(50)])
        after = read_corpus(str(folder), 0.2)
        assert before <= {d.text for d in after.dev}
        assert not {d.text for d in after.dev} & {d.text for d in after.train}

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("x.jsonl", '{"txt": "a"}\n', r"x.jsonl, line 1: no \"text\". Did you mean 'txt'"),
            ("x.txt", "   \n", "no text in it"),
            ("x.pdf", "%PDF", r"no text files \(.txt, .md"),
            ("x.txt", "one document alone", "holds 1 documents, of which none is held out"),
        ],
    )
    def test_what_is_wrong_is_said(self, tmp_path: Path, name: str, content: str, message: str) -> None:
        (tmp_path / name).write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match=message):
            read_corpus(str(tmp_path), 0.0001)

    def test_a_wrong_path_names_what_is_near(self, folder: Path) -> None:
        with pytest.raises(DataError, match=r"no such file or folder. Did you mean 'notes.md'"):
            read_corpus(str(folder / "note.md"), 0.1)


class TestQuestions:
    def test_the_split_of_the_file_counts(self, tmp_path: Path) -> None:
        rows = [{"question": f"q{i}", "choices": ["x", "y", "z"], "answer": i % 3} for i in range(4)]
        rows[1]["split"] = "dev"
        parts = read_questions(str(write_lines(tmp_path / "q.jsonl", rows)))
        assert [q.text for q in parts.train] == ["q0", "q2", "q3"] and [q.text for q in parts.dev] == ["q1"]
        assert parts.dev[0] == Question("q1", ("x", "y", "z"), 1)

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ({"question": "q", "options": ["a", "b"], "answer": 0}, "line 1: no 'choices'"),
            ({"question": "q", "choices": ["a", "b"], "answer": 2}, "answer=2 must be the index"),
            ({"question": "q", "choices": ["a", "a"], "answer": 0}, "two different choices"),
        ],
    )
    def test_a_bad_line_is_refused(self, tmp_path: Path, row: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError, match=message):
            read_questions(str(write_lines(tmp_path / "q.jsonl", [row])))


class TestPairs:
    def test_a_question_is_a_pair_of_its_right_and_a_wrong_choice(self) -> None:
        questions = [Question("2+2?", ("3", "4", "5"), 1), Question("sky?", ("blue", "green"), 0)]
        pairs = question_pairs(questions, seed=0)
        assert [(p.prompt, p.chosen) for p in pairs] == [("2+2?", "4"), ("sky?", "blue")]
        assert pairs[0].rejected in ("3", "5") and pairs[1].rejected == "green"
        assert {question_pairs(questions, seed=s)[0].rejected for s in range(9)} == {"3", "5"}

    def test_passages_are_true_continuations_beside_each_kind_of_spoilt_one(self) -> None:
        documents = [
            Document(" ".join(f"Sentence {i} of text {d} has {i + d} apples and ends here." for i in range(40)))
            for d in range(6)
        ]
        pairs = passage_pairs(documents, 50, seed=1, passages=PassagesConfig())
        assert len(pairs) == 50 and {p.subset for p in pairs} == set(SPOILERS)
        for pair in pairs:
            text = next(d.text for d in documents if pair.prompt_text in d.text)
            assert f"{pair.prompt_text} {pair.chosen}" in text  # what really follows
            assert f"{pair.prompt_text} {pair.rejected}" not in text
            if pair.subset == "disordered":
                assert sorted(pair.rejected.split()) == sorted(pair.chosen.split())
        assert pairs == passage_pairs(documents, 50, seed=1, passages=PassagesConfig())
        assert pairs != passage_pairs(documents, 50, seed=2, passages=PassagesConfig())

    def test_length_and_kinds_are_what_is_asked_for(self) -> None:
        text = " ".join(f"Word {i}." for i in range(200))
        asked = PassagesConfig(prompt_words=[8, 8], option_words=[2, 4], spoilers=["repeated", "later"])
        pairs = passage_pairs([Document(f"{d} {text}") for d in range(4)], 40, seed=0, passages=asked)
        assert {pair.subset for pair in pairs} == {"repeated", "later"}
        assert all(len(pair.prompt_text.split()) <= 9 and len(pair.chosen.split()) <= 5 for pair in pairs)

    def test_most_comparisons_are_short(self) -> None:
        text = " ".join(f"Word {i}." for i in range(600))
        pairs = passage_pairs([Document(f"{d} {text}") for d in range(4)], 400, seed=0, passages=PassagesConfig())
        words = sorted(len(pair.chosen.split()) for pair in pairs)
        assert words[200] < 20 < 50 < words[-1] <= 110  # at most twice the 55 that are drawn
        prompts = sorted(len(pair.prompt_text.split()) for pair in pairs)
        assert prompts[200] < 30 < 100 < prompts[-1] <= 220

    def test_texts_too_short_for_a_passage_give_none(self) -> None:
        assert passage_pairs([Document("One."), Document("Two. Three.")], 5, seed=0, passages=PassagesConfig()) == []
