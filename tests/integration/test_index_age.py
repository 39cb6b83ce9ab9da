"""How old the index may be: indexers say it, workers follow it, decisions carry it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from indexer_trees import KEYS, HashEncoder, open_indexer, put, source, write
from structlog.testing import capture_logs

from contracts.messages import FileChange
from contracts.settings import load
from indexer.currency import Currency
from indexer.watch import publish_changes
from router.masters import Masters
from streams.keys import INDEXERS
from streams.scripts import run
from vectors.currency import read_age, say_current
from worker.context import open_retriever
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from redis import Redis

    from worker.context import IndexRetriever

LOG = KEYS.vectors("code")
LIMIT_S = 2
CHANGE = FileChange(op="put", path="a.py")


def now_ms(client: Redis) -> int:
    seconds, micros = client.time()
    return int(seconds * 1000 + micros // 1000)


def settled_until(client: Redis) -> int | None:
    moment: int | None = run(client, "settled_until", [KEYS.files], [INDEXERS])
    return moment


def test_without_a_group_nobody_knows(redis_client: Redis) -> None:
    assert settled_until(redis_client) is None
    publish_changes(redis_client, KEYS, [CHANGE])
    assert settled_until(redis_client) is None


def test_the_oldest_change_that_is_unread_or_pending_counts(redis_client: Redis) -> None:
    redis_client.xgroup_create(KEYS.files, INDEXERS, "0", mkstream=True)
    before = now_ms(redis_client)
    assert before <= (settled_until(redis_client) or 0) <= now_ms(redis_client)
    ids = []
    for _ in range(2):
        ids.append(redis_client.xadd(KEYS.files, {"op": "put", "path": "a.py"}))
        time.sleep(0.002)
    moments = [int(each.split(b"-")[0]) for each in ids]
    assert settled_until(redis_client) == moments[0]
    redis_client.xreadgroup(INDEXERS, "one", {KEYS.files: ">"}, count=1)
    assert settled_until(redis_client) == moments[0]
    redis_client.xack(KEYS.files, INDEXERS, ids[0])
    assert settled_until(redis_client) == moments[1]
    redis_client.xreadgroup(INDEXERS, "one", {KEYS.files: ">"}, count=1)
    redis_client.xack(KEYS.files, INDEXERS, ids[1])
    assert (settled_until(redis_client) or 0) > moments[1]
    redis_client.xtrim(KEYS.files, maxlen=0)
    assert (settled_until(redis_client) or 0) > moments[1]


def test_an_indexer_says_it_only_once_it_knows_everything(redis_client: Redis) -> None:
    redis_client.xgroup_create(KEYS.files, INDEXERS, "0", mkstream=True)
    known = []
    currency = Currency(redis_client, KEYS, ["code", "docs"], lambda: bool(known))
    currency.say_if_due()
    assert read_age(redis_client, LOG) is None
    known.append(True)
    currency.say_if_due()
    ages = [read_age(redis_client, KEYS.vectors(name)) for name in ("code", "docs")]
    assert all(age is not None and age < 5 for age in ages)


def test_a_clock_that_went_back_makes_no_negative_age(redis_client: Redis) -> None:
    say_current(redis_client, LOG, now_ms(redis_client) + 3_600_000)
    assert read_age(redis_client, LOG) == 0


@pytest.fixture
def retriever(redis_client: Redis, tmp_path: Path) -> Iterator[IndexRetriever]:
    """A worker's retriever over an index of one file, that is soon too old."""
    root, store = tmp_path / "root", tmp_path / "store"
    write(root, "a.py", source("first"))
    list(open_indexer(redis_client, root, store).apply(put("a.py")))
    environment = {"VECTORSTORE_PATH": str(store), "WORKER_INDEX_AGE_S": str(LIMIT_S)}
    settings = load(Settings, environment)
    masters = Masters.parse(settings.masters_text)
    opened = open_retriever(settings, masters, HashEncoder(), KEYS, redis_client)
    yield opened
    opened.close()
    for thread in threading.enumerate():
        if thread.name.startswith(("follow-", "guard-")):
            thread.join(10)


def asked(retriever: IndexRetriever) -> tuple[str, int | None]:
    text = ["compute first_0"]
    found = retriever.retrieve(text, HashEncoder().encode(text), ["development-master"])[0]
    return found.status, found.age_ms


def test_an_index_that_is_not_kept_is_limited_and_both_turns_are_said(
    redis_client: Redis, retriever: IndexRetriever, eventually: Callable[..., None]
) -> None:
    assert asked(retriever) == ("ok", None)

    def kept() -> bool:
        say_current(redis_client, LOG, now_ms(redis_client))
        status, age_ms = asked(retriever)
        return status == "ok" and age_ms is not None

    with capture_logs() as logs:
        eventually(kept)
        assert not logs
        eventually(lambda: asked(retriever)[0] == "limited")
        assert (asked(retriever)[1] or 0) >= 1000 * LIMIT_S
        assert retriever.report()["code"]["outdated"] is True
        eventually(lambda: [line["event"] for line in logs] == ["index outdated"])
        eventually(lambda: kept() and logs[-1]["event"] == "index current again")
    assert [line["event"] for line in logs].count("index outdated") == 1


def test_an_age_nobody_renews_grows_even_where_its_key_is_lost(
    redis_client: Redis, retriever: IndexRetriever, eventually: Callable[..., None]
) -> None:
    say_current(redis_client, LOG, now_ms(redis_client))
    eventually(lambda: asked(retriever)[1] is not None)
    redis_client.delete(f"{LOG}:current")
    eventually(lambda: asked(retriever)[0] == "limited")
