"""The immutable part of a collection: one folder of files, written once (`vectors.merge`), mapped.

* `vectors.faiss`: exact inner product over float16 codes, memory-mapped, so that all processes of
  a host share one copy.
* `chunks.sqlite`: files, chunk rows, and where the postings of each term lie.
* The files of `vectors.postings`. SQLite's FTS5 scores with its own document counts and at 20,000
  chunks takes tens of milliseconds for a query with common words; postings of our own take less
  than one and score by the counts of the whole collection, base and delta.
* `columns.npy`: what scoring needs to know of every chunk, memory-mapped.
* Of a large base the files of `vectors.near`, too, which spare a search most of the vectors.
"""

from __future__ import annotations

import sqlite3
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

import faiss
import numpy as np

from contracts.errors import TransientError
from vectors.held import Held
from vectors.near import Near
from vectors.postings import SCHEMA, no_postings, open_postings
from vectors.segment import Columns, Neighbours
from vectors.types import Chunk, FileState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from vectors.lexical import Posting
    from vectors.postings import Postings

INDEX_FILE, ROWS_FILE, COLUMNS_FILE = "vectors.faiss", "chunks.sqlite", "columns.npy"

COLUMNS = np.dtype([("file", "<i4"), ("length", "<i4"), ("start_line", "<i4")])
_ROWS_AT_ONCE = 500  # SQLite's oldest limit on parameters is 999
_SCHEMA = """
CREATE TABLE file (
  id INTEGER PRIMARY KEY, path TEXT NOT NULL, version INTEGER NOT NULL, content_hash TEXT NOT NULL,
  first INTEGER NOT NULL, count INTEGER NOT NULL);
CREATE TABLE chunk (
  id INTEGER PRIMARY KEY, start_line INTEGER NOT NULL, end_line INTEGER NOT NULL,
  kind TEXT NOT NULL, text TEXT NOT NULL, symbol TEXT);
"""

# A worker scales by processes; OpenMP threads of several of them on one host only fight.
faiss.omp_set_num_threads(1)


