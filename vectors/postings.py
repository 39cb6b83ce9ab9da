"""The inverted index of a base: flat files that all processes of a host share, and where terms lie.

* `postings.ids`: int32, the chunk ids of one term after the other.
* `postings.counts`: uint16, likewise.
* A row a term in the base's SQLite file, with its first place in both and how many are its own.

What a search looks at is read from the disk when it does, and a common word costs nothing to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from vectors.lexical import Posting

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

IDS_FILE, COUNTS_FILE = "postings.ids", "postings.counts"
_ID, _COUNT = np.dtype("<i4"), np.dtype("<u2")
SCHEMA = """
CREATE TABLE posting (
  term TEXT PRIMARY KEY, first INTEGER NOT NULL, count INTEGER NOT NULL) WITHOUT ROWID;
"""


class Postings(Protocol):
    """Where terms occur. Safe to use from several threads at once."""

    def of(self, terms: Sequence[str]) -> dict[str, Posting]:
        """Where the given terms occur; absent terms are left out."""

    def every(self) -> Iterator[tuple[str, Posting]]:
        """Every term in ascending order."""


class MappedPostings:
    """Postings in files."""

    def __init__(
        self, rows: sqlite3.Connection, ids: NDArray[np.int32], counts: NDArray[np.uint16]
    ) -> None:
        self._rows = rows
        self._ids = ids
        self._counts = counts

    def of(self, terms: Sequence[str]) -> dict[str, Posting]:
        """Where the given terms occur; absent terms are left out."""
        found = _find(self._rows, "first, count", terms)
        return {term: self._slice(*place) for term, *place in found}

    def every(self) -> Iterator[tuple[str, Posting]]:
        """Every term in ascending order."""
        for term, *place in self._rows.execute("SELECT * FROM posting ORDER BY term"):
            yield term, self._slice(*place)

    def _slice(self, first: int, count: int) -> Posting:
        return Posting(self._ids[first : first + count], self._counts[first : first + count])


class PackedPostings:
    """Postings in rows, as bases were written before; the next snapshot has them in files."""

    def __init__(self, rows: sqlite3.Connection) -> None:
        self._rows = rows

    def of(self, terms: Sequence[str]) -> dict[str, Posting]:
        """Where the given terms occur; absent terms are left out."""
        return {term: _unpack(*packed) for term, *packed in _find(self._rows, "ids, counts", terms)}

    def every(self) -> Iterator[tuple[str, Posting]]:
        """Every term in ascending order."""
        for term, *packed in self._rows.execute("SELECT * FROM posting ORDER BY term"):
            yield term, _unpack(*packed)


def no_postings(rows: sqlite3.Connection) -> Postings:
    """Those of a base without chunks."""
    return MappedPostings(rows, np.empty(0, _ID), np.empty(0, _COUNT))


def open_postings(folder: Path, rows: sqlite3.Connection) -> Postings:
    """Map the postings of a base.

    Raises:
        OSError, ValueError: the files cannot be read.
    """
    if not (folder / IDS_FILE).exists():
        return PackedPostings(rows)
    return MappedPostings(rows, _map(folder / IDS_FILE, _ID), _map(folder / COUNTS_FILE, _COUNT))


def write_postings(
    folder: Path, rows: sqlite3.Connection, postings: Iterable[tuple[str, Posting]]
) -> None:
    """Write the postings of a base, by ascending term.

    Raises:
        OSError, sqlite3.Error: the disk failed or is full.
    """
    first = 0
    with (folder / IDS_FILE).open("wb") as ids, (folder / COUNTS_FILE).open("wb") as counts:
        for term, posting in postings:
            ids.write(posting.ids.astype(_ID).tobytes())
            counts.write(posting.counts.astype(_COUNT).tobytes())
            rows.execute("INSERT INTO posting VALUES (?, ?, ?)", (term, first, len(posting.ids)))
            first += len(posting.ids)


def _find(rows: sqlite3.Connection, columns: str, terms: Sequence[str]) -> sqlite3.Cursor:
    marks = ",".join("?" * len(terms))
    query = f"SELECT term, {columns} FROM posting WHERE term IN ({marks})"  # noqa: S608 - only names of columns and question marks are put in
    return rows.execute(query, terms)


def _map(path: Path, kind: np.dtype[Any]) -> NDArray[Any]:
    if not path.stat().st_size:  # nothing cannot be mapped
        return np.empty(0, kind)
    return np.asarray(np.memmap(path, kind, "r"))


def _unpack(ids: bytes, counts: bytes) -> Posting:
    """Copies: what can be written to is held by this process alone."""
    return Posting(np.frombuffer(ids, _ID).copy(), np.frombuffer(counts, _COUNT).copy())
