"""How much waits in a stream for a group, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis import Redis

    from ops.checks.ground import Ground
    from streams.ranges import Range


class Queue(NamedTuple):
    """A stream that holds something, as one group sees it.

    Attributes:
        read: whether the group is there.
        waiting: entries that are unread or pending; None if the server cannot tell.
        oldest_s: how long the oldest of these has been waiting; 0 if there is none.
    """

    stream: str
    read: bool
    waiting: int | None
    oldest_s: float


def measure(ground: Ground, pairs: Iterable[tuple[str, str]]) -> list[Queue]:
    """Measure streams, each for a group; those that hold nothing are left out.

    Raises:
        redis.RedisError: the server could not be asked.
    """
    now, client = ground.now_ms, ground.client
    return [_queue(client, *pair, now) for pair in pairs if client.xlen(pair[0])]


def together(queues: Sequence[Queue]) -> int | None:
    """Entries that wait in all of them; None if the server cannot tell."""
    known = [queue.waiting for queue in queues if queue.waiting is not None]
    return sum(known) if len(known) == len(queues) else None


def find_group(client: Redis, stream: str, name: str) -> dict[str, Any] | None:
    """Return what XINFO GROUPS says of a group; None if it or the stream is not there.

    Raises:
        redis.RedisError: the server could not be asked.
    """
    groups: list[dict[str, Any]] = client.xinfo_groups(stream) if client.exists(stream) else []
    return next((each for each in groups if each["name"] == name.encode()), None)


def _queue(client: Redis, stream: str, group: str, now_ms: float) -> Queue:
    found = find_group(client, stream, group)
    if found is None:
        oldest = _oldest(client, stream, "-", now_ms)
        return Queue(stream, read=False, waiting=client.xlen(stream), oldest_s=oldest)
    unread = _oldest(client, stream, f"({found['last-delivered-id'].decode()}", now_ms)
    pending = _age_s(client.xpending(stream, group)["min"], now_ms) if found["pending"] else 0.0
    lag = found["lag"]
    waiting = None if lag is None else lag + found["pending"]
    return Queue(stream, read=True, waiting=waiting, oldest_s=max(unread, pending))


def _oldest(client: Redis, stream: str, start: str, now_ms: float) -> float:
    first = cast("Range", client.xrange(stream, min=start, count=1))
    return _age_s(first[0][0], now_ms) if first else 0.0


def _age_s(entry_id: bytes, now_ms: float) -> float:
    """Ids begin with the server's clock in ms when the entry was written (Redis, XADD)."""
    return max(0.0, (now_ms - int(entry_id.partition(b"-")[0])) / 1_000)
