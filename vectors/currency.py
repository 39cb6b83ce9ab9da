"""How current a collection is: indexers say it beside its delta log, workers read it.

One string `<log>:current` holds the moment, in ms of the server's clock, up to which every change
that was announced is in the log. Its age keeps growing where no indexer says anything any more,
whether it is dead, frozen or behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from redis.exceptions import RedisError

from contracts.errors import TransientError

if TYPE_CHECKING:
    from redis import Redis

_AGE_MS = """
local said = redis.call('GET', KEYS[1])
if not said then
  return false
end
local now = redis.call('TIME')
return now[1] * 1000 + math.floor(now[2] / 1000) - said
"""


def current_key(log_key: str) -> str:
    """Name of the key that belongs to a delta log."""
    return f"{log_key}:current"


def say_current(client: Redis, log_key: str, moment_ms: int) -> None:
    """Say that everything announced before `moment_ms` is in the log.

    Raises:
        redis.RedisError: as the server or the connection reports it.
    """
    client.set(current_key(log_key), moment_ms)


def read_age(client: Redis, log_key: str) -> float | None:
    """Seconds since the log held everything announced; None if no indexer ever said.

    What is read from the log after this call is at least as current.

    Raises:
        TransientError: Redis could not be asked.
    """
    try:
        age_ms = cast("int | None", client.eval(_AGE_MS, 1, current_key(log_key)))
    except RedisError as error:
        raise TransientError(f"age of {log_key}: {error}") from error
    return None if age_ms is None else max(0, age_ms) / 1000
