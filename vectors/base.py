"""The immutable part of a collection: one folder of files, written once (`vectors.merge`), mapped.

* `vectors.faiss`: exact inner product over float16 codes, memory-mapped, so that all processes of
  a host share one copy.
* `chunks.sqlite`: files, chunk rows and the inverted index, one row of packed arrays per term.
  SQLite's FTS5 scores with its own document counts and at 20,000 chunks takes tens of
  milliseconds for a query with common words; packed postings take less than one and score by the
  counts of the whole collection, base and delta.
* `columns.npy`: what scoring needs to know of every chunk, memory-mapped.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np

from contracts.errors import TransientError
from vectors.lexical import Posting
from vectors.segment import Columns, Neighbours
from vectors.types import Chunk, FileState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

INDEX_FILE, ROWS_FILE, COLUMNS_FILE = "vectors.faiss", "chunks.sqlite", "columns.npy"

COLUMNS = np.dtype([("file", "<i4"), ("length", "<i4"), ("start_line", "<i4")])
_MOST_HELD = 1 << 16  # vectors as float32 in memory: 100 MB at most
_SCHEMA = """
CREATE TABLE file (
  id INTEGER PRIMARY KEY, path TEXT NOT NULL, version INTEGER NOT NULL, content_hash TEXT NOT NULL,
  first INTEGER NOT NULL, count INTEGER NOT NULL);
CREATE TABLE chunk (
  id INTEGER PRIMARY KEY, start_line INTEGER NOT NULL, end_line INTEGER NOT NULL,
  kind TEXT NOT NULL, text TEXT NOT NULL, symbol TEXT);
CREATE TABLE posting (term TEXT PRIMARY KEY, ids BLOB NOT NULL, counts BLOB NOT NULL)
  WITHOUT ROWID;
"""

# A worker scales by processes; OpenMP threads of several of them on one host only fight.
faiss.omp_set_num_threads(1)


@dataclass(frozen=True, slots=True)
class BaseFile:
    """A file as the base knows it, removed ones included; its chunks are `chunks`."""

    state: FileState
    chunks: range


class Base:
    """Chunks 0..size-1 on disk. Safe to use from several threads at once."""

    def __init__(self, index: Any, rows: sqlite3.Connection, columns: Columns) -> None:  # noqa: ANN401 - faiss is untyped
        self._index = index
        self._rows = rows
        self.columns = columns
        self.size = len(columns.file)
        self.files: dict[str, BaseFile] = {}
        self._paths: list[str] = []
        query = "SELECT path, version, content_hash, first, count FROM file ORDER BY id"
        for path, version, content_hash, first, count in rows.execute(query):
            self._paths.append(path)
            self.files[path] = BaseFile(
                FileState(version, content_hash), range(first, first + count)
            )

    @classmethod
    def empty(cls, dim: int) -> Base:
        """A base without chunks, in memory."""
        return cls(new_index(dim), connect_rows(":memory:"), _as_columns(np.empty(0, COLUMNS)))

    @classmethod
    def open(cls, folder: Path) -> Base:
        """Map a folder that `merge.write_base` wrote and whose checksums were verified.

        Raises:
            TransientError: the files cannot be read.
        """
        uri = f"{(folder / ROWS_FILE).absolute().as_uri()}?mode=ro&immutable=1"
        try:
            index = faiss.read_index(str(folder / INDEX_FILE), faiss.IO_FLAG_MMAP_IFC)
            columns = np.load(folder / COLUMNS_FILE, mmap_mode="r")
            rows = sqlite3.connect(uri, uri=True, check_same_thread=False)
            rows.execute("PRAGMA mmap_size = 4294967296")
            return cls(index, rows, _as_columns(np.asarray(columns)))
        except (OSError, RuntimeError, ValueError, sqlite3.Error) as error:
            message = f"cannot open {folder}: {error}"
            raise TransientError(message) from error

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return int(self._index.d)

    def path(self, file: int) -> str:
        """Path of a file by number."""
        return self._paths[file]

    def postings(self, terms: Sequence[str]) -> dict[str, Posting]:
        """Where the given terms occur; absent terms are left out."""
        marks = ",".join("?" * len(terms))
        query = f"SELECT term, ids, counts FROM posting WHERE term IN ({marks})"  # noqa: S608 - only question marks are put in
        return {
            term: _unpack(ids, counts) for term, ids, counts in self._rows.execute(query, terms)
        }

    def all_postings(self) -> Iterator[tuple[str, Posting]]:
        """Every term in ascending order."""
        query = "SELECT term, ids, counts FROM posting ORDER BY term"
        for term, ids, counts in self._rows.execute(query):
            yield term, _unpack(ids, counts)

    def nearest(
        self, vectors: NDArray[np.float32], k: int, among: faiss.IDSelector | None
    ) -> Neighbours:
        """Chunks nearest to each row of `vectors`, shape (n, dim), among the selected ones."""
        options = {} if among is None else {"params": faiss.SearchParameters(sel=among)}  # type: ignore[call-arg] # missing in the stubs
        scores, ids = self._index.search(vectors, k, **options)
        return Neighbours(ids, scores)

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Vectors of the given chunks, shape (len(ids), dim)."""
        if not len(ids):
            return np.empty((0, self.dim), np.float32)
        found: NDArray[np.float32] = self._index.reconstruct_batch(ids)
        return found

    @cached_property
    def _matrix(self) -> NDArray[np.float32]:
        return self.vectors(np.arange(self.size))

    def matrix(self) -> NDArray[np.float32] | None:
        """Every vector, shape (size, dim), decoded once; None in a large base.

        One product of matrices scores a batch of queries 5 times as fast as FAISS scores them one
        by one, and 12 ms of decoding 20,000 float16 vectors each time would make up for that.
        """
        return self._matrix if self.size <= _MOST_HELD else None

    def chunks(self, ids: Sequence[int]) -> list[Chunk]:
        """The chunks themselves, in the order asked for."""
        query = "SELECT start_line, end_line, kind, text, symbol FROM chunk WHERE id = ?"
        return [_chunk(self._rows.execute(query, (int(id_),)).fetchone()) for id_ in ids]


