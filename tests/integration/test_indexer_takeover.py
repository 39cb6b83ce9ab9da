"""Another encoder: embedded beside what is in use, and put in its place at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from indexer_trees import KEYS, HashEncoder, contents, open_indexer, put, source, write

from contracts.errors import TransientError
from indexer import takeover as module
from indexer.build import build_store
from indexer.reconcile import reconcile
from indexer.scan import Rules, Tree
from indexer.snapshots import Snapshots
from indexer.takeover import take_over
from streams.lease import acquire, release
from vectors.collection import Collection
from vectors.follow import Follower
from vectors.log import OtherEncoder
from vectors.memory import HISTORY, change
from vectors.succession import last_committed
from vectors.types import FileDelta

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from redis import Redis

    from indexer.apply import Indexer

LOG = KEYS.vectors("code")


class Narrow(HashEncoder):
    """Another encoder, with vectors of half the width."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        super().__init__("narrow")
        self.dim = HashEncoder.dim // 2
        self.before = before

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.before()
        vectors = super().encode(texts)[:, : self.dim]
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


class World:
    """A tree with an index of it, in use."""

    def __init__(self, client: Redis, folder: Path) -> None:
        self.client, self.root, self.store = client, folder / "root", folder / "store"
        for name in ("a", "b", "c"):
            write(self.root, f"{name}.py", source(name))
        self.old = open_indexer(client, self.root, self.store)
        list(self.old.apply(put("a.py", "b.py")))
        assert Snapshots(client, KEYS, self.old.ledger, self.store).write()
        list(self.old.apply(put("c.py")))

    def reader(self, embedder: str) -> Follower:
        collection = Collection.open(self.store, "code", embedder=embedder)
        return Follower(self.client, collection, self.store, LOG)

    def take_over(self, encoder: HashEncoder) -> None:
        take_over(
            self.client,
            keys=KEYS,
            store=self.store,
            sources={"code": self.root},
            rules=Rules(),
            encoder=encoder,
            beat=lambda: None,
        )

    def differs(self, indexer: Indexer) -> int:
        known = indexer.ledger.refresh()
        return reconcile(Tree(self.root, Rules()), known, lambda _changes: None).drift

    def same_as_rebuilt(self, indexer: Indexer, encoder: HashEncoder, store: Path) -> bool:
        build_store(self.root, store, encoder)
        indexer.ledger.refresh()
        kept, fresh = indexer.ledger.collection, Collection.open(store, "code")
        return bool(contents(kept) == contents(fresh))


@pytest.fixture
def world(redis_client: Redis, tmp_path: Path) -> World:
    return World(redis_client, tmp_path)


def test_the_old_index_is_kept_and_followed_until_the_new_one_is_whole(
    world: World, tmp_path: Path
) -> None:
    reader = world.reader("hash")

    def meanwhile() -> None:
        write(world.root, "a.py", source("meanwhile"))
        list(world.old.apply(put("a.py")))
        while reader.poll():
            pass
        assert not reader.stale
        assert reader.collection.files().keys() == {"a.py", "b.py", "c.py"}

    encoder = Narrow(meanwhile)
    world.take_over(encoder)
    encoder.before = lambda: None

    with pytest.raises(OtherEncoder):
        reader.poll()
    assert reader.stale
    assert reader.collection.chunk_count == 9  # limited, not gone
    write(world.root, "b.py", source("later"))
    with pytest.raises(OtherEncoder):
        list(world.old.apply(put("b.py")))

    new = open_indexer(world.client, world.root, world.store, encoder)
    assert new.ledger.collection.chunk_count == 9
    assert world.differs(new) == 2  # what was changed meanwhile and later, and nothing else
    list(new.apply(put("a.py", "b.py")))
    assert world.differs(new) == 0
    assert world.same_as_rebuilt(new, encoder, tmp_path / "rebuilt")
    follower = world.reader("narrow")
    while follower.poll():
        pass
    assert contents(follower.collection) == contents(new.ledger.collection)


def test_killed_before_the_switch_the_old_index_stands_and_nothing_is_embedded_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Narrow()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "succeed", killed)
        reader = world.reader("hash")
        with pytest.raises(KeyboardInterrupt):
            world.take_over(encoder)
    list(world.old.apply(put("a.py")))
    while reader.poll():
        pass
    assert not reader.stale
    with pytest.raises(OtherEncoder):  # a new one waits, rather than mixing the two
        world.reader("narrow").poll()

    embedded = encoder.misses
    world.take_over(encoder)
    assert encoder.misses == embedded == 9
    assert world.reader("narrow").poll() == 1
    assert open_indexer(world.client, world.root, world.store, encoder).ledger.collection.files()


def test_a_failing_encoder_leaves_everything_as_it_was(world: World) -> None:
    encoder = Narrow()
    encoder.failing = True
    with pytest.raises(TransientError, match="cannot encode"):
        world.take_over(encoder)
    write(world.root, "a.py", source("later"))
    assert list(world.old.apply(put("a.py"))) == ["a.py"]
    assert Snapshots(world.client, KEYS, world.old.ledger, world.store).write()


def test_of_two_indexers_one_embeds_and_the_other_waits_for_it(world: World) -> None:
    encoder = Narrow()
    lease = KEYS.snapshot_lease("code.anew")
    token = acquire(world.client, lease)
    assert token
    waited = []

    def wait() -> None:
        waited.append(1)
        release(world.client, lease, token)
        world.take_over(encoder)

    second = module.Takeover(
        world.client, KEYS, world.store, "code", "narrow", lambda: pytest.fail("embeds too"), wait
    )
    assert not second()
    assert waited == [1]


def test_the_same_encoder_changes_nothing(world: World) -> None:
    before = world.client.xinfo_stream(LOG)["last-generated-id"]
    encoder = HashEncoder()
    world.take_over(encoder)
    assert encoder.misses == 0
    assert world.client.xinfo_stream(LOG)["last-generated-id"] == before


def test_what_was_remembered_is_embedded_anew_from_snapshot_and_log(world: World) -> None:
    name, ledger = "code" + HISTORY, world.old.ledger
    history = type(ledger)(world.client, KEYS, world.store, name, HashEncoder())

    def remember(path: str, said: str) -> None:
        chunk = change(said, ["a.py"])
        vectors = world.old.encoder.encode([chunk.embedded_text]).astype("<f2").tobytes()
        assert history.commit(path, said, [chunk], vectors, history.version(path))

    remember("one", "the first thing that was said")
    remember("two", "the second thing that was said")
    assert Snapshots(world.client, KEYS, history, world.store).write()
    remember("three", "the third thing that was said")
    assert history.commit("one", "", [], b"", history.version("one"))
    known = last_committed(world.client, KEYS.vectors(name), world.store, name)
    assert {path: content_hash for path, (content_hash, _) in known.items()} == {
        "two": "the second thing that was said",
        "three": "the third thing that was said",
    }

    encoder = Narrow()
    world.take_over(encoder)
    fresh = Collection.open(world.store, name, embedder="narrow")
    expected = Collection.empty(name, encoder.dim, "narrow")
    for path, (content_hash, chunks) in known.items():
        vectors = encoder.encode([chunks[0].embedded_text]).astype("<f2").tobytes()
        expected.apply(
            FileDelta(
                path=path, version=1, content_hash=content_hash, chunks=chunks, vectors=vectors
            )
        )
    assert contents(fresh) == contents(expected)
