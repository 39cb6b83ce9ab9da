"""Puts collections where the settings say that they are searched, for a measurement."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from streams.connect import connect
from vectors.deltas import deltas_of
from vectors.query_engine import EngineCollection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vectors.collection import Collection
    from worker.settings import Settings


@contextmanager
def measured_engine(
    settings: Settings,
) -> Iterator[Callable[[Collection], EngineCollection] | None]:
    """Give what copies a collection into the Redis of the vectors; None where there is none.

    Each copy belongs to a tenant of its own, and is removed at the end.

    Raises:
        FatalError: the Redis of the vectors cannot be reached, or is that of the queue.
    """
    address = settings.vectors_at
    if address is None:
        yield None
        return
    copies: list[EngineCollection] = []
    client = connect(address, role="vectors")

    def copied(collection: Collection) -> EngineCollection:
        tenant = f"measured-{uuid4().hex}"
        copy = EngineCollection(
            client,
            collection.name,
            prefix=tenant,
            embedder=collection.embedder,
            dim=collection.dim,
        )
        copies.append(copy)
        for delta in deltas_of(collection.freeze()):
            copy.apply(delta)
        return copy

    try:
        yield copied
    finally:
        for copy in copies:
            copy.clear()
