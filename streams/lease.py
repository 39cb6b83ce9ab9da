"""A lease with a fencing token: one writer at a time, and the older of two is the one refused."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

LEASE_MS = 30_000  # how long a writer that was killed holds others up


@contextmanager
def hold(
    client: Redis, key: str, *, floor: int = 0, lease_ms: int = LEASE_MS
) -> Iterator[int | None]:
    """Hold a lease, renewed for as long as the block runs; see `acquire`.

    Yields:
        The fencing token, or None if someone else holds the lease. A process that is frozen loses
        the lease without noticing: whatever it writes must be refused by its token.
    """
    token = acquire(client, key, floor=floor, lease_ms=lease_ms)
    if token is None:
        yield None
        return
    done = threading.Event()
    renewal = threading.Thread(
        target=_renew, args=(client, key, token, lease_ms, done), name="lease", daemon=True
    )
    renewal.start()
    try:
        yield token
    finally:
        done.set()
        renewal.join()
        release(client, key, token)


def acquire(client: Redis, key: str, *, floor: int = 0, lease_ms: int = LEASE_MS) -> int | None:
    """Take a lease.

    The token is drawn before the lease is taken: whoever holds the lease later drew later, so a
    writer that slept through its lease is outranked (M. Kleppmann, "How to do distributed
    locking", 2016).

    Args:
        client: the server.
        key: the lease.
        floor: highest token seen in use; the new one is higher even if the server has lost its
            count.
        lease_ms: after this long the lease is free again by itself.

    Returns:
        A fencing token, or None if someone holds the lease.
    """
    token = int(client.incr(f"{key}:token"))
    if token <= floor:
        token = int(client.incrby(f"{key}:token", floor - token + 1))
    if client.set(key, token, nx=True, px=lease_ms):
        return token
    # Expiry is a point on the server's clock: if that was set back, it may be hours away. A holder
    # that lives has renewed it by the new clock, or is outranked.
    if client.pttl(key) in range(lease_ms + 1):
        return None
    client.set(key, token, px=lease_ms)
    return token


def release(client: Redis, key: str, token: int) -> None:
    """Give the lease back, if it is still ours. A lease lost in between costs no more than a turn.

    Even if it passes to someone else between the two commands, the tokens keep the order.
    """
    if is_held(client, key, token):
        client.delete(key)


def is_held(client: Redis, key: str, token: int) -> bool:
    """Whether a lease is still the one this token was drawn for."""
    return bool(client.get(key) == str(token).encode())


def _renew(client: Redis, key: str, token: int, lease_ms: int, done: threading.Event) -> None:
    while not done.wait(lease_ms / 3000):  # a third of it, in seconds
        try:
            if is_held(client, key, token):
                client.pexpire(key, lease_ms)
        except RedisError:
            continue  # the next turn may do it; if none does, the token is refused
