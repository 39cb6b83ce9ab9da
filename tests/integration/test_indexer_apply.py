from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
from indexer_trees import KEYS, HashEncoder, contents, git, open_indexer, put, source, write

from contracts import reasons
from contracts.encode import file_change_fields
from contracts.errors import TransientError
from contracts.messages import FileChange
from indexer.build import build_store
from indexer.handle import Handler
from indexer.reconcile import reconcile
from indexer.scan import Rules, Tree
from indexer.snapshots import Snapshots
from streams.entry import Ack, Bury, Entry, Leave
from vectors.collection import Collection
from vectors.log import OtherEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from redis import Redis

    from indexer.apply import Indexer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def indexer(redis_client: Redis, root: Path, tmp_path: Path) -> Indexer:
    return open_indexer(redis_client, root, tmp_path / "store")


def misses(indexer: Indexer) -> int:
    assert isinstance(indexer.encoder, HashEncoder)
    return indexer.encoder.misses


def indexed(indexer: Indexer) -> set[str]:
    indexer.ledger.refresh()
    return set(indexer.ledger.collection.files())


def rebuilt(root: Path, store: Path) -> Collection:
    build_store(root, store, HashEncoder())
    return Collection.open(store, "code")


def same_as_rebuilt(indexer: Indexer, store: Path) -> bool:
    fresh = rebuilt(indexer.root, store)
    hashes = {path: state.content_hash for path, state in fresh.files().items()}
    indexer.ledger.refresh()
    kept = indexer.ledger.collection
    assert {path: state.content_hash for path, state in kept.files().items()} == hashes
    return contents(kept) == contents(fresh)


def test_a_put_is_found_a_change_replaces_it_and_a_deletion_leaves_nothing(
    indexer: Indexer, root: Path
) -> None:
    write(root, "a.py", source("first"))
    assert list(indexer.apply(put("a.py"))) == ["a.py"]
    indexer.ledger.refresh()
    assert [c.symbol for c, _ in contents(indexer.ledger.collection)["a.py"]] == [
        "first_0",
        "first_1",
        "first_2",
    ]

    write(root, "a.py", source("second"))
    assert list(indexer.apply(put("a.py"))) == ["a.py"]
    indexer.ledger.refresh()
    assert {c.symbol for c, _ in contents(indexer.ledger.collection)["a.py"]} == {
        "second_0",
        "second_1",
        "second_2",
    }

    (root / "a.py").unlink()
    assert list(indexer.apply([FileChange(op="delete", path="a.py")])) == ["a.py"]
    indexer.ledger.refresh()
    assert contents(indexer.ledger.collection) == {}
    assert indexer.ledger.collection.files() == {}


def test_an_event_is_a_hint(indexer: Indexer, root: Path) -> None:
    write(root, "there.py")
    write(root, "doubled.py")

    lies = [
        FileChange(op="delete", path="there.py"),
        FileChange(op="put", path="gone.py"),
        *put("doubled.py", "doubled.py"),
        *put("../outside.py", "/etc/hostname"),
    ]

    assert list(indexer.apply(lies)) == ["there.py", "doubled.py"]
    assert list(indexer.apply(lies)) == []
    assert indexed(indexer) == {"there.py", "doubled.py"}


def test_a_move_embeds_nothing(indexer: Indexer, root: Path) -> None:
    for name in ("a", "b", "c"):
        write(root, f"old/{name}.py", source(name))
    list(indexer.apply(put("old")))
    before = misses(indexer)

    (root / "old").rename(root / "new")
    list(indexer.apply([FileChange(op="move", path="new", old_path="old")]))

    assert indexed(indexer) == {"new/a.py", "new/b.py", "new/c.py"}
    assert misses(indexer) == before == 9


def test_one_changed_function_embeds_one_chunk(indexer: Indexer, root: Path) -> None:
    write(root, "a.py", source("name", functions=20))
    list(indexer.apply(put("a.py")))
    before = misses(indexer)

    write(root, "a.py", source("name", functions=20).replace("def name_7", "def other"))
    list(indexer.apply(put("a.py")))

    assert misses(indexer) == before + 1


