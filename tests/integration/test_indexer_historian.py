"""Past work is remembered as it happens, by as many indexers as there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from indexer_trees import KEYS, HashEncoder, contents, git, source, write

from indexer import historian as module
from indexer.commit import Ledger
from indexer.historian import Historian
from indexer.snapshots import Snapshots
from vectors.collection import Collection
from vectors.memory import HISTORY

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

NAME = "code" + HISTORY


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_S", 0.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    git(folder, "init", "-q")
    return folder


def commit(root: Path, subject: str, *names: str) -> None:
    for name in names:
        write(root, name, source(subject.replace(" ", "_")))
    git(root, "add", "--all")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", subject)


def historian(client: Redis, root: Path, store: Path) -> Historian:
    encoder = HashEncoder()
    return Historian(root, Ledger(client, KEYS, store, NAME, encoder), encoder)


def said(each: Historian) -> list[str]:
    each.ledger.refresh()
    chunks = contents(each.ledger.collection).values()
    return sorted(chunk.searched_text for [(chunk, _vector)] in chunks)


def test_commits_are_remembered_as_they_come(
    redis_client: Redis, root: Path, tmp_path: Path
) -> None:
    keeper = historian(redis_client, root, tmp_path / "store")
    keeper()
    assert said(keeper) == []  # a repository without a commit yet
    commit(root, "work begun", "a.py", "b.py")
    keeper()
    assert said(keeper) == ["work begun"]
    commit(root, "work done", "b.py")
    keeper()
    keeper()
    assert said(keeper) == ["work begun", "work done"]
    assert keeper.ledger.collection.chunk_count == 2


def test_several_remember_each_commit_once(redis_client: Redis, root: Path, tmp_path: Path) -> None:
    keepers = [historian(redis_client, root, tmp_path / "store") for _ in range(2)]
    for number in range(5):
        commit(root, f"work {number}", f"f{number}.py")
    for keeper in keepers:
        keeper()
    assert redis_client.xlen(KEYS.vectors(NAME)) == 5
    assert [said(keeper) for keeper in keepers] == [[f"work {n}" for n in range(5)]] * 2


def test_a_snapshot_carries_on_and_a_lost_log_is_made_anew(
    redis_client: Redis, root: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    commit(root, "work begun", "a.py")
    keeper = historian(redis_client, root, store)
    keeper()
    keeper.ledger.refresh()
    snapshots = Snapshots(redis_client, KEYS, keeper.ledger, store, every_chunks=1)
    assert snapshots.write()
    assert Collection.open(store, NAME).chunk_count == 1

    redis_client.flushall()
    commit(root, "work done", "a.py")
    keeper()
    assert said(keeper) == ["work begun", "work done"]
    assert not keeper.ledger.started_over
    assert snapshots.write()
    assert said(historian(redis_client, root, store)) == ["work begun", "work done"]


def test_many_commits_are_taken_a_few_at_a_time(
    redis_client: Redis, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ENCODED_AT_ONCE", 2)
    for number in range(5):
        commit(root, f"work {number}", "a.py")
    keeper = historian(redis_client, root, tmp_path / "store")
    seen = []
    for _ in range(3):
        keeper()
        seen.append(len(said(keeper)))
    assert seen == [2, 4, 5]
    assert said(keeper)[0] == "work 0"


def test_what_was_amended_is_told_anew_and_a_commit_that_is_gone_holds_nothing_up(
    redis_client: Redis, root: Path, tmp_path: Path
) -> None:
    commit(root, "work begun", "a.py")
    keeper = historian(redis_client, root, tmp_path / "store")
    keeper()
    git(root, "commit", "-q", "--amend", "-m", "work told better")
    git(root, "reflog", "expire", "--expire=now", "--all")
    git(root, "gc", "-q", "--prune=now")
    keeper()
    assert said(keeper) == ["work begun", "work told better"]
