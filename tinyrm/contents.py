"""What files hold, as a hash: read once a process, until they change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tinyrm import reuse
from tinyrm.data.corpus import read_questions, text_files

_CONTENTS: reuse.Last[str] = reuse.Last(16)


def content(path: str, endings: Iterable[str] = ("",)) -> str:
    """A hash of a file, or of the files of a folder with these endings: their names and what is in them."""
    place = Path(path).expanduser()

    def read() -> str:
        files = [place] if place.is_file() else [f for f in sorted(place.rglob("*")) if f.is_file()]
        return _digest(place, [f for f in files if f.name.endswith(tuple(endings))])

    return _CONTENTS.get((path, tuple(endings), reuse.file_state(path)), read)


def corpus_content(path: str) -> str:
    """The same of the files that are read as text.

    Raises:
        DataError: there are none.
    """
    place = Path(path).expanduser()
    return _CONTENTS.get(
        (path, "text", reuse.file_state(path)), lambda: _digest(place, text_files(path, key="warmup.path"))
    )


def questions_content(path: str) -> str:
    """The same of a file of questions, which is read to see whether they are some.

    Raises:
        DataError: they are not.
    """

    def read() -> str:
        read_questions(path, key="warmup.questions")
        return content(path)

    return _CONTENTS.get((path, "questions", reuse.file_state(path)), read)


def _digest(place: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        name = "" if file == place else file.relative_to(place).as_posix()
        with file.open("rb") as opened:
            digest.update(f"{name}\0{hashlib.file_digest(opened, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
