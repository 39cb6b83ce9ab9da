from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from indexer_trees import KEYS

from streams.lease import LEASE_MS, acquire, hold, release

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

LEASE = KEYS.snapshot_lease("code")


def test_the_lease_is_given_once_and_its_tokens_only_grow(redis_client: Redis) -> None:
    first = acquire(redis_client, LEASE)
    assert first is not None
    assert acquire(redis_client, LEASE) is None

    release(redis_client, LEASE, first + 1)
    assert acquire(redis_client, LEASE) is None
    release(redis_client, LEASE, first)
    second = acquire(redis_client, LEASE)
    assert second is not None
    assert second > first

    redis_client.flushall()
    third = acquire(redis_client, LEASE, floor=second)
    assert third is not None
    assert third > second


@pytest.mark.parametrize("left_ms", [3_600_000, None])
def test_a_lease_longer_than_any_is_over(redis_client: Redis, left_ms: int | None) -> None:
    """A clock set back leaves keys that expire far in the future."""
    dead = acquire(redis_client, LEASE)
    assert dead is not None
    redis_client.set(LEASE, dead, px=left_ms)
    taken = acquire(redis_client, LEASE)
    assert taken is not None
    assert taken > dead
    assert 0 < redis_client.pttl(LEASE) <= LEASE_MS


def test_a_lease_is_held_for_as_long_as_the_work_takes_and_no_longer(
    redis_client: Redis, eventually: Callable[..., None]
) -> None:
    with hold(redis_client, LEASE, lease_ms=3_000) as token:
        assert token is not None
        redis_client.pexpire(LEASE, 2_000)
        eventually(lambda: redis_client.pttl(LEASE) > 2_000)
        with hold(redis_client, LEASE, lease_ms=3_000) as other:
            assert other is None
        assert redis_client.get(LEASE) == str(token).encode()
    assert not redis_client.exists(LEASE)
    assert "lease" not in {thread.name for thread in threading.enumerate()}
