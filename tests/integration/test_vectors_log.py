from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from corpus import DIM, put, removal, vector

from contracts.errors import FatalError, TransientError
from vectors.collection import Collection
from vectors.disk import in_turn
from vectors.follow import Follower
from vectors.log import (
    Gap,
    LogEntry,
    OtherEncoder,
    begin,
    bounds,
    check_gap,
    commit,
    commit_many,
    current_versions,
    read,
    trim,
)
from vectors.snapshot import write_snapshot
from vectors.types import FileState, LogPosition

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import redis

    from vectors.types import FileDelta

LOG, VERSIONS = "vectors:code", "vectors:code:files"


def send(
    client: redis.Redis, delta: FileDelta, expected: int, embedder: str = "test"
) -> LogEntry | None:
    return commit(
        client,
        log_key=LOG,
        versions_key=VERSIONS,
        embedder=embedder,
        delta=delta,
        expected_version=expected,
    )


def fill(client: redis.Redis, count: int, prefix: str = "f") -> list[LogEntry | None]:
    changes = [(put(f"{prefix}{at}.py", 1, f"login number{at}"), 0) for at in range(count)]
    return commit_many(client, log_key=LOG, versions_key=VERSIONS, embedder="test", changes=changes)


@pytest.fixture
def collection() -> Collection:
    return Collection.empty("code", DIM, "test")


def test_a_commit_is_numbered_logged_and_remembered(redis_client: redis.Redis) -> None:
    first = send(redis_client, put("a.py", 1, "login"), 0)
    second = send(redis_client, removal("a.py", 2), 1)
    assert first is not None
    assert second is not None
    assert (first.position.seq, second.position.seq) == (1, 2)
    assert first.position.log_id == second.position.log_id != ""
    assert read(redis_client, LOG, LogPosition()) == [first, second]
    assert read(redis_client, LOG, first.position) == [second]
    assert current_versions(redis_client, VERSIONS) == {"a.py": FileState(2, "")}
    assert bounds(redis_client, LOG) is not None


def test_a_commit_on_a_version_that_moved_is_refused(redis_client: redis.Redis) -> None:
    assert send(redis_client, put("a.py", 1, "login"), 0)
    assert send(redis_client, put("a.py", 1, "login"), 0) is None
    assert send(redis_client, put("a.py", 3, "login"), 2) is None
    assert send(redis_client, put("a.py", 1, "login"), 1) is None
    assert redis_client.xlen(LOG) == 1


def test_batches_skip_what_moved_and_number_the_rest(redis_client: redis.Redis) -> None:
    send(redis_client, put("f3.py", 7, "mine"), 0)
    entries = fill(redis_client, 150)
    assert [at for at, entry in enumerate(entries) if entry is None] == [3]
    assert [entry.position.seq for entry in entries if entry] == list(range(2, 151))
    assert current_versions(redis_client, VERSIONS)["f3.py"].version == 7


