"""What an indexer does between batches: snapshots, reconciliation, trimming."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from contracts.errors import TransientError
from indexer.reconcile import reconcile
from indexer.scan import Tree
from indexer.watch import publish_changes
from streams.housekeeping import remove_silent_consumers, trim_settled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis

    from indexer.apply import Indexer
    from indexer.snapshots import Snapshots
    from streams.keys import Keys

log = structlog.get_logger(__name__)

_TRIM_SECONDS = 10.0
_REFRESH_SECONDS = 1.0
_REBUILD_SECONDS = 2.0  # at least, between looks at whether everything was committed anew
_REBUILD_PAUSE = 3.0  # times as long as the last look took


@dataclass
class Upkeep:
    """Periodic work of one process for its collections, each with its snapshots.

    Attributes:
        histories: what remembers past work of each collection, and its snapshots.
        reconcile_interval_s: how often index and disk are compared; the first time at once.
        reconciled: whether they were, so that nothing that changed before is unknown; not while an
            index is begun anew.
    """

    client: Redis
    keys: Keys
    kept: Sequence[tuple[Indexer, Snapshots]]
    reconcile_interval_s: float
    histories: Sequence[tuple[Sequence[Callable[[], None]], Snapshots]] = ()
    reconciled: bool = field(init=False, default=False)
    _refresh_at: float = 0.0
    _reconcile_at: float = 0.0
    _rebuild_at: float = 0.0
    _trim_at: float = 0.0
    _complaint: str = field(default="")

    def __call__(self) -> None:
        """Do what is due; what fails for the moment is put off."""
        try:
            self._do()
            self._complaint = ""
        except (RedisError, TransientError) as error:
            if str(error) != self._complaint:
                log.warning("upkeep_put_off", error=str(error))
            self._complaint = str(error)

    def _do(self) -> None:
        now = time.monotonic()
        if now >= self._refresh_at:  # a lost log must be noticed even if no file ever changes
            for indexer, _ in self.kept:
                indexer.ledger.refresh()
            self._refresh_at = time.monotonic() + _REFRESH_SECONDS
        if now >= self._reconcile_at or (self._rebuilding() and now >= self._rebuild_at):
            for indexer, _ in self.kept:
                self._reconcile(indexer)
            done = time.monotonic()
            self._reconcile_at = done + self.reconcile_interval_s
            self._rebuild_at = done + max(_REBUILD_SECONDS, _REBUILD_PAUSE * (done - now))
            self.reconciled = True
        self.reconciled = self.reconciled and not self._rebuilding()
        if now >= self._trim_at:
            trim_settled(self.client, [self.keys.files])
            remove_silent_consumers(self.client, self.keys.files)
            self._trim_at = now + _TRIM_SECONDS
        for remembering, _ in self.histories:
            for each in remembering:
                each()
        for _, snapshots in (*self.kept, *self.histories):
            snapshots.write_if_due()

    def _rebuilding(self) -> bool:
        return any(indexer.ledger.started_over for indexer, _ in self.kept)

    def _reconcile(self, indexer: Indexer) -> None:
        """Publish what differs to `files`, so that all indexers share the work of repairing it."""
        known = indexer.ledger.refresh()
        report = reconcile(
            Tree(indexer.root, indexer.rules),
            known,
            lambda changes: publish_changes(self.client, self.keys, changes),
            collection=indexer.ledger.collection.name,
            tick=indexer.tick,
        )
        if not report.missing:
            indexer.ledger.finish_starting_over()
        log.info(
            "reconciled",
            collection=indexer.ledger.collection.name,
            current=report.current,
            missing=report.missing,
            stale=report.stale,
            extra=report.extra,
        )
