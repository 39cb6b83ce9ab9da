"""What some worker does every now and then for all of them: trimming and tidying."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from streams.errors import SERVER_TROUBLE
from streams.housekeeping import is_due, remove_silent_consumers, trim_records, trim_settled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from streams.keys import Keys
    from streams.pressure import Pressure

log = structlog.get_logger()

_TICK = 1.0  # seconds between looks whether chores are due
_EVERY, _EVERY_WHILE_HIGH = 10.0, 1.0  # seconds, over all workers together
_KEPT_WHILE_STUCK = 0.75  # share of a record that stays each time


@dataclass
class Chores:
    """Trims settled work and old records, and removes consumers that are gone.

    Every worker runs one; a key with an expiry picks whose turn it is.

    Attributes:
        parts: names of each partition.
        pressure: while memory is short, chores are done more often.
        records_days: how long `decisions` and `outcomes` are kept.
        records_max: most entries that either keeps, in each partition. What a group still needs
            is kept beyond that.
    """

    client: Redis
    parts: Sequence[Keys]
    masters: Sequence[str]
    pressure: Pressure
    records_days: int
    records_max: int

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chores", daemon=True)

    def start(self) -> None:
        """Begin, on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the chore at hand."""
        self._stopping.set()

    def once(self) -> int:
        """Do every chore; returns how many entries were trimmed.

        One partition whose server does not answer does not keep the others from being tidied.
        """
        trimmed = self._tidy([], self.parts[0].outcomes)
        for keys in self.parts:
            queues = [keys.master(name) for name in self.masters]
            trimmed += self._tidy([*keys.task_streams, *queues], keys.decisions)
        return trimmed

    def _tidy(self, work: Sequence[str], record: str) -> int:
        try:
            for stream in (*work, record):
                remove_silent_consumers(self.client, stream)
            return trim_settled(self.client, work) + self._trim_record(record)
        except SERVER_TROUBLE as error:
            log.warning("chores put off", error=str(error), record=record)
            return 0

    def _trim_record(self, stream: str) -> int:
        longest, stuck = self.records_max, self.pressure.stuck
        if stuck:
            # What was done gives way to what is to be done, the oldest first.
            longest = min(longest, int(self.client.xlen(stream) * _KEPT_WHILE_STUCK))
        gone = trim_records(self.client, stream, self.records_days * 86_400, longest)
        if stuck and gone:
            log.warning("record shortened: memory is short", record=stream, entries=gone)
        return gone

    def _run(self) -> None:
        while not self._stopping.wait(_TICK):
            every = _EVERY_WHILE_HIGH if self.pressure.high else _EVERY
            try:
                if is_due(self.client, self.parts[0].chores, every):
                    log.debug("chores", trimmed=self.once())
            except SERVER_TROUBLE as error:
                log.warning("chores put off", error=str(error))
