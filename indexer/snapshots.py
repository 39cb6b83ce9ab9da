"""When a snapshot is written, and by whom: one indexer at a time, however many there are."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from vectors.log import trim
from vectors.snapshot import read_manifest, write_snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from indexer.commit import Ledger
    from streams.keys import Keys

log = structlog.get_logger(__name__)

LEASE_MS = 600_000  # longer than any snapshot takes; a writer that outlives it is fenced


def acquire(client: Redis, key: str, *, floor: int = 0, lease_ms: int = LEASE_MS) -> int | None:
    """Take the lease of a collection's snapshots.

    The token is drawn before the lease is taken: whoever holds the lease later drew later, so a
    writer that slept through its lease is outranked (M. Kleppmann, "How to do distributed
    locking", 2016).

    Args:
        client: the server.
        key: the lease.
        floor: token of the snapshot in the store; the new one is higher even if the server has
            lost its count.
        lease_ms: after this long the lease is free again by itself.

    Returns:
        A fencing token, or None if someone holds the lease.
    """
    token = int(client.incr(f"{key}:token"))
    if token <= floor:
        token = int(client.incrby(f"{key}:token", floor - token + 1))
    return token if client.set(key, token, nx=True, px=lease_ms) else None


def release(client: Redis, key: str, token: int) -> None:
    """Give the lease back, if it is still ours. A lease lost in between costs no more than a turn.

    Even if it passes to someone else between the two commands, the tokens keep the order.
    """
    if client.get(key) == str(token).encode():
        client.delete(key)


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

    def write_if_due(self) -> bool:
        """Write a snapshot if the delta is large or old and nobody else is at it.

        Raises:
            TransientError: the disk or Redis failed; the previous snapshot stands.
        """
        size = self.ledger.collection.delta_size
        late = time.monotonic() - self._looked >= self.interval_s
        return (size >= self.every_chunks or (size > 0 and late)) and self.write()

    def write(self) -> bool:
        """Write a snapshot now, unless another indexer is at it.

        Raises:
            TransientError: the disk or Redis failed; the previous snapshot stands.
        """
        self._looked = time.monotonic()
        self.ledger.refresh()
        collection = self.ledger.collection
        name = collection.name
        lease = self.keys.snapshot_lease(name)
        info = read_manifest(self.store, name)
        token = acquire(self.client, lease, floor=info.token if info else 0)
        if token is None:
            return False
        try:
            info = write_snapshot(collection, self.store, token=token)
        finally:
            release(self.client, lease, token)
        trimmed = trim(self.client, self.keys.vectors(name), info.position)
        self.ledger.rebase()
        log.info(
            "snapshot", collection=name, chunks=info.chunks, seq=info.position.seq, cut=trimmed
        )
        return True
