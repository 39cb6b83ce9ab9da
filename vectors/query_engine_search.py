"""Candidates out of the Redis Query Engine, with the same signals as those out of our own index.

The engine proposes: the nearest by its HNSW index, the best by its BM25, which knows no tenants.
Signals are then reckoned as `vectors.words` does, from counts that lie with each chunk and the
document counts of the collection. So ranking is the same, whichever engine proposed.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vectors.candidates import DEPTH, Candidates
from vectors.lexical import K1, PATH_MARK, idf, query_terms, query_weight, saturation
from vectors.query_engine_layout import chunk_row, file_row
from vectors.words import MOST_SCORED_TERMS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from redis import Redis

    from vectors.memory import Memory
    from vectors.query_engine_layout import ChunkRow, FileRow, Layout

_EF_RUNTIME = 200  # candidates that HNSW keeps; below 100 it misses too many
_ATTEMPTS = 20  # to read everything before any of it is replaced
_TINY = 1e-9


class FoundChunk(NamedTuple):
    """A chunk that was read.

    Attributes:
        vector: shape (dim,); zeros where it is not embedded yet.
        body: the chunk itself, encoded.
    """

    key: str
    row: ChunkRow
    vector: NDArray[np.float32]
    body: bytes


class Found(NamedTuple):
    """Candidates and where they are.

    Attributes:
        chunks: of each candidate, by its id.
        size: chunks in the collection.
    """

    candidates: Candidates
    chunks: list[FoundChunk]
    size: int


class _Words(NamedTuple):
    """A text as words, weighed.

    Attributes:
        weights: of the terms that are scored, and of those of the path under their mark.
        ideal: the best possible score.
    """

    weights: dict[str, float]
    ideal: float

    @property
    def asked(self) -> list[str]:
        """The terms to search for."""
        return [term for term in self.weights if not term.startswith(PATH_MARK)]


def gather(
    client: Redis,
    layout: Layout,
    texts: Sequence[str],
    vectors: NDArray[np.float32] | None,
    memories: Sequence[Memory],
) -> Found:
    """Gather the candidates for several texts; see `vectors.candidates.gather`.

    Raises:
        redis.RedisError: the server could not be asked.
    """
    for _ in range(_ATTEMPTS):
        size, length, words, files = _look_up(client, layout, texts, memories)
        proposed = _propose(client, layout, words, vectors)
        remembered = [
            [layout.chunk_keys(path, files[path]) for path in memory if path in files]
            for memory in memories
        ]
        wanted = dict.fromkeys(chain(*proposed, *chain.from_iterable(remembered)))
        chunks = _read(client, layout, list(wanted))
        if len(chunks) == len(wanted):
            break  # else a file was replaced meanwhile
    rows: list[tuple[int, FoundChunk]] = []
    for number, keys in enumerate(proposed):
        vector = None if vectors is None else vectors[number]
        files_of = ([chunks[key] for key in each if key in chunks] for each in remembered[number])
        best = [_nearest(each, vector).key for each in files_of if each]
        rows += ((number, chunks[key]) for key in dict.fromkeys([*keys, *best]) if key in chunks)
    rows.sort(key=lambda row: (row[0], row[1].row.path, row[1].row.start_line, row[1].key))
    mean_length = max(length / max(size, 1), 1.0)
    candidates = _signals(rows, words, vectors, memories, mean_length)
    return Found(candidates, [chunk for _, chunk in rows], size)


def stand_together(client: Redis, layout: Layout, terms: Sequence[str]) -> bool:
    """Whether one chunk has all of the terms.

    Raises:
        redis.RedisError: the server could not be asked.
    """
    query = f"{layout.scope} @terms:({' '.join(terms)})"
    engine: Any = client  # redis-py has no types for commands of modules
    reply = engine.execute_command(
        "FT.SEARCH", layout.index, query, "NOCONTENT", "LIMIT", 0, 1, "DIALECT", 2
    )
    return bool(_keys_of(reply))


def _look_up(
    client: Redis, layout: Layout, texts: Sequence[str], memories: Sequence[Memory]
) -> tuple[int, int, list[_Words], dict[str, FileRow]]:
    """Sizes of the collection, the texts as words, and what is known of remembered files."""
    wanted = [query_terms(text) for text in texts]
    distinct = list(dict.fromkeys(term for terms in wanted for term in terms))
    fields = [*distinct, *(PATH_MARK + term for term in distinct)]
    paths = list(dict.fromkeys(path for memory in memories for path in memory))
    pipeline = client.pipeline(transaction=False)
    pipeline.hmget(layout.key("meta"), ["chunks", "length"])
    if fields:
        pipeline.hmget(layout.key("terms"), fields)
    if paths:
        pipeline.hmget(layout.key("files"), paths)
    replies: list[Any] = pipeline.execute()
    size, length = (int(value or 0) for value in replies.pop(0))
    counted = replies.pop(0) if fields else []
    frequency = {term: int(value or 0) for term, value in zip(fields, counted, strict=True)}
    held = replies.pop(0) if paths else []
    files = {
        path: file_row.decode(value)
        for path, value in zip(paths, held, strict=True)
        if value is not None
    }
    return size, length, [_weigh(terms, frequency, size) for terms in wanted], files


def _weigh(terms: Sequence[str], frequency: Mapping[str, int], size: int) -> _Words:
    weights = {term: query_weight(term, frequency[term], size) for term in terms}
    rarest = sorted(terms, key=lambda term: (-weights[term], term))
    scored = [term for term in rarest if frequency[term]][:MOST_SCORED_TERMS]
    marked = [PATH_MARK + term for term in scored]
    return _Words(
        {term: weights[term] for term in scored}
        | {term: idf(frequency[term], size) for term in marked if frequency[term]},
        max((K1 + 1) * sum(weights.values()), _TINY),
    )


def _propose(
    client: Redis,
    layout: Layout,
    words: Sequence[_Words],
    vectors: NDArray[np.float32] | None,
) -> list[list[str]]:
    """Keys of the chunks that the engine finds for each text, by words and by vectors."""
    pipeline: Any = client.pipeline(transaction=False)
    owners = []
    none_but_keys = ("NOCONTENT", "LIMIT", 0, DEPTH, "DIALECT", 2)
    for number, each in enumerate(words):
        if each.asked:
            query = f"{layout.scope} @terms:({'|'.join(each.asked)})"
            pipeline.execute_command(
                "FT.SEARCH", layout.index, query, "SCORER", "BM25STD", *none_but_keys
            )
            owners.append(number)
        if vectors is not None:
            query = f"({layout.scope})=>[KNN {DEPTH} @vector $near EF_RUNTIME {_EF_RUNTIME}]"
            near = vectors[number].astype("<f2").tobytes()
            pipeline.execute_command(
                "FT.SEARCH", layout.index, query, "PARAMS", 2, "near", near, *none_but_keys
            )
            owners.append(number)
    found: list[list[str]] = [[] for _ in words]
    for number, reply in zip(owners, pipeline.execute() if owners else [], strict=True):
        found[number] += _keys_of(reply)
    return found


def _keys_of(reply: Any) -> list[str]:  # noqa: ANN401 - what the server says
    """Keys in the reply of FT.SEARCH, in either version of the protocol."""
    if isinstance(reply, dict):
        return [each[b"id"].decode() for each in reply[b"results"]]
    return [key.decode() for key in reply[1:]]


def _read(client: Redis, layout: Layout, keys: Sequence[str]) -> dict[str, FoundChunk]:
    """Read chunks as they are at one moment; those that are gone are left out."""
    pipeline = client.pipeline(transaction=True)
    for key in keys:
        pipeline.hmget(key, ["row", "vector", "body"])
    nothing = np.zeros(layout.dim, np.float32)
    found = {}
    for key, (row, vector, body) in zip(keys, pipeline.execute() if keys else [], strict=True):
        if row is not None:
            read = nothing if vector is None else np.frombuffer(vector, "<f2").astype(np.float32)
            found[key] = FoundChunk(key, chunk_row.decode(row), read, body)
    return found


def _nearest(chunks: Sequence[FoundChunk], vector: NDArray[np.float32] | None) -> FoundChunk:
    """The chunk of a file that is nearest to a text, or else the first."""
    if vector is None:
        return chunks[0]
    return chunks[int(np.argmax(np.stack([chunk.vector for chunk in chunks]) @ vector))]


def _signals(
    rows: Sequence[tuple[int, FoundChunk]],
    words: Sequence[_Words],
    vectors: NDArray[np.float32] | None,
    memories: Sequence[Memory],
    mean_length: float,
) -> Candidates:
    """Reckon the signals of chunks, each with the number of its text."""
    text = np.array([number for number, _ in rows], np.int64)
    lexical = np.array(
        [_lexical(chunk.row, words[number], mean_length) for number, chunk in rows], np.float32
    )
    path = np.array([_path(chunk.row, words[number]) for number, chunk in rows], np.float32)
    remembered = [memories[number].get(chunk.row.path, 0.0) for number, chunk in rows]
    dense = np.zeros(len(rows), np.float32)
    if vectors is not None and rows:
        read = np.stack([chunk.vector for _, chunk in rows])
        dense = np.einsum("ij,ij->i", read, vectors[text]).astype(np.float32)
    numbers: dict[str, int] = {}
    files = [numbers.setdefault(chunk.row.path, len(numbers)) for _, chunk in rows]
    return Candidates(
        text=text,
        segment=np.zeros(len(rows), np.int64),
        id=np.arange(len(rows), dtype=np.int64),
        file=np.array(files, np.int64),
        lexical=lexical,
        dense=dense,
        path=path,
        coverage=lexical / np.array([each.ideal for each in words], np.float32)[text],
        memory=np.array(remembered, np.float32),
    )


def _lexical(row: ChunkRow, words: _Words, mean_length: float) -> float:
    there = [term for term in words.asked if term in row.counts]
    if not there:
        return 0.0
    counts = np.array([row.counts[term] for term in there], np.uint16)
    lengths = np.full(len(there), row.length, np.int32)
    weights = np.array([words.weights[term] for term in there], np.float32)
    return float(weights @ saturation(counts, lengths, mean_length))


def _path(row: ChunkRow, words: _Words) -> float:
    return sum(
        weight
        for term, weight in words.weights.items()
        if term.startswith(PATH_MARK) and term in row.counts
    )
