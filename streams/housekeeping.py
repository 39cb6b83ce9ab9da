"""Keeps streams short and groups tidy, without ever touching what is unread or pending."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from redis.exceptions import OutOfMemoryError, ResponseError

from streams.scripts import run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis import Redis

_SILENT_MS = 300_000
_WORK_SLICE = 10_000  # entries per script: holds the server for about 3 ms
_RECORD_SLICE = 500  # these may be looked at one by one: about as long


def trim_settled(client: Redis, streams: Iterable[str]) -> int:
    """Drop entries that every group of a stream has read and acknowledged; returns how many."""
    return sum(_trim(client, stream, _WORK_SLICE) for stream in streams)


def trim_records(client: Redis, stream: str, seconds: float, longest: int) -> int:
    """Drop what is old or too much of a stream that records what was done; returns how many.

    An entry goes when it is older than `seconds`, by the server's clock, or when `longest` newer
    ones are there, but never while a group still needs it. Without a group nobody does.
    """
    now, _micros = client.time()
    before = f"{max(0, int((now - seconds) * 1000))}-0"
    return _trim(client, stream, _RECORD_SLICE, before, longest)


def remove_silent_consumers(client: Redis, stream: str, silent_ms: int = _SILENT_MS) -> int:
    """Delete members of every group that hold nothing and were silent; returns how many.

    A living one may be among them, where waiting for entries is no sign of life to the server
    (Redis 7.0). It loses nothing: reading makes it a member again.
    """
    return sum(
        run(client, "leave", [stream], [group, name])
        for group, name in _silent(client, stream, silent_ms)
    )


def is_due(client: Redis, key: str, every_seconds: float) -> bool:
    """Whether this process is the one to do a periodic job now; true for one asker per period.

    True for every asker while the server is out of memory: it needs the tidying most then.
    """
    period, now = int(every_seconds * 1000), f"{time.time():.3f}"
    try:
        if client.set(key, now, px=period, nx=True):
            return True
        # Expiry is a point on the server's clock: if that was set back, it may be hours away.
        if client.pttl(key) in range(period + 1):
            return False
        client.set(key, now, px=period)
    except OutOfMemoryError:
        pass
    return True


def _trim(client: Redis, stream: str, slice_: int, *limits: str | int) -> int:
    """Trim in slices, so that nobody else waits for long."""
    dropped = 0
    while True:
        gone: int = run(client, "trim", [stream], [slice_, *limits])
        dropped += gone
        if gone < slice_ / 2:
            return dropped


def _silent(client: Redis, stream: str, silent_ms: int) -> list[tuple[bytes, bytes]]:
    """Groups and names of members that hold nothing and were silent; none without a stream."""
    try:
        return [
            (group["name"], member["name"])
            for group in client.xinfo_groups(stream)
            for member in client.xinfo_consumers(stream, group["name"])
            if not member["pending"] and member["idle"] > silent_ms
        ]
    except ResponseError as error:
        if "no such key" not in str(error) and "WRONGTYPE" not in str(error):
            raise
        return []
