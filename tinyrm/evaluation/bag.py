"""A bag of words: what a classifier knows of the same pairs that sees which words each response has, and nothing else.

Logistic regression on the difference of two tf-idf vectors (sublinear counts, unit length, so that length itself says
little), without an intercept, so that exchanging the responses turns its verdict round. The prompt is in both responses
alike and cancels. Fitted on the run's own train pairs, its strength chosen by the log-likelihood of dev; the pairs that
it is asked for have no part in either.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from tinyrm.errors import StorageError
from tinyrm.files import atomic_path
from tinyrm.types import PreferencePair

if TYPE_CHECKING:
    from scipy.sparse import csr_array

log = logging.getLogger(__name__)

BAG = "bag"  # in data.cache_dir
MOST_TRAIN_PAIRS = 20_000  # beyond them a seeded sample: a bag of words learns little more, and takes minutes
_STRENGTHS = (0.1, 1.0, 10.0)  # scikit-learn's C
_WORDS = {"token_pattern": r"(?u)\w+", "sublinear_tf": True, "min_df": 2}
_FORMAT = 1  # raise when the same pairs come to other numbers


def bag_log_odds(
    train: Sequence[PreferencePair],
    dev: Sequence[PreferencePair],
    asked: Sequence[PreferencePair],
    *,
    fingerprints: Mapping[str, str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
) -> NDArray[np.float64] | None:
    """(asked,) log-odds of a bag of words that the chosen response is the better one.

    None where there is nothing to learn from: a single train pair, or no word that comes twice.

    Args:
        train: to fit; of more than :data:`MOST_TRAIN_PAIRS` a sample.
        dev: to choose the strength by.
        asked: what it is asked for.
        fingerprints: names of the three parts' content, under which the result is kept for the next run on them.
        cache_dir: where; None keeps nothing. A damaged entry is made again.
    """
    entry = None
    if fingerprints is not None and cache_dir is not None:
        key = json.dumps([_FORMAT, MOST_TRAIN_PAIRS, _STRENGTHS, _WORDS, dict(fingerprints)], sort_keys=True)
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        entry = Path(cache_dir).expanduser() / BAG / name / "log_odds.safetensors"
        kept = _read(entry, len(asked))
        if kept is not None:
            return kept
    made = _compute(train, dev, asked)
    if entry is not None and made is not None:
        _write(entry, made)
    return made


def _compute(
    train: Sequence[PreferencePair], dev: Sequence[PreferencePair], asked: Sequence[PreferencePair]
) -> NDArray[np.float64] | None:
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes half a second, which a cached result saves
    from sklearn.linear_model import LogisticRegression

    if len(train) > MOST_TRAIN_PAIRS:
        drawn = np.random.default_rng(0).choice(len(train), MOST_TRAIN_PAIRS, replace=False)
        train = [train[i] for i in np.sort(drawn)]
    if len(train) < 2:
        return None
    vectorizer = TfidfVectorizer(**_WORDS)
    try:
        vectorizer.fit([text for pair in train for text in (pair.chosen, pair.rejected)])
    except ValueError:  # no word comes in two responses
        return None
    seen, judged, wanted = (_difference(vectorizer, pairs) for pairs in (train, dev, asked))
    # Two classes are needed: every other pair stands turned round, which without an intercept is the same loss.
    turn = np.where(np.arange(len(train)) % 2 == 0, 1, -1)
    turned = seen.multiply(turn[:, None]).tocsr()
    best, found = np.inf, np.zeros(len(asked))
    for strength in _STRENGTHS:
        model = LogisticRegression(C=strength, fit_intercept=False, max_iter=1000).fit(turned, turn)
        loss = float(np.logaddexp(0, -model.decision_function(judged)).mean())
        if loss < best:
            best, found = loss, model.decision_function(wanted)
    return np.asarray(found, dtype=np.float64)


def _difference(vectorizer: Any, pairs: Sequence[PreferencePair]) -> csr_array:
    """(pairs, words) chosen minus rejected."""
    rows = vectorizer.transform([text for pair in pairs for text in (pair.chosen, pair.rejected)])
    return rows[0::2] - rows[1::2]


def _read(entry: Path, length: int) -> NDArray[np.float64] | None:
    try:
        values: NDArray[np.float64] = load_file(entry)["log_odds"]
    except (OSError, SafetensorError, KeyError):
        return None
    return values if values.shape == (length,) and bool(np.isfinite(values).all()) else None


def _write(entry: Path, values: NDArray[np.float64]) -> None:
    """A cache that cannot be written costs time, never the run."""
    try:
        with atomic_path(entry) as temporary:
            save_file({"log_odds": values}, temporary)
    except StorageError as error:
        log.warning("The cache of the bag of words was not written: %s", error)
