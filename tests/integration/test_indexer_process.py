"""The real indexer process, with the real encoder, on a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from indexer_trees import KEYS, git, source, write

from contracts.messages import FileChange
from indexer.watch import publish_changes
from streams.connect import connect
from tests.encoders import small_encoder
from tests.system import running, spawn, terminate, wait_until
from vectors.collection import Collection
from vectors.follow import Follower
from vectors.log import OtherEncoder, current_versions
from vectors.succession import log_embedder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

LOADED = 90  # seconds, while other tests run and the encoder may have to be exported first


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Redis]:
    """A server of the test's own, which the processes under test find in the same folder."""
    with connect(data_dir=tmp_path / ".cortex") as made:
        yield made


def committed(client: Redis) -> set[str]:
    states = current_versions(client, KEYS.file_versions("code"))
    return {path for path, state in states.items() if state.content_hash}


def settled(client: Redis) -> bool:
    groups = client.xinfo_groups(KEYS.files) if client.exists(KEYS.files) else []
    return bool(groups) and groups[0]["pending"] == groups[0]["lag"] == 0


def test_indexers_reconcile_follow_a_watch_and_leave_a_snapshot(
    client: Redis, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    for name in ("a", "b", "c"):
        write(root, f"{name}.py", source(name))
    options = {"CORTEX_ROOT": str(root), "SNAPSHOT_INTERVAL_S": "1"}
    processes = [spawn("indexer", cwd=tmp_path, **options) for _ in range(2)]
    with running(processes):
        wait_until(lambda: committed(client) == {"a.py", "b.py", "c.py"}, LOADED, "a first index")

        processes.append(spawn("watch", str(root), cwd=tmp_path))
        git(root, "init", "-q")
        store = tmp_path / ".cortex" / "store"
        wait_until((store / "code" / "manifest.json").exists, LOADED, "a snapshot")
        write(root, "d.py", source("d"))
        write(root, "d.py", source("later"))
        publish_changes(client, KEYS, [FileChange(op="put", path="d.py")])
        (root / "a.py").unlink()
        publish_changes(client, KEYS, [FileChange(op="delete", path="a.py")])
        wait_until(lambda: committed(client) == {"b.py", "c.py", "d.py"}, LOADED, "the changes")
        wait_until(lambda: settled(client), LOADED, "everything acknowledged")

        assert [terminate(process, LOADED) for process in processes[:2]] == [0, 0]
    assert not client.exists(KEYS.dead)
    assert Collection.open(store, "code").chunk_count > 0


def test_an_indexer_killed_at_work_leaves_it_to_the_next(client: Redis, tmp_path: Path) -> None:
    root = tmp_path / "root"
    paths = [f"{n}.py" for n in range(40)]
    for number, path in enumerate(paths):
        write(root, path, source(f"f{number}"))
    options = {"CORTEX_ROOT": str(root), "INDEXER_LEASE_MS": "500"}
    options |= {"INDEXER_SHARED_EMBEDDINGS": "1000"}
    processes = [spawn("indexer", cwd=tmp_path, **options)]
    with running(processes):
        wait_until(lambda: len(committed(client)) >= 3, LOADED, "the work begun")
        processes[0].kill()
        processes.append(spawn("indexer", cwd=tmp_path, **options))
        wait_until(lambda: committed(client) == set(paths), LOADED, "the work done")
        wait_until(lambda: settled(client), LOADED, "everything acknowledged")
    assert not client.exists(KEYS.dead)
    assert client.hlen(KEYS.embeddings[0]) >= len(paths)


def test_an_indexer_with_another_model_takes_over_once_it_has_embedded_everything(
    client: Redis, tmp_path: Path
) -> None:
    root, store = tmp_path / "root", tmp_path / ".cortex" / "store"
    for name in ("a", "b", "c"):
        write(root, f"{name}.py", source(name))
    options = {"CORTEX_ROOT": str(root), "SNAPSHOT_INTERVAL_S": "1"}
    processes = [spawn("indexer", cwd=tmp_path, **options)]
    with running(processes):
        wait_until((store / "code" / "manifest.json").exists, LOADED, "a snapshot")
        reader = Follower(client, Collection.open(store, "code"), store, KEYS.vectors("code"))
        model = small_encoder(tmp_path)
        options |= {"CORTEX_ENCODER": str(model), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        processes.append(spawn("indexer", cwd=tmp_path, **options))

        # Exporting the model takes it a while, in which the old one goes on.
        write(root, "d.py", source("d"))
        publish_changes(client, KEYS, [FileChange(op="put", path="d.py")])
        wait_until(lambda: reader.poll() >= 0 and reader.collection.holds("d.py"), LOADED, "d.py")
        assert not reader.stale

        def taken_over() -> bool:
            try:
                reader.poll()
            except OtherEncoder:
                return True
            return False

        wait_until(taken_over, 2 * LOADED, "the new encoder's log")  # torch, an export, a start
        assert reader.collection.files().keys() == {"a.py", "b.py", "c.py", "d.py"}
        assert processes[0].wait(LOADED) != 0
        new = Collection.open(store, "code")
        assert new.dim == 32
        assert new.embedder == log_embedder(client, KEYS.vectors("code"))
        follower = Follower(client, new, store, KEYS.vectors("code"))
        wait_until(lambda: follower.poll() >= 0 and new.holds("d.py"), LOADED, "all in the new one")
        assert new.files().keys() == {"a.py", "b.py", "c.py", "d.py"}
        assert terminate(processes[1], LOADED) == 0
