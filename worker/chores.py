"""What some worker does every now and then for all of them: trimming and tidying."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from streams.errors import SERVER_TROUBLE
from streams.housekeeping import is_due, remove_idle_consumers, trim_older, trim_settled
from streams.keys import WORKERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from streams.keys import Keys

log = structlog.get_logger()

_EVERY = 10.0  # seconds, over all workers together


@dataclass
class Chores:
    """Trims settled work and old decisions, and removes consumers that are gone.

    Every worker runs one; a key with an expiry picks whose turn it is.
    """

    client: Redis
    keys: Keys
    masters: Sequence[str]
    decisions_days: int

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
        """Do every chore; returns how many entries were trimmed."""
        work = (*self.keys.task_streams, *(self.keys.master(name) for name in self.masters))
        trimmed = trim_settled(self.client, work)
        trimmed += trim_older(self.client, [self.keys.decisions], self.decisions_days * 86_400)
        for stream in self.keys.task_streams:
            remove_idle_consumers(self.client, stream, WORKERS)
        return trimmed

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY):
            try:
                if is_due(self.client, self.keys.chores, _EVERY):
                    log.debug("chores", trimmed=self.once())
            except SERVER_TROUBLE as error:
                log.warning("chores put off", error=str(error))
