"""Fixtures for everybody: real servers, from the embedded binary. If one cannot start, tests fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streams import embedded
from streams.connect import connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of one server for the whole session; it goes when the session ends."""
    data_dir = tmp_path_factory.mktemp("redis")
    yield f"unix://{embedded.ensure_running(data_dir)}"
    embedded.release(data_dir)


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the session's server, with nothing in it."""
    with connect(redis_url, role="test") as client:
        client.flushall()
        yield client
