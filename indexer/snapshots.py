"""When a snapshot is written, and by whom: one indexer at a time, however many there are."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import structlog

from contracts.errors import TransientError
from streams.lease import hold
from telemetry.complaint import Complaint
from vectors.log import trim
from vectors.snapshot import current_token, write_frozen

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from indexer.commit import Ledger
    from streams.keys import Keys
    from vectors.collection import Collection
    from vectors.manifest import SnapshotInfo
    from vectors.snapshot import Frozen

log = structlog.get_logger(__name__)

_RETRY_S = 10.0  # a failed attempt may have written everything but the last byte
_AT_ONCE = 5_000  # chunks that are written before the next change is looked at: half a second
_PAUSE = 20.0  # times as long as the last one took: writing is a twentieth of the work at most
_NICE = 5  # whoever answers or indexes goes first, but on a busy host it is not put off for ever


class _Draft(NamedTuple):
    """What a snapshot is written from.

    Attributes:
        collection: takes the snapshot over.
        frozen: what it held.
        over: token of the snapshot in place before that.
    """

    collection: Collection
    frozen: Frozen
    over: int


@dataclass
class Snapshots:
    """Writes the snapshots of one collection when they are due, and trims its log.

    Attributes:
        store: where they go.
        every_chunks: due when the delta holds this many.
        interval_s: due this long after the last one, if anything changed; later where that took
            long, since a few changes are no reason to write a million chunks every five minutes.
    """

    client: Redis
    keys: Keys
    ledger: Ledger
    store: Path
    every_chunks: int = 8_000
    interval_s: float = 300.0
    _looked: float = field(default_factory=time.monotonic)
    _took: float = field(init=False, default=0.0)
    _retry_at: float = field(init=False, default=0.0)
    _beside: Future[SnapshotInfo | None] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        about = {"collection": self.ledger.collection.name}
        self._trouble = Complaint("snapshot_put_off", "snapshot_after_all", about, quiet_s=0)

    def write_if_due(self) -> bool:
        """Write a snapshot if the delta is large or old and nobody else is at it.

        That of a large collection takes minutes, in which changes go on: it is written on a thread
        of its own, and a later call takes it over. What the disk refuses is tried again later; the
        previous snapshot stands.

        Returns:
            Whether one was written and taken over.
        """
        try:
            if self._beside is None and self._due():
                return self._begin_or_write()
            if self._beside is not None and self._beside.done():
                done, self._beside = self._beside, None
                return self._take_over(done.result())
        except TransientError as error:
            self._trouble.happened(error=str(error))
            self._retry_at = time.monotonic() + _RETRY_S
        return False

    def write(self) -> bool:
        """Write a snapshot now, unless another indexer is at it or the index is begun anew.

        Raises:
            TransientError: the disk or Redis failed; the previous snapshot stands.
        """
        draft = self._draft()
        return self._take_over(draft and self._write(draft))

    def _begin_or_write(self) -> bool:
        if self.ledger.collection.chunk_count <= _AT_ONCE:
            return self.write()
        draft = self._draft()
        if draft is None:
            return self._take_over(None)
        self._beside = Future()
        work = partial(self._write_beside, draft, self._beside)
        threading.Thread(target=work, name="snapshot", daemon=True).start()
        return False

    def _draft(self) -> _Draft | None:
        """What is to be written; not a part while everything is being committed anew."""
        over = current_token(self.store, self.ledger.collection.name)
        self.ledger.refresh()
        if self.ledger.started_over:
            return None
        collection = self.ledger.collection
        return _Draft(collection, collection.freeze(), over)

    def _write(self, draft: _Draft) -> SnapshotInfo | None:
        """Write it, find it readable, and only then cut the log below it."""
        name = draft.collection.name
        with hold(self.client, self.keys.snapshot_lease(name), floor=draft.over) as token:
            if token is None:
                return None
            info = write_frozen(draft.frozen, self.store, token=token, over=draft.over)
        draft.collection.reload_if_newer(self.store)
        cut = trim(self.client, self.keys.vectors(name), info.position)
        log.info("snapshot", collection=name, chunks=info.chunks, seq=info.position.seq, cut=cut)
        return info

    def _write_beside(self, draft: _Draft, done: Future[SnapshotInfo | None]) -> None:
        with suppress(OSError):  # other systems than Linux know no priority of one thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        begun = time.monotonic()
        try:
            written = self._write(draft)
            self._took = time.monotonic() - begun
            done.set_result(written)
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            done.set_exception(error)

    def _take_over(self, info: SnapshotInfo | None) -> bool:
        self._looked = time.monotonic()
        if info is None:
            return False
        self._trouble.did_not_happen()
        self.ledger.rebase()
        return True

    def _due(self) -> bool:
        now, size = time.monotonic(), self.ledger.collection.delta_size
        pause = max(self.interval_s, _PAUSE * self._took)
        late = size > 0 and now - self._looked >= pause
        return now >= self._retry_at and (late or size >= self.every_chunks)
