"""A batch of entries of `files`, from bytes to what becomes of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from contracts import reasons
from contracts.errors import PoisonError, TransientError
from contracts.parse import parse_file_change
from streams.entry import Ack, Bury, Leave

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from contracts.messages import FileChange
    from indexer.apply import Indexer
    from streams.entry import Entry, Settlement

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Handler:
    """Applies batches of file changes.

    Attributes:
        indexers: by collection.
        max_deliveries: an entry delivered more often is not tried again.
    """

    indexers: Mapping[str, Indexer]
    max_deliveries: int

    def __call__(self, entries: Sequence[Entry]) -> list[Settlement]:
        """Apply what the entries say; returns one settlement for each, in no particular order."""
        settlements: list[Settlement] = []
        readable: dict[str, list[tuple[Entry, FileChange]]] = {}
        for entry in entries:
            try:
                change = self._parse(entry)
            except PoisonError as error:
                settlements.append(Bury(entry, error.reason, error.detail))
            else:
                readable.setdefault(change.collection, []).append((entry, change))
        for collection, pairs in readable.items():
            settlements += self._apply(collection, pairs)
        return settlements

    def _parse(self, entry: Entry) -> FileChange:
        if entry.attempt > self.max_deliveries:
            detail = f"delivered {entry.attempt - 1} times"
            raise PoisonError(reasons.TOO_MANY_DELIVERIES, detail)
        change = parse_file_change(entry.fields)
        if change.collection not in self.indexers:
            detail = f"no indexer keeps a collection {change.collection!r}"
            raise PoisonError(reasons.INVALID_NAME, detail)
        return change

    def _apply(
        self, collection: str, pairs: Sequence[tuple[Entry, FileChange]]
    ) -> list[Settlement]:
        committed = 0
        try:
            for _path in self.indexers[collection].apply(change for _, change in pairs):
                committed += 1
        except TransientError as error:
            log.warning("put_off", collection=collection, entries=len(pairs), error=str(error))
            return [Leave(entry) for entry, _ in pairs]
        log.debug("applied", collection=collection, entries=len(pairs), committed=committed)
        return [Ack(entry) for entry, _ in pairs]
