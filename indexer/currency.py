"""Tells workers how current the index is, for as long as this indexer turns."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from streams.errors import SERVER_TROUBLE
from streams.keys import INDEXERS
from streams.scripts import run
from vectors.currency import say_current

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis

    from streams.keys import Keys

log = structlog.get_logger(__name__)

_EVERY = 1.0  # seconds


@dataclass
class Currency:
    """Says up to which moment every change that was announced is in the index.

    That is when the oldest change that no indexer has settled yet was announced, or now. An indexer
    that falls behind therefore says so by the same number as one that is silent.

    Attributes:
        collections: what the indexers of this group keep.
        complete: whether what changed while no indexer ran has been announced; until then nothing
            is said.
    """

    client: Redis
    keys: Keys
    collections: Sequence[str]
    complete: Callable[[], bool]
    _say_at: float = field(init=False, default=0.0)

    def say_if_due(self) -> None:
        """Say it, if a second has passed. Where Redis is in trouble, silence says enough."""
        now = time.monotonic()
        if now < self._say_at or not self.complete():
            return
        self._say_at = now + _EVERY
        try:
            moment: int | None = run(self.client, "settled_until", [self.keys.files], [INDEXERS])
            if moment is None:
                return
            for name in self.collections:
                say_current(self.client, self.keys.vectors(name), moment)
        except SERVER_TROUBLE as error:
            log.debug("currency_not_said", error=str(error))
