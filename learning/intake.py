"""From delivered entries to rows of the data set: collected, written together, then acknowledged.

Nothing is acknowledged before it is durable. What a killed learner had written and not acknowledged
comes again, and counts once.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from contracts import reasons
from contracts.errors import PoisonError, TransientError
from contracts.parse import parse_decision, parse_outcome
from learning.records import DecisionRecord, OutcomeRecord, decision_record, outcome_record
from streams.entry import Ack, Bury

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from learning.dataset import Dataset
    from streams.entry import Entry, Settlement

log = structlog.get_logger(__name__)

_PAUSE_S = 1.0  # after the disk refused, before it is asked again
_LOOK_S = 3_600.0  # between looks whether it is time to tidy
_DAY_MS = 24 * 3600 * 1000


@dataclass
class Intake:
    """Collects entries of `outcomes` and `decisions` and writes them to the data set.

    Attributes:
        settle: told what became of a batch once it is durable.
        outcomes: key of the stream of outcomes; every other entry is a decision.
        batch_size: as many entries are written without waiting for more.
        flush_seconds: longest wait for more.
        max_deliveries: an entry delivered more often is not tried again.
        retention_ms: how long decisions and outcomes wait for each other.
        clock: seconds that never go back.
        tally: how many of each were made durable, and were refused.
    """

    dataset: Dataset
    settle: Callable[[Sequence[Settlement]], None]
    outcomes: str
    batch_size: int
    flush_seconds: float
    max_deliveries: int
    retention_ms: int
    clock: Callable[[], float] = time.monotonic
    tally: Counter[str] = field(default_factory=Counter, init=False)
    writable: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self._batches: list[list[Settlement]] = []
        self._decisions: list[DecisionRecord] = []
        self._outcomes: list[OutcomeRecord] = []
        self._count = 0
        self._since = float("inf")
        self._urgent = False
        self._not_before = self._look_at = self.clock()

    def take(self, batch: Sequence[Entry]) -> None:
        """Collect a batch; it is settled by a later `flush`."""
        self._batches.append([self._collect(entry) for entry in batch])
        self._count += len(batch)
        self._since = min(self._since, self.clock())
        # Until a suspect is settled nothing else is read: see `streams.reader`.
        self._urgent |= any(entry.attempt > 1 for entry in batch)

    def flush_if_due(self, *, stopping: bool = False) -> None:
        """Write if there is enough, or for long enough; while the disk refuses, try every second.

        Raises:
            FatalError: the data set is damaged.
        """
        now = self.clock()
        full = self._count >= self.batch_size or now - self._since >= self.flush_seconds
        if self._count and now >= self._not_before and (full or self._urgent or stopping):
            self.flush()

    def flush(self) -> None:
        """Write what was collected and settle it; while the disk refuses it stays collected.

        Raises:
            FatalError: the data set is damaged.
        """
        try:
            version = self.dataset.append(self._decisions, self._outcomes)
        except TransientError as error:
            self.writable = False
            self._not_before = self.clock() + _PAUSE_S
            log.warning("cannot write the data set", error=str(error), entries=self._count)
            return
        self.writable = True
        counts = {"decisions": len(self._decisions), "outcomes": len(self._outcomes)}
        self.tally.update(counts, refused=self._count - sum(counts.values()))
        log.debug("written", version=version, **counts)
        batches = self._batches
        self._clear()
        for batch in batches:
            self.settle(batch)

    def tidy_if_due(self) -> None:
        """Once a day, forget what has waited for too long and merge the parts.

        Raises:
            FatalError: the data set is damaged.
        """
        if self.clock() < self._look_at:
            return
        self._look_at = self.clock() + _LOOK_S
        now_ms = time.time_ns() // 1_000_000
        if self.dataset.version and abs(now_ms - self.dataset.tidied_ms()) >= _DAY_MS:
            try:
                log.info("tidied", version=self.dataset.tidy(self.retention_ms, now_ms))
            except TransientError as error:
                log.warning("cannot tidy the data set", error=str(error))

    def _collect(self, entry: Entry) -> Settlement:
        if entry.attempt > self.max_deliveries:
            detail = f"delivered {entry.attempt - 1} times"
            return Bury(entry, reasons.TOO_MANY_DELIVERIES, detail)
        try:
            if entry.stream == self.outcomes:
                self._outcomes.append(outcome_record(entry, parse_outcome(entry.fields)))
            else:
                decision = parse_decision(entry.fields.get(b"decision", b""))
                self._decisions.append(decision_record(entry, decision))
        except PoisonError as error:
            return Bury(entry, error.reason, error.detail)
        return Ack(entry)

    def _clear(self) -> None:
        self._batches, self._decisions, self._outcomes = [], [], []
        self._count, self._since, self._urgent = 0, float("inf"), False
