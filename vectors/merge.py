"""Writing a base: the live chunks of several segments become one folder of files."""

from __future__ import annotations

from contextlib import closing
from heapq import merge
from io import BytesIO
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

import faiss
import numpy as np

from vectors.base import (
    COLUMNS,
    COLUMNS_FILE,
    INDEX_FILE,
    ROWS_FILE,
    LiveBase,
    connect_rows,
    new_index,
)
from vectors.lexical import Posting
from vectors.near import write_near
from vectors.postings import write_postings

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from vectors.segment import Segment
    from vectors.types import FileState

_BATCH = 1024


class _Part(NamedTuple):
    """A segment, its live chunk ids, and the number the first of them will have."""

    segment: Segment
    live: NDArray[np.int64]
    first: int


def write_base(
    folder: Path, dim: int, segments: Sequence[Segment], states: Mapping[str, FileState]
) -> int:
    """Write the live chunks of several segments as one base into an existing empty folder.

    Postings are renumbered, not computed again, so this costs no tokenising.

    Args:
        folder: where the files go.
        dim: width of a vector.
        segments: chunks keep this order, and their order within each.
        states: every file known, removed ones included, so that a late older entry cannot bring a
            removed file back.

    Returns:
        Number of chunks written.

    Raises:
        OSError, RuntimeError, sqlite3.Error: the disk failed or is full.
    """
    parts: list[_Part] = []
    count = 0
    for segment in segments:
        live = np.flatnonzero(segment.alive)
        parts.append(_Part(segment, live, count))
        count += len(live)
    _write_vectors(folder, dim, parts)
    columns, paths = _renumber_files(parts, count)
    _write_columns(folder / COLUMNS_FILE, columns)
    with closing(connect_rows(folder / ROWS_FILE)) as rows:
        _insert_files(rows, columns, paths, states)
        _insert_chunks(rows, parts)
        write_postings(folder, rows, _postings(parts))
        rows.commit()
    return count


def _batches(part: _Part) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(part.live), _BATCH):
        yield part.live[start : start + _BATCH]


def _write_vectors(folder: Path, dim: int, parts: Sequence[_Part]) -> None:
    index = new_index(dim)
    for part in parts:
        for ids in _batches(part):
            index.add(part.segment.vectors(ids))
    # FAISS's own file writer, like NumPy's, does not report a disk that fills up on closing.
    with (folder / INDEX_FILE).open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined] # missing in the stubs
    bases = [part.segment.base for part in parts if isinstance(part.segment, LiveBase)]
    write_near(folder, index, bases[0].near if bases else None)


def _write_columns(path: Path, columns: NDArray[np.void]) -> None:
    buffer = BytesIO()
    np.save(buffer, columns)
    path.write_bytes(buffer.getbuffer())


def _renumber_files(parts: Sequence[_Part], count: int) -> tuple[NDArray[np.void], list[str]]:
    columns = np.empty(count, COLUMNS)
    paths: list[str] = []
    for part in parts:
        old = part.segment.columns
        numbers, sizes = np.unique(old.file[part.live], return_counts=True)
        new = columns[part.first : part.first + len(part.live)]
        new["file"] = np.repeat(np.arange(len(paths), len(paths) + len(numbers)), sizes)
        new["length"] = old.length[part.live]
        new["start_line"] = old.start_line[part.live]
        paths += [part.segment.path(int(number)) for number in numbers]
    return columns, paths


def _insert_files(
    rows: sqlite3.Connection,
    columns: NDArray[np.void],
    paths: Sequence[str],
    states: Mapping[str, FileState],
) -> None:
    sizes = np.bincount(columns["file"], minlength=len(paths)).tolist()
    with_chunks = set(paths)
    without = [path for path in states if path not in with_chunks]
    first = 0
    for number, path in enumerate([*paths, *without]):
        state = states[path]
        size = sizes[number] if number < len(sizes) else 0
        row = (number, path, state.version, state.content_hash, first, size)
        rows.execute("INSERT INTO file VALUES (?, ?, ?, ?, ?, ?)", row)
        first += size


def _insert_chunks(rows: sqlite3.Connection, parts: Sequence[_Part]) -> None:
    statement = "INSERT INTO chunk VALUES (?, ?, ?, ?, ?, ?)"
    number = 0
    for part in parts:
        for ids in _batches(part):
            for chunk in part.segment.chunks(ids.tolist()):
                row = (chunk.start_line, chunk.end_line, chunk.kind, chunk.text, chunk.symbol)
                rows.execute(statement, (number, *row))
                number += 1


def _postings(parts: Sequence[_Part]) -> Iterator[tuple[str, Posting]]:
    """Those of all parts, by ascending term."""
    term = itemgetter(0)
    for name, found in groupby(merge(*map(_renumbered, parts), key=term), key=term):
        pieces = [posting for _, posting in found]
        yield (
            name,
            Posting(
                np.concatenate([piece.ids for piece in pieces]),
                np.concatenate([piece.counts for piece in pieces]),
            ),
        )


def _renumbered(part: _Part) -> Iterator[tuple[str, Posting]]:
    alive = part.segment.alive
    number = (np.cumsum(alive) - 1 + part.first).astype(np.int32)
    for term, (ids, counts) in part.segment.all_postings():
        live = alive[ids]
        if live.any():
            yield term, Posting(number[ids[live]], counts[live])