def test_of_many_indexers_one_wins_each_version(redis_client: redis.Redis, redis_url: str) -> None:
    from streams.connect import connect  # noqa: PLC0415 - only this test needs clients of its own

    wins: list[tuple[int, int]] = []

    def index(number: int) -> None:
        with connect(redis_url, role="test") as client:
            wins.extend(
                (version, number)
                for version in range(1, 101)
                if send(client, put("a.py", version, f"by {number}"), version - 1)
            )

    threads = [threading.Thread(target=index, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = read(redis_client, LOG, LogPosition(), count=1000)
    versions = [entry.delta.version for entry in entries]
    assert versions == list(range(1, len(entries) + 1))
    assert [entry.position.seq for entry in entries] == versions
    assert sorted(version for version, _ in wins) == versions


def test_a_key_of_another_type_is_refused_before_anything_is_written(
    redis_client: redis.Redis,
) -> None:
    redis_client.set(VERSIONS, "not a hash")
    with pytest.raises(FatalError, match="WRONGTYPE"):
        send(redis_client, put("a.py", 1, "login"), 0)
    assert not redis_client.exists(LOG)


def test_foreign_entries_and_lost_servers_are_told_apart(
    redis_client: redis.Redis, make_server: Callable[..., object]
) -> None:
    from streams.connect import connect  # noqa: PLC0415 - only this test needs clients of its own

    redis_client.xadd(LOG, {"what": "ever"})
    with pytest.raises(FatalError, match="not written by an indexer"):
        read(redis_client, LOG, LogPosition())
    server = make_server()
    with connect(server.url, role="test") as client:  # type: ignore[attr-defined] # conftest.Server
        send(client, put("a.py", 1, "login"), 0)
        server.kill()  # type: ignore[attr-defined] # conftest.Server
        with pytest.raises(TransientError):
            read(client, LOG, LogPosition())


def test_reading_waits_for_the_first_entry(redis_client: redis.Redis) -> None:
    assert read(redis_client, LOG, LogPosition(), block_ms=20) == []
    timer = threading.Timer(0.05, fill, (redis_client, 1))
    timer.start()
    assert len(read(redis_client, LOG, LogPosition(), block_ms=4000)) == 1
    timer.join()


def test_trim_keeps_the_unread_the_slack_and_the_numbering(redis_client: redis.Redis) -> None:
    entries = fill(redis_client, 100)
    half = entries[49]
    assert half is not None
    assert trim(redis_client, LOG, LogPosition("other", 100, "0-0"), keep=1) == 0
    assert trim(redis_client, LOG, half.position, keep=80) == 20
    assert trim(redis_client, LOG, half.position, keep=1) == 30
    assert read(redis_client, LOG, half.position)[0].position.seq == 51
    last = entries[-1]
    assert last is not None
    trim(redis_client, LOG, last.position, keep=0)
    following = send(redis_client, put("next.py", 1, "login"), 0)
    assert following is not None
    assert following.position.seq == 101
    assert following.position.log_id == last.position.log_id


def test_every_kind_of_gap_is_noticed(redis_client: redis.Redis) -> None:
    check_gap(redis_client, LOG, LogPosition())
    with pytest.raises(Gap, match="is empty"):
        check_gap(redis_client, LOG, LogPosition("log", 3, "3-0"))
    entries = [entry for entry in fill(redis_client, 20) if entry]
    last = entries[-1].position
    for fine in (LogPosition(), entries[0].position, last):
        check_gap(redis_client, LOG, fine)
    with pytest.raises(Gap, match="ends at entry 20"):
        check_gap(redis_client, LOG, LogPosition(last.log_id, 21, last.entry_id))
    with pytest.raises(Gap, match="is log"):
        check_gap(redis_client, LOG, LogPosition("other", 3, "3-0"))
    with pytest.raises(Gap, match="was set back"):
        check_gap(redis_client, LOG, LogPosition(last.log_id, 20, "9999999999999-0"))
    trim(redis_client, LOG, entries[9].position, keep=1)
    check_gap(redis_client, LOG, entries[9].position)
    for trimmed in (LogPosition(), entries[8].position):
        with pytest.raises(Gap, match="begins at entry 11"):
            check_gap(redis_client, LOG, trimmed)


def test_followers_end_in_the_state_of_the_log(
    redis_client: redis.Redis, collection: Collection
) -> None:
    follower = Follower(redis_client, collection, None, LOG)
    assert follower.poll() == 0
    fill(redis_client, 100)
    send(redis_client, removal("f7.py", 2), 1)
    assert [follower.poll(), follower.poll(), follower.poll()] == [64, 37, 0]
    live = {k: v for k, v in current_versions(redis_client, VERSIONS).items() if v.content_hash}
    assert collection.files() == live
    assert collection.generation == "none+101"
    assert collection.search("number42", vector("x"))[0].path == "f42.py"


def test_a_follower_bridges_a_gap_with_a_snapshot(
    redis_client: redis.Redis, collection: Collection, tmp_path: Path
) -> None:
    indexer = Collection.empty("code", DIM, "test")
    late = Follower(redis_client, collection, tmp_path, LOG)
    fill(redis_client, 10)
    late.poll(count=3)
    Follower(redis_client, indexer, None, LOG).poll()
    write_snapshot(indexer, tmp_path, token=1)
    trim(redis_client, LOG, indexer.position, keep=2)
    send(redis_client, put("new.py", 1, "login"), 0)
    assert late.poll() == 1
    assert not late.stale
    assert set(collection.files()) == {*indexer.files(), "new.py"}


def test_large_snapshots_are_taken_over_by_one_process_of_a_machine_at_a_time(
    redis_client: redis.Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    eventually: Callable[..., None],
) -> None:
    monkeypatch.setattr("vectors.follow.EXACT_UP_TO", -1)  # everything is large
    monkeypatch.setattr("vectors.follow._LOOK_EVERY_S", 0.0)
    fill(redis_client, 3)
    indexer = Collection.empty("code", DIM, "test")
    Follower(redis_client, indexer, None, LOG).poll()
    first = write_snapshot(indexer, tmp_path, token=1)
    readers = [Collection.open(tmp_path, "code") for _ in range(2)]
    followers = [Follower(redis_client, reader, tmp_path, LOG) for reader in readers]
    with in_turn(tmp_path, 60):
        second = write_snapshot(indexer, tmp_path, token=2)
        fill(redis_client, 3, prefix="new")
        # While another one has its turn, changes come in all the same.
        assert [follower.poll() for follower in followers] == [3, 3]
        assert {reader.generation for reader in readers} == {f"{first.snapshot}+6"}
    for reader, follower in zip(readers, followers, strict=True):
        eventually(
            lambda reader=reader, follower=follower: (
                follower.poll() == 0 and reader.generation == f"{second.snapshot}+6"
            )
        )


@pytest.mark.parametrize("recommitted", [2, 5, 8])
def test_entries_a_server_lost_are_given_up_for_those_it_has(
    redis_client: redis.Redis, tmp_path: Path, recommitted: int
) -> None:
    """A server that comes back without its last second numbers on from what it has left."""
    fill(redis_client, 10)
    indexer = Collection.empty("code", DIM, "test")
    Follower(redis_client, indexer, None, LOG).poll()
    write_snapshot(indexer, tmp_path, token=1)
    reader = Collection.open(tmp_path, "code")
    follower = Follower(redis_client, reader, tmp_path, LOG)

    kept = {key: redis_client.dump(key) for key in (LOG, VERSIONS)}
    fill(redis_client, 5, prefix="lost")
    assert follower.poll() == 5
    for key, dumped in kept.items():
        redis_client.restore(key, 0, dumped, replace=True)
    fill(redis_client, recommitted, prefix="kept")

    assert follower.poll() == recommitted
    assert not follower.stale
    assert reader.position.seq == 10 + recommitted
    assert reader.files() == current_versions(redis_client, VERSIONS)


@pytest.mark.parametrize("loss", ["trimmed", "lost", "begun anew"])
def test_a_follower_says_so_when_nothing_bridges_the_gap(
    redis_client: redis.Redis, collection: Collection, tmp_path: Path, loss: str
) -> None:
    entries = [entry for entry in fill(redis_client, 10) if entry]
    follower = Follower(redis_client, collection, tmp_path, LOG)
    follower.poll(count=3)
    if loss == "trimmed":
        trim(redis_client, LOG, entries[-1].position, keep=1)
    else:
        redis_client.delete(LOG)
    if loss == "begun anew":
        fill(redis_client, 20, prefix="g")
    for _ in range(2):
        with pytest.raises(Gap):
            follower.poll()
        assert follower.stale
    assert collection.position.seq == 3

    indexer = Collection.empty("code", DIM, "test")
    if loss == "lost":
        fill(redis_client, 4, prefix="h")
    if loss == "trimmed":
        indexer = Collection.empty("code", DIM, "test", entries[-1].position)
    Follower(redis_client, indexer, None, LOG).poll()
    write_snapshot(indexer, tmp_path, token=1)
    follower.poll()
    assert not follower.stale
    assert collection.files() == indexer.files()


def test_a_damaged_snapshot_does_not_stop_following(
    redis_client: redis.Redis, collection: Collection, tmp_path: Path
) -> None:
    info = write_snapshot(collection, tmp_path, token=1)
    (tmp_path / "code" / info.snapshot / "columns.npy").unlink()
    follower = Follower(redis_client, collection, tmp_path, LOG)
    fill(redis_client, 3)
    assert follower.poll() == 3
    assert "columns.npy" in (follower.snapshot_error or "")


def test_a_damaged_snapshot_holds_up_no_newer_one(
    redis_client: redis.Redis,
    collection: Collection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vectors.follow._PAUSE", 1e9)
    info = write_snapshot(collection, tmp_path, token=1)
    (tmp_path / "code" / info.snapshot / "columns.npy").unlink()
    follower = Follower(redis_client, collection, tmp_path, LOG)
    fill(redis_client, 3)
    assert follower.poll() == 3

    redis_client.delete(LOG, VERSIONS)
    fill(redis_client, 2, prefix="anew")
    with pytest.raises(Gap):
        follower.poll()
    indexer = Collection.empty("code", DIM, "test")
    Follower(redis_client, indexer, None, LOG).poll()
    write_snapshot(indexer, tmp_path, token=2)
    follower.poll()
    assert not follower.stale
    assert collection.files() == indexer.files()


def test_a_log_holds_vectors_of_one_encoder(redis_client: redis.Redis) -> None:
    fill(redis_client, 3)
    with pytest.raises(OtherEncoder, match="embedded by test, not by other"):
        send(redis_client, put("a.py", 1, "login"), 0, embedder="other")
    assert redis_client.xlen(LOG) == 3
    assert "a.py" not in current_versions(redis_client, VERSIONS)

    assert not begin(redis_client, log_key=LOG, versions_key=VERSIONS, embedder="test")
    assert redis_client.xlen(LOG) == 3
    trim(redis_client, LOG, read(redis_client, LOG, LogPosition())[-1].position, keep=1)
    assert not begin(redis_client, log_key=LOG, versions_key=VERSIONS, embedder="test")
    assert begin(redis_client, log_key=LOG, versions_key=VERSIONS, embedder="other")
    assert not begin(redis_client, log_key=LOG, versions_key=VERSIONS, embedder="other")
    assert send(redis_client, put("a.py", 1, "login"), 0, embedder="other")
    assert current_versions(redis_client, VERSIONS).keys() == {"a.py"}


def test_a_log_of_an_older_version_is_begun_anew(redis_client: redis.Redis) -> None:
    old = {"seq": 1, "log_id": "old", "embedder": "test", "path": "a.py", "payload": b""}
    redis_client.xadd(LOG, dict(old))
    assert begin(redis_client, log_key=LOG, versions_key=VERSIONS, embedder="test")
    assert not redis_client.exists(LOG)


def test_who_has_no_snapshot_keeps_a_log_only_from_its_beginning(
    redis_client: redis.Redis,
) -> None:
    keys = {"log_key": LOG, "versions_key": VERSIONS, "embedder": "test"}
    entries = [entry for entry in fill(redis_client, 5) if entry]
    assert not begin(redis_client, **keys, only_whole=True)
    trim(redis_client, LOG, entries[-1].position, keep=2)
    assert not begin(redis_client, **keys)
    assert begin(redis_client, **keys, only_whole=True)
    assert not redis_client.exists(LOG, VERSIONS)


def test_a_follower_with_another_encoder_takes_nothing_until_the_log_is_its_own(
    redis_client: redis.Redis, tmp_path: Path
) -> None:
    fill(redis_client, 3)
    theirs = Collection.empty("code", DIM, "test")
    Follower(redis_client, theirs, None, LOG).poll()
    write_snapshot(theirs, tmp_path, token=1)
    ours = Collection.empty("code", DIM, "other")
    follower = Follower(redis_client, ours, tmp_path, LOG)
    for _ in range(2):
        with pytest.raises(OtherEncoder):
            follower.poll()
        assert follower.stale
    assert ours.files() == {}
    assert "embedded by test" in (follower.snapshot_error or "")

    begin(redis_client, log_key=LOG, versions_key=VERSIONS, embedder="other")
    send(redis_client, put("a.py", 1, "login"), 0, embedder="other")
    assert follower.poll() == 1
    assert not follower.stale
    assert ours.files().keys() == {"a.py"}
