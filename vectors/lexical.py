"""Words of code: how text becomes terms, and how well terms match (BM25).

A term is a stemmed word; identifiers are split at underscores and case changes, so that
`parseHTTPHeader` is found by "parsing http headers". A term of the path carries `PATH_MARK`, which
no word can begin with, and is matched as a field of its own.
"""

from __future__ import annotations

import math
import re
import threading
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from snowballstemmer.english_stemmer import (  # type: ignore[import-untyped]  # ships no types
    EnglishStemmer,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vectors.types import Chunk

TOKENIZER = "code-split-snowball-english-1"
"""Identity of the rules below; an index built under other rules must be built anew."""

PATH_MARK = "/"
K1, B = 1.2, 0.75
"""Term saturation and length normalisation (Robertson & Zaragoza, "The Probabilistic Relevance
Framework: BM25 and Beyond", 2009, section 3.4: the customary values)."""

_SYMBOL_WEIGHT = 2
_LONGEST_WORD = 64
_MOST_QUERY_TERMS = 64
_MOST_COUNT = np.iinfo(np.uint16).max
_WORD = re.compile(r"[^\W_]+")
_PART = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_stemmer = EnglishStemmer()
_stemmer_lock = threading.Lock()


class Posting(NamedTuple):
    """Where one term occurs within a segment.

    Attributes:
        ids: shape (n,), int32, ascending chunk ids.
        counts: shape (n,), uint16, weighted occurrences in each chunk.
    """

    ids: NDArray[np.int32]
    counts: NDArray[np.uint16]


class ChunkTerms(NamedTuple):
    """The terms of one chunk with their weighted counts, and its length in terms (no path)."""

    counts: Counter[str]
    length: int


def terms(text: str) -> list[str]:
    """Split text into stemmed terms, in order, with repetitions. Takes any text at all."""
    return [term for word in _WORD.findall(text) for term in _terms_of_word(word)]


def chunk_terms(path_terms: Sequence[str], chunk: Chunk) -> ChunkTerms:
    """Count the terms of a chunk: body once, symbol doubled, path as a field of its own.

    Args:
        path_terms: `terms(path)`, computed once for all chunks of a file.
        chunk: the chunk itself.
    """
    counts = Counter(terms(chunk.searched_text))
    for term in terms(chunk.symbol or ""):
        counts[term] += _SYMBOL_WEIGHT
    for term in path_terms:
        counts[term] += 1
    length = counts.total()
    counts.update(PATH_MARK + term for term in set(path_terms))
    for term, count in counts.items():
        counts[term] = min(count, int(_MOST_COUNT))
    return ChunkTerms(counts, length)


def query_terms(text: str) -> list[str]:
    """Distinct terms of a query, first ones first; a long text is cut, so the cost is bounded."""
    return list(_query_terms(text))


@lru_cache(maxsize=128)  # a task is asked of several collections
def _query_terms(text: str) -> tuple[str, ...]:
    distinct: dict[str, None] = {}
    for match in _WORD.finditer(text):
        distinct.update(dict.fromkeys(_terms_of_word(match.group())))
        if len(distinct) >= _MOST_QUERY_TERMS:
            break
    return tuple(distinct)[:_MOST_QUERY_TERMS]


def idf(frequency: int, total: int) -> float:
    """Weight of a term found in `frequency` of `total` chunks; never negative.

    ln(1 + (N - n + 0.5) / (n + 0.5)), as Lucene's BM25Similarity has it.
    """
    return math.log1p((total - frequency + 0.5) / (frequency + 0.5))


def query_weight(term: str, frequency: int, total: int) -> float:
    """Weigh a term of a query: its `idf`, but nothing for a number that stands nowhere.

    Any other word that stands nowhere says that the text may be about something else. The number of
    a version to come, or of a ticket, says nothing.
    """
    return 0.0 if not frequency and term.isdigit() else idf(frequency, total)


def saturation(
    counts: NDArray[np.uint16], lengths: NDArray[np.int32], mean_length: float
) -> NDArray[np.float32]:
    """BM25's term-frequency part: 0 for an absent term, approaching `K1 + 1`.

    Args:
        counts: shape (n,), occurrences per chunk.
        lengths: shape (n,), chunk lengths in terms.
        mean_length: over all live chunks, > 0.

    Returns:
        Shape (n,), float32.
    """
    frequency = counts.astype(np.float32)
    penalty = np.float32(K1) * (1 - B + (B / mean_length) * lengths.astype(np.float32))
    return (frequency * np.float32(K1 + 1) / (frequency + penalty)).astype(np.float32)


@lru_cache(maxsize=1 << 16)
def _terms_of_word(word: str) -> tuple[str, ...]:
    if not word.isascii():
        return (word[:_LONGEST_WORD].lower(),)
    parts = (part.lower() for part in _PART.findall(word[:_LONGEST_WORD]))
    return tuple(_stem(part) for part in parts if len(part) > 1)


def _stem(word: str) -> str:
    with _stemmer_lock:  # the stemmer keeps its cursor in itself
        return str(_stemmer.stemWord(word))
