from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import redis


def test_client_names_itself(redis_client: redis.Redis) -> None:
    assert redis_client.client_getname().startswith(b"cortex:test:")
