from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from indexer_trees import KEYS, HashEncoder, contents, open_indexer, put, source, write

from contracts.errors import TransientError
from indexer import snapshots as writing
from indexer.build import build_store
from indexer.reconcile import reconcile
from indexer.scan import Rules, Tree
from indexer.snapshots import Snapshots
from indexer.upkeep import Upkeep
from vectors.collection import Collection
from vectors.follow import Follower
from vectors.log import Gap, bounds, trim
from vectors.manifest import read_manifest
from vectors.snapshot import write_frozen

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from contracts.messages import FileChange
    from indexer.apply import Indexer
    from vectors.manifest import SnapshotInfo
    from vectors.snapshot import Frozen

LEASE = KEYS.snapshot_lease("code")
LOG = KEYS.vectors("code")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def rescan(root: Path, store: Path) -> Collection:
    build_store(root, store, HashEncoder())
    return Collection.open(store, "code")


def bring_up_to_date(indexer: Indexer) -> None:
    """What one indexer alone does: publish what differs, apply what was published."""
    published: list[FileChange] = []
    tree = Tree(indexer.root, Rules())
    while reconcile(tree, indexer.ledger.refresh(), published.extend).drift:
        list(indexer.apply(published))
    indexer.ledger.finish_starting_over()


def test_snapshots_are_written_when_due_and_carry_on_the_log(
    redis_client: Redis, root: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    indexer = open_indexer(redis_client, root, store)
    snapshots = Snapshots(redis_client, KEYS, indexer.ledger, store, every_chunks=5)
    write(root, "a.py", source("a", functions=4))
    list(indexer.apply(put("a.py")))
    indexer.ledger.refresh()
    assert not snapshots.write_if_due()

    write(root, "b.py", source("b", functions=4))
    list(indexer.apply(put("b.py")))
    indexer.ledger.refresh()
    assert snapshots.write_if_due()
    assert not snapshots.write_if_due()
    list(indexer.apply(put("a.py", "b.py")))

    again = open_indexer(redis_client, root, store)
    assert again.ledger.collection.files().keys() == {"a.py", "b.py"}
    assert list(again.apply(put("a.py", "b.py"))) == []


def test_a_writer_that_slept_through_its_lease_is_refused(
    redis_client: Redis, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    write(root, "a.py")
    slow, quick = (open_indexer(redis_client, root, store) for _ in range(2))
    list(slow.apply(put("a.py")))

    def asleep(frozen: Frozen, where: Path, *, token: int, over: int) -> None:
        """Wake up after the lease is over and somebody else wrote."""
        redis_client.delete(LEASE)
        monkeypatch.setattr(writing, "write_frozen", write_frozen)
        list(quick.apply(put("a.py")))
        assert Snapshots(redis_client, KEYS, quick.ledger, store).write()
        write_frozen(frozen, where, token=token, over=over)

    monkeypatch.setattr(writing, "write_frozen", asleep)
    with pytest.raises(TransientError, match="is over"):
        Snapshots(redis_client, KEYS, slow.ledger, store).write()
    info = read_manifest(store, "code")
    assert info is not None
    assert info.token == 2


def test_a_damaged_manifest_is_replaced(redis_client: Redis, root: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    write(root, "a.py")
    indexer = open_indexer(redis_client, root, store)
    list(indexer.apply(put("a.py")))
    assert Snapshots(redis_client, KEYS, indexer.ledger, store).write()
    (store / "code" / "manifest.json").write_bytes(b"")
    assert Snapshots(redis_client, KEYS, indexer.ledger, store).write()
    assert Collection.open(store, "code").files().keys() == {"a.py"}


def test_a_failed_snapshot_is_said_once_put_off_and_made_up_for(
    redis_client: Redis,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = tmp_path / "store"
    indexer = open_indexer(redis_client, root, store)
    snapshots = Snapshots(redis_client, KEYS, indexer.ledger, store, every_chunks=1)
    attempts = 0

    def full(*_: object, **__: object) -> None:
        nonlocal attempts
        attempts += 1
        raise TransientError("cannot write a snapshot: No space left on device")

    monkeypatch.setattr(writing, "write_frozen", full)
    for name in ("a.py", "b.py", "c.py"):
        write(root, name)
        list(indexer.apply(put(name)))
        indexer.ledger.refresh()
        assert not snapshots.write_if_due()
    assert attempts == 1
    snapshots._retry_at = 0.0
    assert not snapshots.write_if_due()
    assert attempts == 2
    assert capsys.readouterr().out.count("No space left") == 1

    monkeypatch.undo()
    assert not snapshots.write_if_due()
    snapshots._retry_at = 0.0
    assert snapshots.write_if_due()
    assert Collection.open(store, "code").files().keys() == {"a.py", "b.py", "c.py"}


def test_one_that_took_long_is_not_written_again_for_a_few_changes(
    redis_client: Redis, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_AT_ONCE", 0)
    clock = [time.monotonic()]
    monkeypatch.setattr(writing, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    store = tmp_path / "store"
    indexer = open_indexer(redis_client, root, store)
    snapshots = Snapshots(redis_client, KEYS, indexer.ledger, store, interval_s=300.0)

    def slow(frozen: Frozen, where: Path, *, token: int, over: int) -> SnapshotInfo:
        clock[0] += 60
        return write_frozen(frozen, where, token=token, over=over)

    def written_after(seconds: float, name: str) -> bool:
        """Change a file so long after the last snapshot, and see whether one is written."""
        write(root, name)
        list(indexer.apply(put(name)))
        indexer.ledger.refresh()
        clock[0] += seconds
        assert not snapshots.write_if_due()
        beside = snapshots._beside
        return beside is not None and beside.result(60) is not None and snapshots.write_if_due()

    monkeypatch.setattr(writing, "write_frozen", slow)
    assert written_after(301, "a.py")
    assert not written_after(20 * 60 - 1, "b.py")
    assert written_after(2, "c.py")
    assert Collection.open(store, "code").files().keys() == {"a.py", "b.py", "c.py"}


def test_a_writer_that_slept_through_the_loss_of_everything_is_refused(
    redis_client: Redis, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its token may be higher than those given since, as Redis has lost its count."""
    store = tmp_path / "store"
    write(root, "a.py")
    slow, quick = (open_indexer(redis_client, root, store) for _ in range(2))
    list(slow.apply(put("a.py")))
    redis_client.set(f"{LEASE}:token", 1000)

    def asleep(frozen: Frozen, where: Path, *, token: int, over: int) -> None:
        redis_client.flushall()
        monkeypatch.setattr(writing, "write_frozen", write_frozen)
        quick.ledger.refresh()
        bring_up_to_date(quick)
        assert Snapshots(redis_client, KEYS, quick.ledger, store).write()
        write_frozen(frozen, where, token=token, over=over)

    monkeypatch.setattr(writing, "write_frozen", asleep)
    with pytest.raises(TransientError, match="is over"):
        Snapshots(redis_client, KEYS, slow.ledger, store).write()
    info, last = read_manifest(store, "code"), bounds(redis_client, LOG)
    assert info is not None
    assert last is not None
    assert info.position == last.last


def test_an_idle_indexer_notices_that_the_log_is_lost(
    redis_client: Redis, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root, "a.py")
    indexer = open_indexer(redis_client, root, tmp_path / "store")
    snapshots = Snapshots(redis_client, KEYS, indexer.ledger, tmp_path / "store", every_chunks=1)
    upkeep = Upkeep(redis_client, KEYS, [(indexer, snapshots)], reconcile_interval_s=3600.0)
    upkeep()
    list(indexer.apply(put("a.py")))
    monkeypatch.setattr(upkeep, "_refresh_at", 0.0)
    upkeep()
    assert Collection.open(tmp_path / "store", "code").files().keys() == {"a.py"}
    redis_client.flushall()
    monkeypatch.setattr(upkeep, "_refresh_at", 0.0)
    monkeypatch.setattr(upkeep, "_rebuild_at", 0.0)
    upkeep()
    assert indexer.ledger.started_over
    assert redis_client.xlen(KEYS.files) == 1


@pytest.mark.parametrize("loss", ["everything", "log", "beginning of the log and snapshot"])
def test_indexers_that_lost_the_log_begin_anew_and_miss_nothing_of_each_other(
    redis_client: Redis, root: Path, tmp_path: Path, loss: str
) -> None:
    store = tmp_path / "store"
    names = [f"{name}.py" for name in "abcdef"]
    for name in names:
        write(root, name, source(name))
    one, two = (open_indexer(redis_client, root, store) for _ in range(2))
    list(one.apply(put(*names)))
    assert Snapshots(redis_client, KEYS, one.ledger, store).write()
    two.ledger.refresh()
    worker = Collection.open(store, "code")
    follower = Follower(redis_client, worker, store, LOG)
    follower.poll()

    if loss == "everything":
        redis_client.flushall()
    elif loss == "log":
        redis_client.delete(LOG)
    else:
        ends = bounds(redis_client, LOG)
        assert ends is not None
        trim(redis_client, LOG, ends.last, keep=1)
        (store / "code").rename(tmp_path / "gone")
        one = open_indexer(redis_client, root, store)
    one.ledger.refresh()
    assert one.ledger.started_over
    with pytest.raises(Gap):
        follower.poll()
    assert follower.stale
    assert worker.files().keys() == set(names)

    list(one.apply(put(*names[:3])))
    two.ledger.refresh()
    list(two.apply(put(*names[3:])))
    for indexer in (one, two):
        indexer.ledger.refresh()
        assert contents(indexer.ledger.collection) == contents(rescan(root, tmp_path / "fresh"))
        bring_up_to_date(indexer)
        assert not indexer.ledger.started_over

    assert Snapshots(redis_client, KEYS, two.ledger, store).write()
    while follower.poll():
        pass
    assert not follower.stale
    assert contents(worker) == contents(rescan(root, tmp_path / "fresh"))


def test_no_part_of_an_index_begun_anew_passes_for_the_whole(
    redis_client: Redis, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    for name in "ab":
        write(root, f"{name}.py", source(name))
    indexer = open_indexer(redis_client, root, store)
    snapshots = Snapshots(redis_client, KEYS, indexer.ledger, store, every_chunks=1)
    upkeep = Upkeep(redis_client, KEYS, [(indexer, snapshots)], reconcile_interval_s=3600.0)
    list(indexer.apply(put("a.py", "b.py")))
    upkeep()
    before = read_manifest(store, "code")
    assert before is not None

    redis_client.flushall()
    list(indexer.apply(put("a.py")))
    monkeypatch.setattr(upkeep, "_rebuild_at", 0.0)
    upkeep()
    assert (upkeep.reconciled, indexer.ledger.started_over) == (False, True)
    assert redis_client.xlen(KEYS.files) == 1  # b.py is missing
    assert read_manifest(store, "code") == before

    list(indexer.apply(put("b.py")))
    monkeypatch.setattr(upkeep, "_rebuild_at", 0.0)
    upkeep()
    assert (upkeep.reconciled, indexer.ledger.started_over) == (True, False)
    after = read_manifest(store, "code")
    assert after is not None
    assert (after.files, after.previous) == (2, before.snapshot)
