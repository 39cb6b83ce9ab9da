"""What the delta log holds of each file of a collection, and the way to add to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import structlog

from contracts.errors import TransientError
from vectors.collection import Collection
from vectors.follow import Follower
from vectors.log import Gap, OtherEncoder, begin, commit, current_version
from vectors.types import FileDelta, FileState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

    from streams.keys import Keys
    from vectors.types import Chunk, Encoder

log = structlog.get_logger(__name__)

_ABSENT = FileState(0, "")


class _Known(Mapping[str, FileState]):
    """What a ledger knows of every file, looked up and not copied."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __getitem__(self, path: str) -> FileState:
        state = self._ledger.state(path)
        if state is None:
            raise KeyError(path)
        return state

    def __iter__(self) -> Iterator[str]:
        return iter(self._ledger.states())

    def __len__(self) -> int:
        return len(self._ledger.states())


class Ledger:
    """The committed state of one collection, as one indexer knows it.

    Attributes:
        collection: follows the log; what it holds is what every reader gets.
        started_over: it was begun empty, and not every file on disk is committed anew yet.
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
        self._ahead: dict[str, FileState] = {}
        self.started_over = False
        if self._begin(encoder.identity):
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

        Costs what is new in the log, however many files there are.

        Where the log was lost, or cut below the last snapshot that can be read, nobody can: then
        this starts over from an empty collection and a log that is whole.

        Raises:
            TransientError: Redis could not be reached.
            OtherEncoder: an indexer with another encoder has taken over.
        """
        try:
            self._catch_up()
        except Gap as error:
            self._start_over(str(error))
        self._ahead.clear()
        return _Known(self)

    def state(self, path: str) -> FileState | None:
        """What is known of a file as of the last refresh and by commits since; None if nothing."""
        return self._ahead.get(path) or self.collection.state(path)

    def states(self) -> dict[str, FileState]:
        """What is known of every file, see `state`; a copy."""
        return self.collection.states() | self._ahead

    def content_hash(self, path: str) -> str:
        """Hash of a file, see `state`; empty if it is not there."""
        return (self.state(path) or _ABSENT).content_hash

    def version(self, path: str) -> int:
        """Committed version of a file; to be asked for before the file is read.

        Raises:
            TransientError: Redis could not be reached.
        """
        return current_version(self._client, self._versions_key, path)

    def commit(
        self, path: str, content_hash: str, chunks: list[Chunk], vectors: bytes, version: int
    ) -> bool:
        """Commit a file's new state, unless another indexer was first.

        Args:
            path: of the file.
            content_hash: of what was read; empty if the file is gone.
            chunks: what was read.
            vectors: of the chunks, as in `FileDelta`.
            version: the committed one, from before the file was read.

        Returns:
            Whether it went in. If not, everything has been refreshed, and the file must be looked
            at again.

        Raises:
            TransientError: Redis could not be reached.
            OtherEncoder: an indexer with another encoder has taken over.
        """
        # A store built without Redis knows versions that the log does not.
        newer = max(version, (self.state(path) or _ABSENT).version) + 1
        delta = FileDelta(
            path=path, version=newer, content_hash=content_hash, chunks=chunks, vectors=vectors
        )
        entry = commit(
            self._client,
            log_key=self._log_key,
            versions_key=self._versions_key,
            embedder=self.collection.embedder,
            delta=delta,
            expected_version=version,
        )
        if entry is None:
            self.refresh()
            return False
        self._ahead[path] = FileState(newer, content_hash)
        return True

    def rebase(self) -> None:
        """Take over the snapshot that was just written from this collection."""
        self.collection.reload_if_newer(self._store)
        self._follower = self._follow(self._store)

    def finish_starting_over(self) -> None:
        """Note that every file on disk was found in the collection."""
        if self.started_over and self.collection.position.log_id:
            self._follower = self._follow(self._store)
        self.started_over = False

    def _follow(self, store: Path | None) -> Follower:
        return Follower(self._client, self.collection, store, self._log_key)

    def _catch_up(self) -> None:
        while self._follower.poll():
            pass

    def _begin(self, embedder: str, *, only_whole: bool = False) -> bool:
        return begin(
            self._client,
            log_key=self._log_key,
            versions_key=self._versions_key,
            embedder=embedder,
            only_whole=only_whole,
        )

    def _start_over(self, reason: str) -> None:
        """Follow a log from its beginning, the one there if it still has it, else a new one.

        The snapshots in the store are of no use until there is one of this log; every reader finds
        out by the gap.
        """
        old = self.collection
        log.warning("starting_over", collection=old.name, reason=reason)
        self._begin(old.embedder, only_whole=True)
        self.collection = Collection.empty(old.name, old.dim, old.embedder)
        self._follower = self._follow(None)
        self.started_over = True
        self._catch_up()
