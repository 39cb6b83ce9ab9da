"""Keeps a collection level with its delta log, for a worker or an indexer."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from contracts.errors import CortexError
from vectors.disk import in_turn
from vectors.log import Gap, OtherEncoder, check_gap, read
from vectors.manifest import manifest_stamp, read_manifest
from vectors.near import EXACT_UP_TO

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from redis import Redis

    from vectors.engine import Followed

_LOOK_EVERY_S = 1.0
_NICE = 10  # searches go first, in this process and in others
_TURN_S = 60.0  # a million chunks take seconds, and a host has some ten workers
_PAUSE = 20.0  # times as long as reading a damaged snapshot took, before the same is read again


class Follower:
    """Applies what is new in the log; bridges a gap with a snapshot, or says it cannot.

    Attributes:
        stale: True while the collection lags behind a gap that no snapshot bridges, or the log is
            another encoder's: what it answers may be outdated and must be reported as such.
        snapshot_error: why the last snapshot could not be taken over, if so.
    """

    def __init__(
        self, client: Redis, collection: Followed, store: Path | None, log_key: str
    ) -> None:
        """Follow `log_key` into `collection`; `store` None means there are no snapshots."""
        self.collection = collection
        self.stale = False
        self.snapshot_error: str | None = None
        self._client = client
        self._store = store
        self._log_key = log_key
        self._look_at = 0.0
        self._refused: tuple[int, int] | None = None
        self._refused_until = 0.0
        self._loading: threading.Thread | None = None

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
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_EVERY_S
            self._look()
        try:
            applied = self._apply(block_ms, count)
        except Gap:
            self.stale = True
            self._load(self._start_again)
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

    def _look(self) -> None:
        """Take over a newer snapshot; a large one beside, as verifying it takes a second."""
        if self._store is None:
            return
        if self.collection.chunk_count <= EXACT_UP_TO:
            self._load(self.collection.reload_if_newer)
        elif self._loading is None or not self._loading.is_alive():
            self._loading = threading.Thread(
                target=self._load_beside, args=(self._store,), name="reload", daemon=True
            )
            self._loading.start()

    def _load_beside(self, store: Path) -> None:
        """Threads that verify files have the priority of the one that begins them."""
        with suppress(OSError):  # other systems than Linux know no priority of one thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        with in_turn(store, _TURN_S):
            self._load(self.collection.reload_if_newer)

    def _load(self, load: Callable[[Path], object]) -> None:
        """Take over a snapshot; whatever is wrong with it, the log can still be followed."""
        if self._store is None:
            return
        begun, stamp = time.monotonic(), manifest_stamp(self._store, self.collection.name)
        if stamp == self._refused and begun < self._refused_until:
            return
        try:
            load(self._store)
            self.snapshot_error = None
        except Gap as error:  # found without reading anything: no reason to pause
            self.snapshot_error = str(error)
        except CortexError as error:
            self.snapshot_error = str(error)
            took = time.monotonic() - begun
            self._refused, self._refused_until = stamp, begun + _PAUSE * took

    def _start_again(self, store: Path) -> None:
        """Take over the snapshot in place wholly: nothing applied from the log is to be trusted.

        Raises:
            Gap: the log does not go on from it either.
        """
        info = read_manifest(store, self.collection.name)
        if info is not None and info.position != self.collection.position:
            check_gap(self._client, self._log_key, info.position)
            self.collection.start_again(store, info)
