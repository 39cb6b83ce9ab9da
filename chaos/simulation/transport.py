"""The connection of a simulation: the schedule decides what becomes of each command."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import redis
from redis.exceptions import OutOfMemoryError

from streams.connect import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["crash before", "crash after", "request lost", "reply lost", "refused"]

# Every pending entry idles longer, everything that expires does so sooner.
_AGE = """
local by = tonumber(ARGV[1])
for _, key in ipairs(redis.call('KEYS', '*')) do
  if redis.call('TYPE', key).ok == 'stream' then
    for _, group in ipairs(redis.call('XINFO', 'GROUPS', key)) do
      for _, row in ipairs(redis.call('XPENDING', key, group[2], '-', '+', 10000)) do
        redis.call('XCLAIM', key, group[2], row[2], 0, row[1], 'IDLE', row[3] + by, 'JUSTID')
      end
    end
  else
    local left = redis.call('PTTL', key)
    if left >= 0 then redis.call('PEXPIRE', key, math.max(0, left - by)) end
  end
end
"""


class CrashError(Exception):
    """The process that sent the command ends here."""


class Fate(NamedTuple):
    """What strikes, and how many commands go well before it does."""

    kind: Kind
    after: int


class Transport(redis.Redis):
    """A client with one connection, whose next commands may meet a fate.

    Attributes:
        fate: of the commands to come; None once it has struck.
    """

    def __init__(self, url: str) -> None:
        self._connected = connect(url, role="simulation")
        super().__init__(
            connection_pool=self._connected.connection_pool, single_connection_client=True
        )
        self.fate: Fate | None = None

    def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as redis-py
        """Send a command, or let its fate strike.

        Raises:
            CrashError: the sender's process ends, before or after the server acts.
            redis.ConnectionError: the request or the reply was lost.
            OutOfMemoryError: the server refused.
        """
        kind = self._struck()
        if kind == "crash before":
            raise CrashError
        if kind == "request lost":
            raise redis.ConnectionError(kind)
        if kind == "refused":
            raise OutOfMemoryError(kind)
        reply = self._exchange(*args, **options)
        if kind == "crash after":
            raise CrashError
        if kind == "reply lost":
            raise redis.ConnectionError(kind)
        return reply

    def _exchange(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as redis-py
        # Past redis-py's retries and observers, which take as long as the exchange itself.
        connection: Any = self.connection
        connection.send_command(*args)
        parse: Any = self.parse_response
        return parse(connection, args[0], **options)

    def _struck(self) -> Kind | None:
        if self.fate is None:
            return None
        kind, after = self.fate
        self.fate = Fate(kind, after - 1) if after else None
        return None if after else kind


def age(client: redis.Redis, milliseconds: int) -> None:
    """Let time pass for the server's pending entries and expiring keys."""
    client.eval(_AGE, 0, str(milliseconds))


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process, and the servers it starts meanwhile, on one core.

    Client and server take turns anyway; waking a process on another core takes several times as
    long as the command itself.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
