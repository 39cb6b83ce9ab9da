"""When many files change at once their words are found before their vectors are there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from indexer_trees import KEYS, HashEncoder, contents, open_indexer, put, source, write

from contracts.errors import TransientError
from indexer import backlog
from indexer.apply import Indexer
from indexer.build import build_store
from indexer.commit import Ledger
from indexer.reconcile import reconcile
from indexer.scan import Rules, Tree
from indexer.snapshots import Snapshots
from vectors.collection import Collection

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

PATHS = [f"{name}.py" for name in ("one", "two", "three", "four")]


def always() -> bool:
    return True


class Tree4:
    """Four files of three chunks each, and indexers without any patience."""

    def __init__(self, client: Redis, folder: Path) -> None:
        self.client, self.root, self.store = client, folder / "root", folder / "store"
        for path in PATHS:
            write(self.root, path, source(path.removesuffix(".py")))

    def indexer(self, encoder: HashEncoder | None = None) -> Indexer:
        encoder = encoder or HashEncoder()
        ledger = Ledger(self.client, KEYS, self.store, "code", encoder)
        return Indexer(self.root, Rules(), ledger, encoder, patience_s=0.0)

    def same_as_rebuilt(self, indexer: Indexer) -> bool:
        fresh = self.store.parent / "fresh"
        build_store(self.root, fresh, HashEncoder())
        indexer.ledger.refresh()
        kept, rebuilt = indexer.ledger.collection, Collection.open(fresh, "code")
        hashes = {path: state.content_hash for path, state in rebuilt.files().items()}
        assert {path: state.content_hash for path, state in kept.files().items()} == hashes
        return bool(contents(kept) == contents(rebuilt))


@pytest.fixture
def tree(redis_client: Redis, tmp_path: Path) -> Tree4:
    return Tree4(redis_client, tmp_path)


def embedded(indexer: Indexer) -> set[str]:
    """Files with vectors."""
    indexer.ledger.refresh()
    rows = contents(indexer.ledger.collection)
    return {
        path
        for path, chunks in rows.items()
        if all(np.frombuffer(v, "<f2").any() for _, v in chunks)
    }


def found_by_words(collection: Collection, word: str) -> set[str]:
    return {hit.path for hit in collection.search(word, None, k=10)}


def test_words_are_found_at_once_and_vectors_follow_until_all_is_as_rebuilt(tree: Tree4) -> None:
    indexer = tree.indexer()
    assert list(indexer.apply(put(*PATHS))) == PATHS
    assert embedded(indexer) == set()
    assert found_by_words(indexer.ledger.collection, "three_1") == {"three.py"}

    done: list[set[str]] = []
    while indexer.catch_up(always):
        done.append(embedded(indexer))
    assert [len(each) for each in done] == [1, 2, 3]
    assert tree.same_as_rebuilt(indexer)
    assert not indexer.catch_up(always)


def test_what_a_cache_knows_takes_no_patience(tree: Tree4) -> None:
    quick = open_indexer(tree.client, tree.root, tree.store)
    quick = Indexer(quick.root, quick.rules, quick.ledger, quick.encoder, patience_s=5.0)
    list(quick.apply(put(*PATHS)))
    assert len(quick.backlog) == 0
    assert tree.same_as_rebuilt(quick)


def test_an_encoding_that_is_too_slow_leaves_the_rest_of_the_batch_for_later(tree: Tree4) -> None:
    indexer = tree.indexer()
    indexer = Indexer(
        tree.root, Rules(), indexer.ledger, indexer.encoder, patience_s=1e-9
    )  # the first file uses it up
    list(indexer.apply(put(*PATHS)))
    assert embedded(indexer) == {PATHS[0]}
    assert len(indexer.backlog) == 3


def test_neither_reconciliation_nor_a_snapshot_takes_words_for_all_there_is(tree: Tree4) -> None:
    first = tree.indexer()
    list(first.apply(put(*PATHS)))
    assert Snapshots(tree.client, KEYS, first.ledger, tree.store).write()
    first.ledger.refresh()
    assert found_by_words(Collection.open(tree.store, "code"), "two_0") == {"two.py"}

    after = open_indexer(tree.client, tree.root, tree.store)  # as after a crash
    published = []
    report = reconcile(Tree(tree.root, Rules()), after.ledger.refresh(), published.extend)
    assert report.stale == 4
    list(after.apply(published))
    assert tree.same_as_rebuilt(after)
    assert Snapshots(tree.client, KEYS, after.ledger, tree.store).write()
    assert contents(Collection.open(tree.store, "code")) == contents(after.ledger.collection)
    while first.catch_up(always):
        pass
    assert isinstance(first.encoder, HashEncoder)
    assert first.encoder.misses == 0  # somebody else had done it


def test_what_a_dead_indexer_left_is_taken_over_by_one_that_lives(
    tree: Tree4, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "_ADOPT_EVERY_S", 0.0)
    monkeypatch.setattr(backlog, "_PAUSE", 0.0)
    living = tree.indexer()
    dead = tree.indexer()
    list(dead.apply(put(*PATHS)))
    assert not living.catch_up(always)  # first it may be about to be done
    while living.catch_up(always):
        pass
    assert tree.same_as_rebuilt(living)


def test_a_change_meanwhile_and_a_deletion_win(tree: Tree4) -> None:
    indexer = tree.indexer()
    list(indexer.apply(put(*PATHS)))
    write(tree.root, PATHS[0], source("changed"))
    (tree.root / PATHS[1]).unlink()
    list(indexer.apply(put(*PATHS)))
    indexer.ledger.refresh()
    kept = contents(indexer.ledger.collection)
    assert kept.keys() == {"one.py", "three.py", "four.py"}
    assert {chunk.symbol for chunk, _ in kept["one.py"]} == {f"changed_{n}" for n in range(3)}
    while indexer.catch_up(always):
        pass
    assert tree.same_as_rebuilt(indexer)


def test_a_long_file_gives_way_between_slices_and_goes_on_where_it_was(tree: Tree4) -> None:
    write(tree.root, "long.py", source("long", functions=200))
    encoder = HashEncoder()
    indexer = tree.indexer(encoder)
    list(indexer.apply(put("long.py")))
    assert indexer.catch_up(lambda: encoder.misses < 128)
    assert encoder.misses == 128
    assert embedded(indexer) == set()
    assert not indexer.catch_up(always)
    assert encoder.misses == 200
    assert embedded(indexer) == {"long.py"}


def test_a_failing_encoder_is_tried_again(tree: Tree4) -> None:
    indexer = tree.indexer()
    assert isinstance(indexer.encoder, HashEncoder)
    list(indexer.apply(put(*PATHS)))
    indexer.encoder.failing = True
    with pytest.raises(TransientError, match="cannot encode"):
        indexer.catch_up(always)
    assert len(indexer.backlog) == 4
    indexer.encoder.failing = False
    while indexer.catch_up(always):
        pass
    assert tree.same_as_rebuilt(indexer)


def test_several_that_catch_up_at_once_end_in_the_same_index(tree: Tree4) -> None:
    first = tree.indexer()
    list(first.apply(put(*PATHS)))
    second = tree.indexer()
    list(second.apply(put(*PATHS)))
    assert len(second.backlog) == 4

    def work(indexer: Indexer) -> None:
        while indexer.catch_up(always):
            pass

    threads = [threading.Thread(target=work, args=(each,)) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tree.same_as_rebuilt(first)
