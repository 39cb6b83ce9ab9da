"""Workers whose index is in a Redis with the Query Engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from indexer_trees import KEYS, HashEncoder, open_indexer, put, source, write
from query_engine import query_engine

from contracts.errors import FatalError
from contracts.settings import load, redacted
from indexer.snapshots import Snapshots
from router.masters import Masters
from tests.system import wait_until
from vectors.log import trim
from worker.context import IndexRetriever, open_retriever
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

MASTER = "development-master"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with query_engine(tmp_path / "engine") as server:
        given = {"VECTORSTORE_PATH": str(tmp_path / "store"), "VECTOR_ENGINE": "redis"}
        yield load(Settings, given | {"VECTOR_REDIS_URL": server.url})


def paths(retriever: IndexRetriever, text: str) -> list[str]:
    (context,) = retriever.retrieve([text], HashEncoder().encode([text]), [MASTER])
    return [item.path for item in context.items]


def test_two_workers_share_one_index_that_follows_the_log(
    redis_client: Redis, tmp_path: Path, settings: Settings
) -> None:
    root = tmp_path / "root"
    write(root, "a.py", source("first"))
    indexer = open_indexer(redis_client, root, settings.store, HashEncoder())
    list(indexer.apply(put("a.py")))
    Snapshots(redis_client, KEYS, indexer.ledger, settings.store).write()
    write(root, "b.py", source("second"))
    list(indexer.apply(put("b.py")))
    log_key = KEYS.vectors("code")
    trim(redis_client, log_key, indexer.ledger.collection.position, keep=1)

    masters = Masters.parse(settings.masters_text)
    workers = [
        open_retriever(settings, masters, HashEncoder(), KEYS, redis_client) for _ in range(2)
    ]
    try:
        for each in workers:
            wait_until(lambda each=each: "a.py" in paths(each, "first_0"), 20, "the snapshot")  # type: ignore[misc]  # mypy knows no defaults of lambdas
            wait_until(lambda each=each: "b.py" in paths(each, "second_0"), 20, "the log")  # type: ignore[misc]  # likewise
        write(root, "c.py", source("third"))
        list(indexer.apply(put("c.py")))
        for each in workers:
            wait_until(lambda each=each: "c.py" in paths(each, "third_0"), 20, "the change")  # type: ignore[misc]  # likewise
    finally:
        for each in workers:
            each.close()


def test_the_redis_of_the_queue_is_never_that_of_the_vectors() -> None:
    url = "redis://:secret@queue:6379"
    for given in ({}, {"VECTOR_REDIS_URL": url}):
        settings = load(Settings, {"REDIS_URL": url, "VECTOR_ENGINE": "redis", **given})
        with pytest.raises(FatalError, match="VECTOR_REDIS_URL"):
            assert settings.vectors_at
        assert "secret" not in str(redacted(settings))