def test_a_directory_stands_for_its_files(indexer: Indexer, root: Path) -> None:
    for path in ("d/a.py", "d/e/b.py", "d.py"):
        write(root, path)
    list(indexer.apply(put("d")))
    assert indexed(indexer) == {"d/a.py", "d/e/b.py"}

    (root / "d/a.py").unlink()
    (root / "d/e/b.py").unlink()
    (root / "d/e").rmdir()
    (root / "d").rmdir()
    list(indexer.apply([FileChange(op="delete", path="d")]))
    assert indexed(indexer) == set()


def test_a_file_may_become_a_directory_and_back(indexer: Indexer, root: Path) -> None:
    write(root, "x", "a file")
    list(indexer.apply(put("x")))
    (root / "x").unlink()
    write(root, "x/y", "in a directory")
    list(indexer.apply(put("x")))
    assert indexed(indexer) == {"x/y"}

    (root / "x/y").unlink()
    (root / "x").rmdir()
    write(root, "x", "a file")
    list(indexer.apply(put("x")))
    assert indexed(indexer) == {"x"}


def test_a_gitignore_stands_for_its_directory(indexer: Indexer, root: Path) -> None:
    for path in ("d/a.py", "d/b.md", "c.py"):
        write(root, path)
    list(indexer.apply(put("d", "c.py")))

    write(root, "d/.gitignore", "*.py\n")
    list(indexer.apply(put("d/.gitignore")))

    assert indexed(indexer) == {"d/.gitignore", "d/b.md", "c.py"}


def test_what_stops_counting_leaves_the_index(indexer: Indexer, root: Path) -> None:
    write(root, "a.py")
    write(root, "b.py")
    list(indexer.apply(put("a.py", "b.py")))

    write(root, "a.py", b"\0binary")
    (root / "b.py").unlink()
    (root / "b.py").symlink_to("/etc/hostname")
    list(indexer.apply(put("a.py", "b.py")))

    assert indexed(indexer) == set()


def test_nothing_is_committed_while_the_encoder_fails_and_all_of_it_afterwards(
    indexer: Indexer, root: Path
) -> None:
    assert isinstance(indexer.encoder, HashEncoder)
    write(root, "a.py")
    indexer.encoder.failing = True
    with pytest.raises(TransientError, match="cannot encode"):
        list(indexer.apply(put("a.py")))
    assert indexed(indexer) == set()

    indexer.encoder.failing = False
    assert list(indexer.apply(put("a.py"))) == ["a.py"]


def test_indexers_that_race_over_a_file_end_with_what_it_says(
    redis_client: Redis, root: Path, tmp_path: Path
) -> None:
    one, two = (open_indexer(redis_client, root, tmp_path / "store") for _ in range(2))
    write(root, "a.py", "first")
    racing = one.apply(put("a.py"))
    assert next(racing) == "a.py"

    write(root, "a.py", "second")
    assert list(two.apply(put("a.py"))) == ["a.py"]
    write(root, "a.py", "third")
    # `one` has not seen the second commit: its own is refused, and it looks again.
    assert list(one.apply(put("a.py"))) == ["a.py"]
    assert list(two.apply(put("a.py"))) == []

    two.ledger.refresh()
    assert contents(two.ledger.collection)["a.py"][0][0].text == "third"
    assert two.ledger.collection.files()["a.py"].version == 3


def test_a_commit_from_stale_knowledge_is_refused_and_looked_at_again(
    redis_client: Redis, root: Path, tmp_path: Path
) -> None:
    one, two = (open_indexer(redis_client, root, tmp_path / "store") for _ in range(2))
    write(root, "a.py", "first")
    list(one.apply(put("a.py")))
    assert list(two.apply(put("a.py"))) == []
    known = one.ledger.version("a.py")
    assert two.ledger.commit("a.py", "f" * 64, [], b"", known)
    (root / "a.py").unlink()

    assert not one.ledger.commit("a.py", "", [], b"", known)
    assert list(one.apply(put("a.py"))) == ["a.py"]
    assert indexed(two) == set()


