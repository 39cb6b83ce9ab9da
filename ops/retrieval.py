"""Searches a store as it lies on the disk, without a queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import UNSET, Raw, Struct, UnsetType

from ops.lines import read_lines
from ops.session import read_settings
from ops.stores import searched_store
from vectors.collection import Collection
from vectors.encoder import open_encoder
from vectors.memory import HISTORY, retrieve
from vectors.types import Hit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Query(Struct, frozen=True):
    """One line of a query file; the id may be any JSON value."""

    query: str
    id: Raw = Raw()


class Found(Struct, frozen=True, kw_only=True):
    """The answer to one query: places, best first, and how long it took in ms."""

    query: str
    results: list[Hit]
    took_ms: float
    id: Raw | UnsetType = UNSET


class Searcher:
    """The collections of a store, and the encoder they were made with."""

    def __init__(self, store: Path | None) -> None:
        """Open every collection of the store.

        Raises:
            FatalError: there is no store, or the encoder is not the one it was made with.
            TransientError: a snapshot is damaged.
        """
        path, names = searched_store(store)
        self._encoder = open_encoder(read_settings().encoder)
        opened = {
            name: Collection.open(path, name, embedder=self._encoder.identity) for name in names
        }
        self._searched = [
            (collection, opened.get(name + HISTORY))
            for name, collection in opened.items()
            if not name.endswith(HISTORY)
        ]

    def search(self, query: Query, count: int) -> Found:
        """Return the `count` best places of all collections."""
        began = time.perf_counter()
        texts = [query.query]
        vectors = self._encoder.encode(texts)
        hits = [
            hit
            for collection, history in self._searched
            for hit in retrieve(collection, history, texts, vectors, count)[0]
        ]
        hits.sort(key=lambda hit: -hit.score)
        return Found(
            query=query.query,
            results=hits[:count],
            took_ms=round((time.perf_counter() - began) * 1_000, 3),
            id=query.id if bytes(query.id) else UNSET,
        )


def read_queries(file: str) -> Iterator[Query]:
    """Read a file of JSON lines (`-` is stdin).

    Raises:
        FatalError: the file cannot be read, or a line is not a query; says which.
    """
    return read_lines(file, Query, lambda line: line)
