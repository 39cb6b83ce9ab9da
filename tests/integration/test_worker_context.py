"""What a worker's retriever says of an index that it cannot use, or not yet."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from indexer_trees import KEYS, HashEncoder, open_indexer, put, source, write
from msgspec import UNSET

from contracts.messages import FileChange
from contracts.settings import load
from indexer.apply import Indexer
from indexer.commit import Ledger
from indexer.scan import Rules
from indexer.snapshots import Snapshots
from router.masters import Masters
from tests.system import wait_until
from worker.context import IndexRetriever, open_retriever
from worker.embedding import Embedder
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from redis import Redis

ASKED = "compute first_0"
OURS = ("follow-", "guard-")


class Worker(NamedTuple):
    """The part of a worker that finds context."""

    embedder: Embedder
    retriever: IndexRetriever


def status(worker: Worker) -> str:
    embeddings = worker.embedder.embed([ASKED])
    return worker.retriever.retrieve([ASKED], embeddings, ["development-master"])[0].status


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(Settings, {"VECTORSTORE_PATH": str(tmp_path / "store")})


@pytest.fixture
def worker(redis_client: Redis, settings: Settings) -> Iterator[Callable[[str], Worker]]:
    """Open the context of a worker whose encoder has the given identity."""
    opened = []
    before = {*threading.enumerate()}

    def open_one(identity: str) -> Worker:
        embedder = Embedder(lambda: HashEncoder(identity))
        encoder = embedder.open()
        assert encoder is not None
        masters = Masters.parse(settings.masters_text)
        retriever = open_retriever(settings, masters, encoder, KEYS, redis_client)
        opened.append(Worker(embedder, retriever))
        return opened[-1]

    yield open_one
    for each in opened:
        each.embedder.close()
        each.retriever.close()
    threads = [
        each for each in threading.enumerate() if each.name.startswith(OURS) and each not in before
    ]
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


def test_a_worker_with_a_new_encoder_waits_for_its_index_and_one_with_the_old_says_so(
    redis_client: Redis,
    tmp_path: Path,
    settings: Settings,
    worker: Callable[[str], Worker],
) -> None:
    root = tmp_path / "root"
    write(root, "a.py", source("first"))
    old_indexer = open_indexer(redis_client, root, settings.store, HashEncoder("old"))
    list(old_indexer.apply(put("a.py")))
    Snapshots(redis_client, KEYS, old_indexer.ledger, settings.store).write()
    old, new = worker("old"), worker("new")
    assert (status(old), status(new)) == ("ok", "unavailable")

    new_indexer = open_indexer(redis_client, root, settings.store, HashEncoder("new"))
    list(new_indexer.apply(put("a.py")))
    wait_until(lambda: status(new) == "ok", 10, "the new worker follows the new log")
    wait_until(lambda: status(old) == "limited", 10, "the old worker says it is behind")
    assert status(worker("old")) == "limited"

    Snapshots(redis_client, KEYS, new_indexer.ledger, settings.store).write()
    assert status(worker("old")) == "unavailable"
    assert status(worker("new")) == "ok"


def test_faults_of_the_encoder_limit_what_is_found_and_pass(
    redis_client: Redis,
    tmp_path: Path,
    settings: Settings,
    worker: Callable[[str], Worker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(tmp_path / "root", "a.py", source("first"))
    indexer = open_indexer(redis_client, tmp_path / "root", settings.store, HashEncoder("one"))
    list(indexer.apply(put("a.py")))
    one = worker("one")
    encoder = one.embedder.open()
    assert encoder is not None

    def confused(_texts: object) -> NDArray[np.float32]:
        return np.full((1, encoder.dim), np.nan, np.float32)

    with monkeypatch.context() as fault:
        fault.setattr(encoder, "encode", confused)
        assert status(one) == "limited"  # its scores are not numbers
    with monkeypatch.context() as fault:
        fault.setattr(encoder, "encode", lambda _texts: 1 / 0)
        assert status(one) == "limited"
    assert status(one) == "ok"


def test_faults_of_the_index_leave_decisions_without_context(
    redis_client: Redis,
    tmp_path: Path,
    settings: Settings,
    worker: Callable[[str], Worker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(tmp_path / "root", "a.py", source("first"))
    indexer = open_indexer(redis_client, tmp_path / "root", settings.store, HashEncoder("one"))
    list(indexer.apply(put("a.py")))
    one = worker("one")
    with monkeypatch.context() as fault:
        collection = one.retriever.live["code"].collection
        fault.setattr(collection, "search_batch", lambda *_: 1 / 0)
        assert status(one) == "unavailable"
    assert status(one) == "ok"


def test_a_batch_of_any_size_is_answered_in_order(
    worker: Callable[[str], Worker],
) -> None:
    embedder, retriever = worker("one")
    texts = [f"text {number}" for number in range(70)]
    embeddings = embedder.embed(texts)
    assert embeddings is not None
    assert np.array_equal(embeddings, HashEncoder("one").encode(texts))
    assert len(retriever.retrieve(texts, embeddings, ["development-master"] * 70)) == 70


def test_a_collection_that_comes_later_is_searched_and_takes_no_thread_before(
    redis_client: Redis,
    tmp_path: Path,
    settings: Settings,
    worker: Callable[[str], Worker],
) -> None:
    write(tmp_path / "root", "a.py", source("first"))
    list(
        open_indexer(redis_client, tmp_path / "root", settings.store, HashEncoder("one")).apply(
            put("a.py")
        )
    )
    one = worker("one")
    following = {each.name for each in threading.enumerate()}
    assert "follow-code" in following
    assert "follow-docs" not in following

    encoder = HashEncoder("one")
    docs = Indexer(
        tmp_path / "docs",
        Rules(),
        Ledger(redis_client, KEYS, settings.store, "docs", encoder),
        encoder,
    )
    write(tmp_path / "docs", "guide.md", "# Umbrella\n\nHow umbrellas are folded.\n")
    list(docs.apply(put("guide.md")))

    def found() -> list[tuple[str, str]]:
        asked = ["how are umbrellas folded"]
        context = one.retriever.retrieve(asked, one.embedder.embed(asked), ["inventory-master"])[0]
        return [(item.collection, item.path) for item in context.items]

    wait_until(lambda: ("docs", "guide.md") in found(), 10, "the new collection is searched")


def test_each_place_names_what_is_related(
    redis_client: Redis,
    tmp_path: Path,
    settings: Settings,
    worker: Callable[[str], Worker],
) -> None:
    root = tmp_path / "root"
    write(root, "shop/cart.py", "from shop.prices import total\n\n\ndef fill_the_cart(): ...\n")
    write(root, "shop/prices.py", "def total(): ...\n")
    write(root, "tests/test_cart.py", "import unittest\n")
    indexer = open_indexer(redis_client, root, settings.store, HashEncoder("one"))
    list(indexer.apply(put("shop/cart.py", "shop/prices.py", "tests/test_cart.py")))
    one = worker("one")
    asked = ["fill the cart"]

    def related() -> list[str]:
        context = one.retriever.retrieve(asked, one.embedder.embed(asked), ["cicd-master"])[0]
        (cart,) = (item for item in context.items if item.path == "shop/cart.py")
        return [] if cart.related is UNSET else [*cart.related]

    around = {"shop/prices.py", "tests/test_cart.py"}
    wait_until(lambda: set(related()) == around, 10, "what is related is looked for")
    (root / "tests/test_cart.py").unlink()
    list(indexer.apply([FileChange(op="delete", path="tests/test_cart.py")]))
    wait_until(lambda: related() == ["shop/prices.py"], 10, "what is gone is not related")