def test_no_commit_undoes_one_that_came_after_its_file_was_read(
    redis_client: Redis, root: Path, tmp_path: Path
) -> None:
    write(root, "a.py", source("first"))
    slow, quick = (open_indexer(redis_client, root, tmp_path / "store") for _ in range(2))
    assert isinstance(slow.encoder, HashEncoder)
    encode = slow.encoder.encode

    def overtaken(texts: Sequence[str]) -> NDArray[np.float32]:
        write(root, "a.py", source("second"))
        list(quick.apply(put("a.py")))
        return encode(texts)

    slow.encoder.encode = overtaken  # type: ignore[method-assign] # slow enough to be overtaken
    list(slow.apply(put("a.py")))

    assert same_as_rebuilt(slow, tmp_path / "fresh")
    assert same_as_rebuilt(quick, tmp_path / "fresh again")


def test_a_file_put_back_while_its_change_is_committed_ends_as_it_is(
    redis_client: Redis, root: Path, tmp_path: Path
) -> None:
    """Whoever is told that it was put back sees nothing new, as the change is not in yet."""
    slow, quick = (open_indexer(redis_client, root, tmp_path / "store") for _ in range(2))
    write(root, "a.py", source("first"))
    list(slow.apply(put("a.py")))
    assert isinstance(slow.encoder, HashEncoder)
    encode = slow.encoder.encode

    def put_back(texts: Sequence[str]) -> NDArray[np.float32]:
        slow.encoder.encode = encode  # type: ignore[method-assign] # only the first time
        write(root, "a.py", source("first"))
        assert list(quick.apply(put("a.py"))) == []
        return encode(texts)

    slow.encoder.encode = put_back  # type: ignore[method-assign] # slow enough to be overtaken
    write(root, "a.py", source("second"))
    list(slow.apply(put("a.py")))

    assert same_as_rebuilt(quick, tmp_path / "fresh")


def test_an_indexer_with_another_encoder_embeds_everything_anew(
    redis_client: Redis, root: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write(root, f"{name}.py", source(name))
    store = tmp_path / "store"
    old = open_indexer(redis_client, root, store)
    list(old.apply(put("a.py", "b.py")))
    assert Snapshots(redis_client, KEYS, old.ledger, store).write()

    new = open_indexer(redis_client, root, store, HashEncoder("new"))
    assert indexed(new) == set()
    list(new.apply(put("a.py", "b.py")))
    assert misses(new) == 6
    assert Snapshots(redis_client, KEYS, new.ledger, store).write()
    assert Collection.open(store, "code", embedder="new").files().keys() == {"a.py", "b.py"}
    assert same_as_rebuilt(new, tmp_path / "rebuilt")

    write(root, "a.py", "later")
    with pytest.raises(OtherEncoder, match="embedded by new, not by hash"):
        list(old.apply(put("a.py")))


def test_a_checkout_that_changes_many_files_ends_equal_to_a_rebuild(
    indexer: Indexer, root: Path, tmp_path: Path
) -> None:
    rng = random.Random(7)
    git(root, "init", "-q", "-b", "one")
    paths = [f"{rng.choice('abc')}/{rng.choice('de')}/{n}.py" for n in range(60)]
    for path in paths:
        write(root, path, source(f"f{rng.randrange(40)}", functions=rng.randrange(1, 4)))
    write(root, "README.md", "# Title\n\ntext\n")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    list(indexer.apply(put("a", "b", "c", "README.md")))
    assert same_as_rebuilt(indexer, tmp_path / "fresh1")

    git(root, "checkout", "-qb", "two")
    for path in rng.sample(paths, 30):
        (root / path).unlink()
    for path in rng.sample(paths, 20):
        write(root, path, source(f"g{rng.randrange(40)}"))
    (root / "a").rename(root / "moved")
    write(root, ".gitignore", "b/d/\n")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "two")
    for branch in ("one", "two", "one", "two"):
        git(root, "checkout", "-q", branch)
        touched = [*paths, "moved", "a", ".gitignore", "README.md"]
        rng.shuffle(touched)
        list(indexer.apply(put(*touched)))
        assert same_as_rebuilt(indexer, tmp_path / f"fresh-{branch}")


def test_switching_back_to_a_branch_embeds_nothing(indexer: Indexer, root: Path) -> None:
    git(root, "init", "-q", "-b", "one")
    write(root, "a.py", source("one"))
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    list(indexer.apply(put("a.py")))
    git(root, "checkout", "-qb", "two")
    write(root, "a.py", source("two"))
    git(root, "commit", "-qam", "two")
    list(indexer.apply(put("a.py")))
    before = misses(indexer)

    git(root, "checkout", "-q", "one")

    assert list(indexer.apply(put("a.py"))) == ["a.py"]
    assert misses(indexer) == before


