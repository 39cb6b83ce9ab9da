"""What the delta log holds of each file of a collection, and the way to add to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from contracts.errors import TransientError
from vectors.collection import Collection
from vectors.follow import Follower
from vectors.log import Gap, OtherEncoder, begin, bounds, commit, current_versions
from vectors.types import FileDelta, FileState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from redis import Redis

    from streams.keys import Keys
    from vectors.types import Chunk, Encoder

log = structlog.get_logger(__name__)

_ABSENT = FileState(0, "")


class Ledger:
    """The committed state of one collection, as one indexer knows it.

    Attributes:
        collection: follows the log; what it holds is what every reader gets.
        started_over: it was begun empty, so that every file on disk has to be committed anew.
    """

    def __init__(self, client: Redis, keys: Keys, store: Path, name: str, encoder: Encoder) -> None:
        """Open the snapshot in `store` and catch up with the log.

        What another encoder left, log or snapshot, is given up: everything is embedded anew.

        Raises:
            TransientError: Redis could not be reached.
            FatalError: the snapshot was written by another version.
        """
        self._client = client
        self._store = store
        self._log_key = keys.vectors(name)
        self._versions_key = keys.file_versions(name)
        self._versions: dict[str, FileState] | None = None
        self._states: dict[str, FileState] = {}
        self.started_over = False
        keys_of_log = {"log_key": self._log_key, "versions_key": self._versions_key}
        if begin(client, **keys_of_log, embedder=encoder.identity):
            log.warning("other_encoder", collection=name, remedy="embedding everything anew")
        try:
            self.collection = Collection.open(store, name, embedder=encoder.identity)
        except (TransientError, OtherEncoder) as error:
            log.warning("no_snapshot", collection=name, reason=str(error))
            self.collection = Collection.empty(name, encoder.dim, encoder.identity)
        self._follower = self._follow(store)
        self.refresh()

    def refresh(self) -> Mapping[str, FileState]:
        """Catch up with the log; returns every file known, removed ones with an empty hash.

        Where the log was lost, or cut before anyone wrote a snapshot, nobody can: then this starts
        over from an empty collection at the end of the log.

        Raises:
            TransientError: Redis could not be reached.
            OtherEncoder: an indexer with another encoder has taken over.
        """
        try:
            while self._follower.poll():
                pass
        except Gap as error:
            self._start_over(str(error))
        self._states = self.collection.states()
        return self._states

    def content_hash(self, path: str) -> str:
        """Hash of a file as of the last refresh; empty if it is not there."""
        return self._states.get(path, _ABSENT).content_hash

    def commit(self, path: str, content_hash: str, chunks: list[Chunk], vectors: bytes) -> bool:
        """Commit a file's new state on top of the newest version known here.

        Returns:
            Whether it went in. If not, another indexer was first: everything has been refreshed,
            and the file must be looked at again.

        Raises:
            TransientError: Redis could not be reached.
            OtherEncoder: an indexer with another encoder has taken over.
        """
        if self._versions is None:
            self._versions = current_versions(self._client, self._versions_key)
        committed = self._versions.get(path, _ABSENT).version
        # A store built without Redis knows versions that the log does not.
        version = max(committed, self._states.get(path, _ABSENT).version) + 1
        delta = FileDelta(
            path=path, version=version, content_hash=content_hash, chunks=chunks, vectors=vectors
        )
        entry = commit(
            self._client,
            log_key=self._log_key,
            versions_key=self._versions_key,
            embedder=self.collection.embedder,
            delta=delta,
            expected_version=committed,
        )
        if entry is None:
            self._versions = None
            self.refresh()
            return False
        self._versions[path] = self._states[path] = FileState(version, content_hash)
        return True

    def rebase(self) -> None:
        """Take over the snapshot that was just written from this collection."""
        self.collection.reload_if_newer(self._store)
        self._follower = self._follow(self._store)

    def _follow(self, store: Path | None) -> Follower:
        return Follower(self._client, self.collection, store, self._log_key)

    def _start_over(self, reason: str) -> None:
        old = self.collection
        log.warning("starting_over", collection=old.name, reason=reason)
        ends = bounds(self._client, self._log_key)
        position = ends.last if ends else None
        self.collection = Collection.empty(old.name, old.dim, old.embedder, position)
        self._follower = self._follow(None)  # the snapshot there is of no use any more
        self._versions = None
        self.started_over = True
