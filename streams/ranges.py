"""Ranges of a stream, typed as what a client that replies in bytes really returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis import Redis

    Range = Sequence[tuple[bytes, dict[bytes, bytes]]]

_PAGE = 500  # entries per exchange


def forward(
    client: Redis, stream: str, start: str = "-"
) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """Yield every entry from the id `start`, the oldest first, page by page.

    Raises:
        redis.RedisError: the server could not be asked.
    """
    while page := cast("Range", client.xrange(stream, min=start, count=_PAGE)):
        yield from page
        start = f"({page[-1][0].decode()}"


def backward(
    client: Redis, stream: str, stop: str = "-"
) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """Yield every entry down to the id `stop`, the newest first, page by page.

    Raises:
        redis.RedisError: the server could not be asked.
    """
    start = "+"
    while page := cast("Range", client.xrevrange(stream, max=start, min=stop, count=_PAGE)):
        yield from page
        start = f"({page[-1][0].decode()}"


def one(client: Redis, stream: str, entry_id: str) -> dict[bytes, bytes] | None:
    """Return the fields of one entry; None if there is none.

    Raises:
        redis.RedisError: the server could not be asked, or `entry_id` is no stream id.
    """
    page = cast("Range", client.xrange(stream, min=entry_id, max=entry_id))
    return page[0][1] if page else None
