"""Keeps streams short and groups tidy, without ever touching what is unread or pending."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from redis.exceptions import OutOfMemoryError

from streams.scripts import run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis import Redis

_IDLE_CONSUMER_MS = 3_600_000


def trim_settled(client: Redis, streams: Iterable[str]) -> int:
    """Drop entries that every group of a stream has read and acknowledged; returns how many."""
    return sum(run(client, "trim", [stream], ["+"]) for stream in streams)


def trim_older(client: Redis, streams: Iterable[str], seconds: float) -> int:
    """Drop entries older than `seconds`, by the server's clock, but none a group still needs.

    A stream that no group reads (an audit stream nobody consumes) is trimmed by age alone.
    """
    now, _micros = client.time()
    before = f"{max(0, int((now - seconds) * 1000))}-0"
    dropped = 0
    for stream in streams:
        if client.type(stream) == b"stream" and not client.xinfo_groups(stream):
            dropped += client.xtrim(stream, minid=before, approximate=True)
        else:
            dropped += run(client, "trim", [stream], [before])
    return dropped


def remove_idle_consumers(
    client: Redis, stream: str, group: str, idle_ms: int = _IDLE_CONSUMER_MS
) -> int:
    """Delete consumers that hold nothing and were silent for `idle_ms`; returns how many."""
    consumers = client.xinfo_consumers(stream, group)
    return sum(
        run(client, "leave", [stream], [group, each["name"]])
        for each in consumers
        if not each["pending"] and each["idle"] > idle_ms
    )


def is_due(client: Redis, key: str, every_seconds: float) -> bool:
    """Whether this process is the one to do a periodic job now; true for one asker per period.

    True for every asker while the server is out of memory: it needs the tidying most then.
    """
    try:
        return bool(client.set(key, f"{time.time():.3f}", px=int(every_seconds * 1000), nx=True))
    except OutOfMemoryError:
        return True
