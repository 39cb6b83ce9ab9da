"""How much of some streams their groups have still to deal with, and how much more may come."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from contracts.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

_EVERY = 0.1  # seconds between measurements


def backlog(client: Redis, streams: Sequence[str]) -> int:
    """Count entries that are unread or pending, by the group that is furthest behind.

    Where no group exists all entries are unread. Where the server cannot tell how far a group is
    behind (entries were deleted from the middle), what is settled and not yet trimmed counts too:
    rather too much than too little.

    Raises:
        redis.RedisError: the server could not be asked, or a key is no stream.
    """
    with client.pipeline(transaction=False) as pipeline:
        for stream in streams:
            pipeline.xlen(stream)
            pipeline.xinfo_groups(stream)
        replies = pipeline.execute(raise_on_error=False)
    return sum(map(_behind, replies[::2], replies[1::2]))


class Gate:
    """Lets work in until the backlog of some streams has reached a limit.

    The backlog is measured ten times a second at most; what is let in meanwhile is added. Several
    producers with one limit may together pass it by what they send within that time.
    """

    def __init__(self, client: Redis, streams: Sequence[str], limit: int) -> None:
        self._client = client
        self._streams = streams
        self._limit = limit
        self._backlog = 0
        self._measured = float("-inf")

    def admit(self, wanted: int, patience: float) -> int:
        """Wait for room, at least for one fresh measurement.

        Args:
            wanted: how many tasks there are to send.
            patience: seconds.

        Returns:
            How many may be sent: between 1 and `wanted`.

        Raises:
            TransientError: the backlog is at its limit, and stayed there.
            redis.RedisError: the server could not be asked.
        """
        deadline = time.monotonic() + patience
        fresh = self._measure()
        while self._backlog >= self._limit:
            if fresh and time.monotonic() >= deadline:
                waited = f" for {patience:.0f} s" if patience else ""
                raise TransientError(
                    f"the backlog is {self._backlog:,} tasks{waited}, its limit {self._limit:,}"
                )
            time.sleep(max(0.0, self._measured + _EVERY - time.monotonic()))
            fresh = self._measure()
        admitted = min(wanted, self._limit - self._backlog)
        self._backlog += admitted
        return admitted

    def _measure(self) -> bool:
        """Measure, unless that was done just now; returns whether it was done."""
        if time.monotonic() < self._measured + _EVERY:
            return False
        self._backlog = backlog(self._client, self._streams)
        self._measured = time.monotonic()
        return True


def _behind(length: Any, groups: Any) -> int:  # noqa: ANN401 (replies, or the errors they were)
    if isinstance(groups, ResponseError) and "no such key" in str(groups):
        return 0
    for reply in (length, groups):
        if isinstance(reply, Exception):
            raise reply
    return max((_of_group(group, length) for group in groups), default=length)


def _of_group(group: dict[str, Any], length: int) -> int:
    lag: int | None = group["lag"]
    return length if lag is None else min(length, lag + group["pending"])
