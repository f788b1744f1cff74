"""Text and questions for pretraining: files of documents, and questions with choices."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyrm.data.readers.jsonl import open_jsonl
from tinyrm.data.readers.text import lines
from tinyrm.errors import DataError, did_you_mean

PLAIN = (".txt", ".md", ".rst")
LINES = (".jsonl", ".ndjson")
_DOCUMENT = 6000  # characters
_ENDINGS = tuple(ending + packed for ending in (*PLAIN, *LINES) for packed in ("", ".gz"))


@dataclass(frozen=True, slots=True)
class Document:
    """One text, and where it comes from ('' where the file does not say)."""

    text: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its choices; `answer` is the index of the right one."""

    text: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class Parts:
    """What is learnt from, and what is held out. Each half in the order of the files."""

    train: tuple[Any, ...] = ()
    dev: tuple[Any, ...] = ()


def read_corpus(path: str, dev_fraction: float, most: int | None = None) -> Parts:
    """The documents of a file or of all files below a folder, split by a hash of their text.

    A plain text file is cut into documents at paragraph ends near 6,000 characters; each line of a JSON Lines file is
    one, with its text in `text` (and, where it is there, where it comes from in `source`). Empty ones are passed over.

    Args:
        path: file or folder; hidden files and folders are passed over.
        dev_fraction: share of the documents to hold out; the same texts whatever else is there.
        most: take only the first so many documents.

    Raises:
        DataError: nothing there, nothing readable, or a line without text.
    """
    documents = read_documents(path, most)
    parts = _split(documents, [_share(d.text) < dev_fraction for d in documents])
    if not parts.train or not parts.dev:
        lacking = "to learn from" if not parts.train else "held out"
        raise DataError(
            f"corpus.path={path} holds {len(documents)} documents, of which none is {lacking} with "
            f"corpus.dev_fraction={dev_fraction}: give more documents (a long text in several files), or another share."
        )
    return parts


def read_documents(path: str, most: int | None = None, *, key: str = "corpus.path") -> list[Document]:
    """All of them, as :func:`read_corpus` has them.

    Args:
        path, most: as there.
        key: what the user gives the path as.

    Raises:
        DataError: nothing there, nothing readable, or a line without text.
    """
    documents: list[Document] = []
    for file in text_files(path, key=key):
        for document in _documents(file):
            if document.text.strip():
                documents.append(document)
            if most is not None and len(documents) >= most:
                break
    if not documents:
        raise DataError(f"{key}={path}: no text in it.")
    return documents


def read_questions(path: str, *, key: str = "corpus.questions") -> Parts:
    """Questions of a JSON Lines file; those whose `split` is 'dev' are held out.

    Args:
        path: of the file.
        key: what the user gives it as.

    Raises:
        DataError: the file or a field of a line is missing, or `answer` is not the index of a choice.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"{key}={path}: there is no such file.{_near(file)}")
    questions, held = [], []
    table = open_jsonl(file, file.name)
    for row in table.rows(None):
        questions.append(_question(row.values, table.place(row.number)))
        held.append(row.values.get("split") == "dev")
    if not questions:
        raise DataError(f"{key}={path}: no questions in it.")
    return _split(questions, held)


def _question(row: Mapping[str, Any], place: str) -> Question:
    for key in ("question", "choices", "answer"):
        if key not in row:
            raise DataError(f"{place}: no {key!r}.{did_you_mean(key, row)} A line is {{question, choices, answer}}.")
    choices = tuple(map(str, row["choices"])) if isinstance(row["choices"], list) else ()
    answer = row["answer"]
    if len(set(choices)) < 2 or not isinstance(answer, int) or not 0 <= answer < len(choices):
        raise DataError(f"{place}: answer={answer!r} must be the index of one of at least two different choices.")
    return Question(str(row["question"]), choices, answer)


def _split(items: list[Any], held: list[bool]) -> Parts:
    return Parts(
        tuple(item for item, out in zip(items, held, strict=True) if not out),
        tuple(item for item, out in zip(items, held, strict=True) if out),
    )


def _share(text: str) -> float:
    """Where a text lies between 0 and 1, by its hash."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:4], "big") / 2**32


def text_files(path: str, *, key: str = "corpus.path") -> list[Path]:
    """The files of a corpus, which :func:`read_documents` reads, in order.

    Raises:
        DataError: there are none.
    """
    place = Path(path).expanduser()
    if place.is_file():
        found = [place]
    elif place.is_dir():
        below = (f for f in sorted(place.rglob("*")) if f.is_file() and f.name.lower().endswith(_ENDINGS))
        found = [f for f in below if not any(part.startswith(".") for part in f.relative_to(place).parts)]
    else:
        raise DataError(f"{key}={path}: there is no such file or folder.{_near(place)}")
    if not found or not found[0].name.lower().endswith(_ENDINGS):
        raise DataError(f"{key}={path}: no text files ({', '.join((*PLAIN, *LINES))}, each also as .gz) there.")
    return _without_questions(found) if place.is_dir() else found


def _without_questions(files: list[Path]) -> list[Path]:
    """A folder may hold the questions beside the text."""
    return [f for f in files if not f.name.lower().startswith("questions.")]


def _documents(file: Path) -> Iterator[Document]:
    if file.name.lower().removesuffix(".gz").endswith(PLAIN):
        yield from (Document(piece, file.name) for piece in _pieces("".join(text for _, text in lines(file))))
        return
    table = open_jsonl(file, file.name)
    for row in table.rows(None):
        text = row.values.get("text")
        if not isinstance(text, str):
            near = did_you_mean("text", row.values)
            raise DataError(f'{table.place(row.number)}: no "text".{near} A line is {{"text": "..."}}.')
        yield Document(text, str(row.values.get("source", "")))


def _pieces(text: str) -> Iterator[str]:
    """A long text in parts, so that some of it can be held out."""
    part: list[str] = []
    for paragraph in text.split("\n\n"):
        part.append(paragraph)
        if sum(map(len, part)) >= _DOCUMENT:
            yield "\n\n".join(part)
            part = []
    yield "\n\n".join(part)


def _near(place: Path) -> str:
    parent = place.parent
    return did_you_mean(place.name, (p.name for p in parent.iterdir())) if parent.is_dir() else ""