class Base:
    """Chunks 0..size-1 on disk. Safe to use from several threads at once."""

    def __init__(
        self,
        index: Any,  # noqa: ANN401 - faiss is untyped
        rows: sqlite3.Connection,
        columns: Columns,
        postings: Postings | None = None,
        near: Near | None = None,
    ) -> None:
        self._index = index
        self._rows = rows
        self._postings = postings or no_postings(rows)
        self.columns = columns
        self.near = near
        self.size = len(columns.file)
        self.held = Held(index, self.size)
        # Names and bounds only: a worker holds the rest of 50,000 files on disk.
        self.paths: list[str] = []
        bounds = array("i")
        for path, *bound in rows.execute("SELECT path, first, count FROM file ORDER BY id"):
            self.paths.append(path)
            bounds.extend(bound)
        self._numbers = {path: number for number, path in enumerate(self.paths)}
        self._bounds = np.frombuffer(bounds, np.int32).reshape(-1, 2)

    @classmethod
    def empty(cls, dim: int) -> Base:
        """A base without chunks, in memory."""
        return cls(new_index(dim), connect_rows(":memory:"), _as_columns(np.empty(0, COLUMNS)))

    @classmethod
    def open(cls, folder: Path, *, with_near: bool = False) -> Base:
        """Map a folder that `merge.write_base` wrote and whose checksums were verified.

        Args:
            folder: of the files.
            with_near: whether those of `vectors.near` are among them.

        Raises:
            TransientError: the files cannot be read.
        """
        uri = f"{(folder / ROWS_FILE).absolute().as_uri()}?mode=ro&immutable=1"
        try:
            index = faiss.read_index(str(folder / INDEX_FILE), faiss.IO_FLAG_MMAP_IFC)
            columns = np.load(folder / COLUMNS_FILE, mmap_mode="r")
            rows = sqlite3.connect(uri, uri=True, check_same_thread=False)
            rows.execute("PRAGMA mmap_size = 4294967296")
            near = Near.open(folder, len(columns)) if with_near else None
            postings = open_postings(folder, rows)
            return cls(index, rows, _as_columns(np.asarray(columns)), postings, near)
        except (OSError, RuntimeError, ValueError, sqlite3.Error) as error:
            message = f"cannot open {folder}: {error}"
            raise TransientError(message) from error

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return int(self._index.d)

    def path(self, file: int) -> str:
        """Path of a file by number."""
        return self.paths[file]

    def chunks_of(self, path: str) -> range:
        """Chunks of a file; none of one that is not known."""
        number = self._numbers.get(path)
        if number is None:
            return range(0)
        first, count = self._bounds[number].tolist()
        return range(first, first + count)

    def state(self, path: str) -> FileState | None:
        """What was known of a file when the base was written."""
        number = self._numbers.get(path)
        if number is None:
            return None
        query = "SELECT version, content_hash FROM file WHERE id = ?"
        return FileState(*self._rows.execute(query, (number,)).fetchone())

    def states(self) -> dict[str, FileState]:
        """What was known of every file."""
        query = "SELECT path, version, content_hash FROM file"
        return {path: FileState(*state) for path, *state in self._rows.execute(query)}

    def postings(self, terms: Sequence[str]) -> dict[str, Posting]:
        """Where the given terms occur; absent terms are left out."""
        return self._postings.of(terms)

    def all_postings(self) -> Iterator[tuple[str, Posting]]:
        """Every term in ascending order."""
        return self._postings.every()

    def nearest(
        self, vectors: NDArray[np.float32], k: int, among: faiss.IDSelector | None
    ) -> Neighbours:
        """Chunks nearest to each row of `vectors`, shape (n, dim), among the selected ones."""
        if self.near is not None:
            return self._choose(vectors, self.near.propose(vectors, k, among), k)
        options = {} if among is None else {"params": faiss.SearchParameters(sel=among)}  # type: ignore[call-arg] # missing in the stubs
        scores, ids = self._index.search(vectors, k, **options)
        return Neighbours(ids, scores)

    def _choose(
        self, vectors: NDArray[np.float32], proposed: NDArray[np.int64], k: int
    ) -> Neighbours:
        ids = np.full((len(vectors), k), -1, np.int64)
        scores = np.full((len(vectors), k), -np.inf, np.float32)
        for row, found in enumerate(proposed):
            there = found[found >= 0]
            exact = self.vectors(there) @ vectors[row]
            best = np.argsort(-exact)[:k]
            ids[row, : len(best)], scores[row, : len(best)] = there[best], exact[best]
        return Neighbours(ids, scores)

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of the given chunks, shape (len(ids), dim)."""
        if not len(ids):
            return np.empty((0, self.dim), np.float32)
        found: NDArray[np.float32] = self._index.reconstruct_batch(ids)
        return found

    def chunks(self, ids: Sequence[int]) -> list[Chunk]:
        """The chunks themselves, in the order asked for."""
        found: dict[int, Chunk] = {}
        for start in range(0, len(ids), _ROWS_AT_ONCE):
            part = [int(id_) for id_ in ids[start : start + _ROWS_AT_ONCE]]
            marks = ",".join("?" * len(part))
            query = f"SELECT * FROM chunk WHERE id IN ({marks})"  # noqa: S608 - only question marks are put in
            found.update((id_, _chunk(row)) for id_, *row in self._rows.execute(query, part))
        return [found[id_] for id_ in ids]


class _Live(NamedTuple):
    """Which chunks of a base were not replaced.

    Attributes:
        mask: shape (size,).
        bits: the same as FAISS wants it; its selectors point into it.
        replaced: how many were.
    """

    mask: NDArray[np.bool_]
    bits: NDArray[np.uint8]
    replaced: int

    @classmethod
    def all_of(cls, size: int) -> _Live:
        mask = np.ones(size, np.bool_)
        return cls(mask, np.packbits(mask, bitorder="little"), 0)

    def without(self, chunks: range) -> _Live:
        """Copy it, which takes 50 us for a million chunks, and change what changes."""
        mask, bits = self.mask.copy(), self.bits.copy()
        mask[chunks.start : chunks.stop] = False
        begin, end = chunks.start // 8, -(-chunks.stop // 8)
        bits[begin:end] = np.packbits(mask[8 * begin : 8 * end], bitorder="little")
        return _Live(mask, bits, self.replaced + len(chunks))


class LiveBase:
    """A base together with which of its chunks were not replaced since: a `Segment`."""

    def __init__(self, base: Base, live: _Live | None = None) -> None:
        self.base = base
        self.columns = base.columns
        self.path = base.path
        self.postings = base.postings
        self.all_postings = base.all_postings
        self.vectors = base.vectors
        self.chunks = base.chunks
        self.matrix = base.held.matrix
        self.rough = base.held.rough
        self._live = live or _Live.all_of(base.size)
        self.alive = self._live.mask
        self._selector = None
        if self.replaced:
            self._selector = faiss.IDSelectorBitmap(self._live.bits)  # type: ignore[call-arg, arg-type] # the stubs know the C form only

    @property
    def replaced(self) -> int:
        """How many chunks were."""
        return self._live.replaced

    def without(self, chunks: range) -> LiveBase:
        """The same base with some more chunks replaced, none of which were before."""
        return LiveBase(self.base, self._live.without(chunks))

    def chunks_of(self, path: str) -> range:
        """Live chunks of a file; those of one file are replaced together."""
        chunks = self.base.chunks_of(path)
        return chunks if chunks and self.alive[chunks.start] else range(0)

    def nearest(self, vectors: NDArray[np.float32], k: int) -> Neighbours:
        """Live chunks nearest to each row of `vectors`, shape (n, dim)."""
        return self.base.nearest(vectors, k, self._selector)


def connect_rows(path: Path | str) -> sqlite3.Connection:
    """Begin the SQLite part of a new base.

    Raises:
        sqlite3.Error: the disk failed or is full.
    """
    rows = sqlite3.connect(path, check_same_thread=False)
    try:
        rows.executescript(_SCHEMA + SCHEMA)
    except sqlite3.Error:
        rows.close()  # an open file would keep its room on a full disk
        raise
    return rows


def new_index(dim: int) -> Any:  # noqa: ANN401 - faiss is untyped
    """Begin the vector part of a new base; the one place that chooses the kind of index."""
    return faiss.IndexScalarQuantizer(
        dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )


def _as_columns(table: NDArray[np.void]) -> Columns:
    return Columns(table["file"], table["length"], table["start_line"])


def _chunk(row: Sequence[Any]) -> Chunk:
    start_line, end_line, kind, text, symbol = row
    return Chunk(start_line=start_line, end_line=end_line, kind=kind, text=text, symbol=symbol)
