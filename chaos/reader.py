"""A reader of the index as a worker has it, and what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from chaos.faulty import WordEncoder
from chaos.trees import contents
from contracts.errors import CortexError
from router.masters import Master
from vectors.collection import Collection
from vectors.follow import Follower
from worker.context import IndexRetriever
from worker.embedding import Embedder
from worker.following import LiveCollection
from worker.guard import Guard

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from chaos.trees import Contents

_MASTER = "anyone"
_QUESTION = "how is an invoice rendered"


class Reader:
    """A collection that follows a log; `catch_up` by hand, or by a thread inside the block."""

    def __init__(self, client: Redis, store: Path, log_key: str) -> None:
        """Open the store, or begin empty where that cannot be."""
        encoder = WordEncoder()
        try:
            collection = Collection.open(store, "code", embedder=encoder.identity)
        except CortexError:
            collection = Collection.empty("code", encoder.dim, encoder.identity)
        self._collection = collection
        self._live = LiveCollection(collection, Follower(client, collection, store, log_key))
        self._embedder = Embedder(lambda: encoder)
        masters = {_MASTER: Master(name=_MASTER, description="takes all")}
        guard = Guard("index", list)
        self._retriever = IndexRetriever({"code": self._live}, masters, {}, 5, 100, guard)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._embedder.close()
        self._retriever.close()

    def start(self) -> None:
        """Follow the log on a thread from now on."""
        self._live.start()

    def catch_up(self) -> None:
        """Apply what is in the log."""
        self._live.catch_up(30.0)

    @property
    def status(self) -> str:
        """What a decision made now would say of its context."""
        vectors = self._embedder.embed([_QUESTION])
        return self._retriever.retrieve([_QUESTION], vectors, [_MASTER])[0].status

    @property
    def contents(self) -> Contents:
        """Everything it can find."""
        return contents(self._collection)