class LiveBase:
    """A base together with which of its chunks were not replaced since: a `Segment`."""

    def __init__(self, base: Base, alive: NDArray[np.bool_] | None = None) -> None:
        self.base = base
        self.columns = base.columns
        self.path = base.path
        self.postings = base.postings
        self.all_postings = base.all_postings
        self.vectors = base.vectors
        self.chunks = base.chunks
        self.matrix = base.matrix
        self.alive = np.ones(base.size, np.bool_) if alive is None else alive
        self._bits = np.packbits(self.alive, bitorder="little")  # the selector points into it
        self._selector = None
        if not self.alive.all():
            self._selector = faiss.IDSelectorBitmap(self._bits)  # type: ignore[call-arg, arg-type] # the stubs know the C form only

    def without(self, chunks: range) -> LiveBase:
        """The same base with some more chunks replaced."""
        alive = self.alive.copy()
        alive[chunks.start : chunks.stop] = False
        return LiveBase(self.base, alive)

    def chunks_of(self, path: str) -> range:
        """Live chunks of a file; those of one file are replaced together."""
        file = self.base.files.get(path)
        live = file is not None and file.chunks and self.alive[file.chunks.start]
        return file.chunks if file is not None and live else range(0)

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
        rows.executescript(_SCHEMA)
    except sqlite3.Error:
        rows.close()  # an open file would keep its room on a full disk
        raise
    return rows


def new_index(dim: int) -> Any:  # noqa: ANN401 - faiss is untyped
    """Begin the vector part of a new base; the one place that chooses the kind of index."""
    return faiss.IndexScalarQuantizer(
        dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )


def pack(posting: Posting) -> tuple[bytes, bytes]:
    """Bytes of a posting as they stand in its row."""
    return posting.ids.astype("<i4").tobytes(), posting.counts.astype("<u2").tobytes()


def _unpack(ids: bytes, counts: bytes) -> Posting:
    return Posting(np.frombuffer(ids, "<i4"), np.frombuffer(counts, "<u2"))


def _as_columns(table: NDArray[np.void]) -> Columns:
    return Columns(table["file"], table["length"], table["start_line"])


def _chunk(row: tuple[int, int, str, str, str | None]) -> Chunk:
    start_line, end_line, kind, text, symbol = row
    return Chunk(start_line=start_line, end_line=end_line, kind=kind, text=text, symbol=symbol)
