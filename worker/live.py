"""Follows the live configuration under a running worker."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from contracts.errors import CortexError
from streams.control import read_config
from streams.errors import SERVER_TROUBLE

if TYPE_CHECKING:
    from redis import Redis

    from contracts.messages import RolloutConfig
    from streams.keys import Keys

log = structlog.get_logger()

_EVERY = 0.4  # seconds; workers promise to follow a change within one


@dataclass
class LiveConfig:
    """Keeps the newest configuration at hand, on a thread of its own.

    An unreachable server or a malformed hash leaves the last good configuration in force.

    Attributes:
        fresh: what holds where nothing was ever set.
        current: the configuration now; each value is immutable.
    """

    client: Redis
    keys: Keys
    fresh: RolloutConfig
    current: RolloutConfig = field(init=False)

    def __post_init__(self) -> None:
        self.current = self.fresh
        self._stopping = threading.Event()
        self._complaint = ""
        self._thread = threading.Thread(target=self._follow, name="live-config", daemon=True)

    def start(self) -> None:
        """Read once, then follow."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stopping.set()

    def _follow(self) -> None:
        while not self._stopping.wait(_EVERY):
            self._look()

    def _look(self) -> None:
        try:
            config, complaint = read_config(self.client, self.keys, self.fresh), ""
        except (*SERVER_TROUBLE, CortexError) as error:
            config, complaint = self.current, str(error)
        if complaint and complaint != self._complaint:
            log.warning("keeping the last good configuration", error=complaint)
        self._complaint = complaint
        if config != self.current:
            log.info("configuration", version=config.version, percentage=config.percentage)
        self.current = config
