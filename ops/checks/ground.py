"""What checks look at: the settings, and the server if it is there."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from contracts.errors import TransientError

if TYPE_CHECKING:
    from redis import Redis

    from contracts.messages import RolloutConfig
    from ops.session import Session
    from router.masters import Masters
    from streams.keys import Keys
    from worker.settings import Settings


class Ground:
    """Everything here raises where it is not to be had: then what needs it is unknown."""

    def __init__(self, settings: Settings, session: Session | None) -> None:
        """Take what there is.

        Args:
            settings: those of the workers.
            session: None if the server cannot be reached.
        """
        self.settings = settings
        self._session = session

    @property
    def session(self) -> Session:
        """The connection, and the names of this deployment's keys."""
        if self._session is None:
            raise TransientError("Redis cannot be reached")
        return self._session

    @property
    def client(self) -> Redis:
        """The connection."""
        return self.session.client

    @property
    def keys(self) -> Keys:
        """Names that are the same in every partition."""
        return self.session.keys

    @cached_property
    def masters(self) -> Masters:
        """The masters there are."""
        from router.masters import Masters

        return Masters.parse(self.settings.masters_text)

    @cached_property
    def config(self) -> RolloutConfig:
        """The live configuration."""
        from streams.control import read_config

        return read_config(self.client, self.keys, self.settings.fresh_config)

    @property
    def now_ms(self) -> float:
        """The server's clock, in milliseconds since 1970."""
        seconds, microseconds = self.client.time()
        return float(seconds * 1_000 + microseconds / 1_000)
