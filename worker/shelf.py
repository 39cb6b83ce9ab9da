"""The collections a worker searches: opened where they are there, waited for where they are not.

A collection that is named but does not exist yet is empty. It takes no thread and no connection of
its own until there is something to follow: one thread looks for all of those, once a second.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from contracts.errors import TransientError
from streams.connect import connect
from streams.errors import SERVER_TROUBLE
from vectors.collection import Collection
from vectors.currency import read_age
from vectors.follow import Follower
from vectors.log import OtherEncoder
from vectors.manifest import manifest_stamp
from vectors.query_engine import EngineCollection
from worker.following import LiveCollection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis import Redis

    from streams.keys import Keys
    from vectors.engine import Engine
    from vectors.types import Encoder
    from worker.settings import Settings

log = structlog.get_logger()

_CATCH_UP_SECONDS = 3.0
_LOOK_SECONDS = 1.0


class Shelf:
    """Collections by name, each level with its log from the moment it exists."""

    def __init__(
        self,
        settings: Settings,
        encoder: Encoder,
        keys: Keys | None = None,
        client: Redis | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            settings: where the store is.
            encoder: embeds what they are asked for.
            keys: names of the delta logs; None with `client`.
            client: where the logs are followed; None searches the snapshots as they are.
        """
        self._settings = settings
        self._encoder = encoder
        self._keys = keys
        self._client = client
        self._vectors = self._connect()
        self._missing: list[LiveCollection] = []
        self._stopping = threading.Event()
        self._looking = threading.Thread(target=self._look, name="follow-missing", daemon=True)

    def open(self, names: Iterable[str]) -> dict[str, LiveCollection]:
        """Open collections and follow those that exist; to be called once.

        Raises:
            FatalError: a snapshot cannot be used at all.
        """
        opened = {name: self._open(name) for name in names}
        absent = [each for each in opened if manifest_stamp(self._settings.store, each) is None]
        if absent:
            log.info("no snapshot yet", collections=absent)
        if self._vectors is None:  # else it is level already, or filling it takes long
            for each in opened.values():
                each.catch_up(_CATCH_UP_SECONDS)
        self._missing = [each for each in opened.values() if each.follower]
        self._start_found()
        if self._missing:
            self._looking.start()
        return opened

    def close(self) -> None:
        """Look for nothing any more."""
        self._stopping.set()

    def _open(self, name: str) -> LiveCollection:
        store = self._settings.store
        collection = self._engine(name)
        if self._keys is None or self._client is None:
            return LiveCollection(collection)
        client, log_key = self._client, self._keys.vectors(name)
        return LiveCollection(
            collection,
            Follower(client, collection, store, log_key),
            lambda: read_age(client, log_key),
            self._settings.index_age_s,
        )

    def _connect(self) -> Redis | None:
        """Connect to the Redis of the vectors, where they are in one."""
        address = self._settings.vectors_at
        return None if address is None else connect(address, role="vectors")

    def _engine(self, name: str) -> Engine:
        """Open what keeps a collection.

        Raises:
            TransientError: the vectors' own Redis cannot be asked.
            FatalError: it has no Query Engine, or a snapshot cannot be used at all.
        """
        store, encoder = self._settings.store, self._encoder
        if self._vectors is not None:
            prefix, embedder = self._settings.prefix, encoder.identity
            return EngineCollection(
                self._vectors, name, prefix=prefix, embedder=embedder, dim=encoder.dim
            )
        try:
            return Collection.open(store, name, embedder=encoder.identity)
        except (TransientError, OtherEncoder) as error:
            if manifest_stamp(store, name) is not None:
                log.warning("starting from an empty collection", collection=name, reason=str(error))
            return Collection.empty(name, encoder.dim, encoder.identity)

    def _look(self) -> None:
        while self._missing and not self._stopping.wait(_LOOK_SECONDS):
            self._start_found()

    def _start_found(self) -> None:
        there = self._exist([each.collection.name for each in self._missing])
        for each in self._missing:
            if each.collection.name in there:
                each.start()
        self._missing = [each for each in self._missing if each.collection.name not in there]

    def _exist(self, names: list[str]) -> set[str]:
        """Which collections have a snapshot or a log; all of them where the server cannot say."""
        if self._client is None or self._keys is None:
            return set()
        try:
            pipeline = self._client.pipeline(transaction=False)
            for name in names:
                pipeline.exists(self._keys.vectors(name))
            logs = pipeline.execute()
        except SERVER_TROUBLE:
            return set(names)  # their own threads know how to wait for a server
        store = self._settings.store
        return {
            name
            for name, has_log in zip(names, logs, strict=True)
            if has_log or manifest_stamp(store, name) is not None
        }
