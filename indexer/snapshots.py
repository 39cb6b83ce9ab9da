"""When a snapshot is written, and by whom: one indexer at a time, however many there are."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from contracts.errors import TransientError
from streams.lease import hold
from telemetry.complaint import Complaint
from vectors.log import trim
from vectors.snapshot import current_token, write_snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from indexer.commit import Ledger
    from streams.keys import Keys
    from vectors.manifest import SnapshotInfo

log = structlog.get_logger(__name__)

_RETRY_S = 10.0  # a failed attempt may have written everything but the last byte


@dataclass
class Snapshots:
    """Writes the snapshots of one collection when they are due, and trims its log.

    Attributes:
        store: where they go.
        every_chunks: due when the delta holds this many.
        interval_s: due this long after the last one, if anything changed.
    """

    client: Redis
    keys: Keys
    ledger: Ledger
    store: Path
    every_chunks: int = 8_000
    interval_s: float = 300.0
    _looked: float = field(default_factory=time.monotonic)
    _retry_at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        about = {"collection": self.ledger.collection.name}
        self._trouble = Complaint("snapshot_put_off", "snapshot_after_all", about, quiet_s=0)

    def write_if_due(self) -> bool:
        """Write a snapshot if the delta is large or old and nobody else is at it.

        What the disk refuses is tried again later; the previous snapshot stands.
        """
        if not self._due():
            return False
        try:
            return self.write()
        except TransientError as error:
            self._trouble.happened(error=str(error))
            self._retry_at = time.monotonic() + _RETRY_S
            return False

    def write(self) -> bool:
        """Write a snapshot now, unless another indexer is at it or the index is begun anew.

        Raises:
            TransientError: the disk or Redis failed; the previous snapshot stands.
        """
        name = self.ledger.collection.name
        over = current_token(self.store, name)
        with hold(self.client, self.keys.snapshot_lease(name), floor=over) as token:
            info = token and self._write(token, over)
        self._looked = time.monotonic()
        if not info:
            return False
        self._trouble.did_not_happen()
        self.ledger.rebase()  # first: the log is cut only below what was found readable
        cut = trim(self.client, self.keys.vectors(name), info.position)
        log.info("snapshot", collection=name, chunks=info.chunks, seq=info.position.seq, cut=cut)
        return True

    def _write(self, token: int, over: int) -> SnapshotInfo | None:
        """Write one, but not of a part while everything is being committed anew."""
        self.ledger.refresh()
        if self.ledger.started_over:
            return None
        return write_snapshot(self.ledger.collection, self.store, token=token, over=over)

    def _due(self) -> bool:
        now, size = time.monotonic(), self.ledger.collection.delta_size
        late = size > 0 and now - self._looked >= self.interval_s
        return now >= self._retry_at and (late or size >= self.every_chunks)
