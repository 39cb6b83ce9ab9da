"""Keeps a collection level with its delta log, for a worker or an indexer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from contracts.errors import TransientError
from vectors.log import Gap, OtherEncoder, check_gap, read

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from vectors.collection import Collection

_RELOAD_EVERY_S = 1.0


class Follower:
    """Applies what is new in the log; bridges a gap with a newer snapshot, or says it cannot.

    Attributes:
        stale: True while the collection lags behind a gap that no snapshot bridges, or the log is
            another encoder's: what it answers may be outdated and must be reported as such.
        snapshot_error: why the last newer snapshot could not be taken over, if so.
    """

    def __init__(
        self, client: Redis, collection: Collection, store: Path | None, log_key: str
    ) -> None:
        """Follow `log_key` into `collection`; `store` None means there are no snapshots."""
        self.collection = collection
        self.stale = False
        self.snapshot_error: str | None = None
        self._client = client
        self._store = store
        self._log_key = log_key
        self._reload_at = 0.0

    def poll(self, block_ms: int = 0, count: int = 64) -> int:
        """Take over a newer snapshot if there is one, then apply new entries.

        Args:
            block_ms: how long to wait for the first entry; 0 does not wait.
            count: most entries applied.

        Returns:
            Number of entries applied.

        Raises:
            Gap: entries are missing and no snapshot bridges them; `stale` is set until one does.
            TransientError: Redis could not be reached.
            OtherEncoder: the log is of another encoder; `stale` is set until it no longer is.
            FatalError: Redis refuses, or an entry is not one of ours.
        """
        if time.monotonic() >= self._reload_at:
            self._reload()
        try:
            applied = self._apply(block_ms, count)
        except Gap:
            self.stale = True
            self._reload()
            applied = self._apply(0, count)
        except OtherEncoder:
            self.stale = True
            raise
        self.stale = False
        return applied

    def _apply(self, block_ms: int, count: int) -> int:
        position = self.collection.position
        entries = read(self._client, self._log_key, position, count=count, block_ms=block_ms)
        for entry in entries:
            self.collection.apply_entry(entry)
        if not entries:  # silence is no proof that nothing happened: the log may be lost
            check_gap(self._client, self._log_key, position)
        return len(entries)

    def _reload(self) -> None:
        self._reload_at = time.monotonic() + _RELOAD_EVERY_S
        if self._store is None:
            return
        try:
            self.collection.reload_if_newer(self._store)
            self.snapshot_error = None
        except (TransientError, OtherEncoder) as error:
            self.snapshot_error = str(error)
