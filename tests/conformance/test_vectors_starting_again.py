"""A collection in the Query Engine that starts again from a snapshot while others use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from corpus import DIM, put, vector
from query_engine import query_engine

from contracts.errors import TransientError
from streams.connect import connect
from vectors.collection import Collection
from vectors.deltas import deltas_of
from vectors.log import Gap, LogEntry
from vectors.query_engine import EngineCollection
from vectors.query_engine_layout import Layout, tenant_of
from vectors.query_engine_writer import Writer
from vectors.snapshot import write_snapshot
from vectors.types import FileDelta, LogPosition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

    from vectors.manifest import SnapshotInfo

LAYOUT = Layout(tenant_of(""), "code", "test", DIM)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    with query_engine(tmp_path / "engine") as running:
        client = connect(running.url)
        yield client
        client.close()


def written(store: Path, *, entries: int = 3) -> tuple[Collection, SnapshotInfo]:
    """A collection of as many files as log entries, and its snapshot."""
    source = Collection.empty("code", DIM, "test")
    for at in range(1, entries + 1):
        source.apply_entry(entry_of("log", at, put(f"{at}.py", at, "login", "logout")))
    return source, write_snapshot(source, store, token=1)


def entry_of(log: str, at: int, delta: FileDelta) -> LogEntry:
    return LogEntry(
        position=LogPosition(log, at, f"{at}-0"),
        before=f"{at - 1}-0",
        embedder="test",
        delta=delta,
    )


def chunks_in(server: Redis) -> int:
    """Chunks of all collections and versions, those that no collection knows of included."""
    return len(server.keys("*:chunk:*"))


def test_who_starts_again_is_not_disturbed_by_others_who_would(
    server: Redis, tmp_path: Path
) -> None:
    first, second = (
        EngineCollection(server, "code", prefix="", embedder="test", dim=DIM) for _ in range(2)
    )
    first.apply_entry(entry_of("lost", 1, put("old.py", 9, "login")))
    source, info = written(tmp_path)
    refused = []

    def disturbed() -> Iterator[FileDelta]:
        for delta in deltas_of(source.freeze()):
            yield delta
            second.start_again(tmp_path, info)  # as it, too, met the gap
            with pytest.raises(Gap):
                second.apply_entry(entry_of("lost", 2, put("old.py", 10, "login")))
            refused.append(second.chunk_count)

    Writer(server, LAYOUT).fill(disturbed(), info.position, "new", instead_of=first.position)
    assert refused == [2, 4, 6]
    assert second.states() == source.states()
    assert second.position == source.position
    assert chunks_in(server) == second.chunk_count == 6


def test_a_start_again_that_broke_off_is_finished_by_another(server: Redis, tmp_path: Path) -> None:
    collection = EngineCollection(server, "code", prefix="", embedder="test", dim=DIM)
    source, info = written(tmp_path)
    collection.apply_entry(entry_of("lost", 1, put("1.py", 1, "login", "logout", "more")))

    def broken() -> Iterator[FileDelta]:
        yield next(deltas_of(source.freeze()))
        raise TransientError("gone")

    with pytest.raises(TransientError):
        Writer(server, LAYOUT).fill(broken(), info.position, "new", instead_of=collection.position)
    with pytest.raises(Gap):  # what is there is not the log's state
        collection.apply_entry(entry_of("log", 1, put("1.py", 1, "login")))
    collection.start_again(tmp_path, info)
    assert collection.states() == source.states()
    assert collection.position == source.position
    assert chunks_in(server) == collection.chunk_count == 6


def test_chunks_that_dead_processes_left_behind_are_removed(server: Redis, tmp_path: Path) -> None:
    collection = EngineCollection(server, "code", prefix="", embedder="test", dim=DIM)
    source, info = written(tmp_path)
    collection.apply(put("1.py", 9, "login", "logout", "more"))
    server.rename(LAYOUT.key("files"), LAYOUT.key("gone"))  # where one died
    server.delete(LAYOUT.key("meta"), LAYOUT.key("terms"))
    collection.apply(put("2.py", 9, "login"))  # and one that stood still went on until it noticed
    collection.start_again(tmp_path, info)
    assert collection.states() == source.states()
    assert {hit.path for hit in collection.search("login", vector("login"), 10)} == set(
        source.files()
    )
    assert chunks_in(server) == collection.chunk_count == 6