def test_reconciling_repairs_every_kind_of_drift(
    indexer: Indexer, root: Path, tmp_path: Path
) -> None:
    for name in ("same.py", "stale.py", "extra.py"):
        write(root, name, source(name[:-3]))
    list(indexer.apply(put("same.py", "stale.py", "extra.py")))
    write(root, "stale.py", "changed")
    write(root, "missing.py", "new")
    write(root, "binary.py", b"\0")
    (root / "extra.py").unlink()
    published: list[FileChange] = []

    tree = Tree(root, Rules())
    report = reconcile(tree, indexer.ledger.refresh(), published.extend)

    assert (report.current, report.missing, report.stale, report.extra) == (1, 1, 1, 1)
    list(indexer.apply(published))
    assert same_as_rebuilt(indexer, tmp_path / "fresh")
    again = reconcile(tree, indexer.ledger.refresh(), published.extend)
    assert (again.drift, again.current) == (0, 3)


def test_an_empty_tree_is_taken_for_an_unmounted_one(indexer: Indexer, root: Path) -> None:
    write(root, "a.py")
    list(indexer.apply(put("a.py")))
    (root / "a.py").unlink()
    published: list[FileChange] = []

    report = reconcile(Tree(root, Rules()), indexer.ledger.refresh(), published.extend)

    assert (published, report.extra) == ([], 0)


def test_a_store_built_offline_is_taken_over_without_embedding(
    redis_client: Redis, root: Path, tmp_path: Path
) -> None:
    for name in "abc":
        write(root, f"{name}.py", source(name))
    build_store(root, tmp_path / "store", HashEncoder())
    indexer = open_indexer(redis_client, root, tmp_path / "store")

    assert list(indexer.apply(put("a.py", "b.py", "c.py"))) == []
    write(root, "b.py", source("changed"))
    assert list(indexer.apply(put("b.py"))) == ["b.py"]
    assert misses(indexer) == 3
    assert same_as_rebuilt(indexer, tmp_path / "fresh")


def entry(number: int, fields: dict[str, str | bytes], attempt: int = 1) -> Entry:
    encoded = {
        name.encode(): value if isinstance(value, bytes) else value.encode()
        for name, value in fields.items()
    }
    return Entry(KEYS.files, f"{number}-0".encode(), encoded, attempt, 0.0)


def test_every_entry_of_a_batch_gets_its_settlement(indexer: Indexer, root: Path) -> None:
    write(root, "a.py")
    handler = Handler({"code": indexer}, max_deliveries=3)
    good = file_change_fields(put("a.py")[0])
    batch = [
        entry(1, dict(good)),
        entry(2, {"op": "explode", "path": "a.py"}),
        entry(3, {"op": "put", "path": "../a.py"}),
        entry(4, {"op": "put", "path": "a.py", "collection": "other"}),
        entry(5, dict(good), attempt=4),
    ]

    settled = {each.entry.id: each for each in handler(batch)}

    assert settled[b"1-0"] == Ack(batch[0])
    buried = [settled[f"{n}-0".encode()] for n in (2, 3, 4, 5)]
    assert [each.reason for each in buried if isinstance(each, Bury)] == [
        reasons.INVALID_VALUE,
        reasons.INVALID_PATH,
        reasons.INVALID_NAME,
        reasons.TOO_MANY_DELIVERIES,
    ]
    assert indexed(indexer) == {"a.py"}


def test_what_fails_for_the_moment_stays_pending(indexer: Indexer, root: Path) -> None:
    assert isinstance(indexer.encoder, HashEncoder)
    write(root, "a.py")
    indexer.encoder.failing = True
    batch = [entry(1, dict(file_change_fields(put("a.py")[0])))]

    assert Handler({"code": indexer}, max_deliveries=3)(batch) == [Leave(batch[0])]


def test_a_pipe_among_the_files_holds_nothing_up(indexer: Indexer, root: Path) -> None:
    os.mkfifo(root / "pipe.py")
    write(root, "a.py")

    assert list(indexer.apply(put("pipe.py", "a.py"))) == ["a.py"]
