"""Searches a store as it lies on the disk, without a queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import asdict

from contracts.errors import FatalError
from ops.lines import read_lines
from ops.session import read_settings
from ops.stores import searched_store
from router.masters import Masters
from vectors.collection import Collection
from vectors.encoder import open_encoder
from vectors.graph import Graph, Neighbourhood
from vectors.joint import Joint
from vectors.memory import HISTORY
from vectors.types import Hit
from worker.ranking import DEPTH, prefer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from router.masters import Master


class Query(Struct, frozen=True):
    """One line of a query file; the id may be any JSON value."""

    query: str
    id: Raw = Raw()


class Place(Hit, frozen=True, kw_only=True):
    """A hit and the files around it; by kind where that was asked for."""

    related: list[str]
    graph: Neighbourhood | UnsetType = UNSET


class Found(Struct, frozen=True, kw_only=True):
    """The answer to one query: places, best first, and how long it took in ms."""

    query: str
    results: list[Place]
    took_ms: float
    id: Raw | UnsetType = UNSET


class Searcher:
    """The collections of a store, and the encoder they were made with."""

    def __init__(
        self, store: Path | None, master: str | None = None, *, graph: bool = False
    ) -> None:
        """Open every collection of the store, or those of one master.

        Args:
            store: None is the store of the settings.
            master: search as for the tasks of this one; None searches everything alike.
            graph: show the files around each place by kind.

        Raises:
            FatalError: there is no store or no such master, or the encoder is not the one the store
                was made with.
            TransientError: a snapshot is damaged.
        """
        path, names = searched_store(store)
        self._master = None if master is None else _master(master)
        self._by_kind = graph
        self._encoder = open_encoder(read_settings().encoder)
        opened = {
            name: Collection.open(path, name, embedder=self._encoder.identity) for name in names
        }
        wanted = None if self._master is None else {each.name for each in self._master.sources}
        self._searched = [
            (collection, opened.get(name + HISTORY))
            for name, collection in opened.items()
            if not name.endswith(HISTORY) and (wanted is None or name in wanted)
        ]
        self._joint = Joint()
        self._graphs = {each.name: Graph(each, history) for each, history in self._searched}
        for each in self._graphs.values():
            each.settle()

    def search(self, query: Query, count: int) -> Found:
        """Return the `count` best places of all collections."""
        began = time.perf_counter()
        texts = [query.query]
        vectors = self._encoder.encode(texts)
        depth = count if self._master is None else DEPTH * count
        hits = self._joint.search(self._searched, texts, vectors, depth)[0]
        if self._master is not None:
            hits = prefer(hits, self._master, count)
        return Found(
            query=query.query,
            results=[self._place(hit) for hit in hits],
            took_ms=round((time.perf_counter() - began) * 1_000, 3),
            id=query.id if bytes(query.id) else UNSET,
        )

    def _place(self, hit: Hit) -> Place:
        around = self._graphs[hit.collection].around(hit.path)
        graph = around if self._by_kind else UNSET
        return Place(**asdict(hit), related=around.related(), graph=graph)


def _master(name: str) -> Master:
    """Return a master by its name.

    Raises:
        FatalError: there is none of that name.
    """
    masters = Masters.parse(read_settings().masters_text)
    for master in masters.all:
        if master.name == name:
            return master
    raise FatalError(f"no master {name}; there are {', '.join(masters.names)}")


def read_queries(file: str) -> Iterator[Query]:
    """Read a file of JSON lines (`-` is stdin).

    Raises:
        FatalError: the file cannot be read, or a line is not a query; says which.
    """
    return read_lines(file, Query, lambda line: line)
