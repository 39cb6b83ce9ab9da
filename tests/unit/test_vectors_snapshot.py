from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest
from corpus import DIM, put, removal, vector

from contracts.errors import FatalError, TransientError
from vectors import snapshot
from vectors.collection import Collection
from vectors.snapshot import list_collections, read_manifest, verify, write_snapshot
from vectors.types import LogPosition

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def collection() -> Collection:
    made = Collection.empty("code", DIM, "test", LogPosition("log", 7, "7-0"))
    made.apply(put("src/auth.py", 1, "def login(session)", "retry token"))
    made.apply(put("src/gone.py", 1, "matrix kernel"))
    made.apply(removal("src/gone.py", 2))
    made.apply(put("empty.py", 1))
    return made


def test_a_reopened_snapshot_answers_as_the_collection_did(
    collection: Collection, tmp_path: Path
) -> None:
    info = write_snapshot(collection, tmp_path, token=1)
    opened = Collection.open(tmp_path, "code", embedder="test")
    assert (info.files, info.chunks, info.dim, info.embedder) == (2, 2, DIM, "test")
    assert opened.states() == collection.states()
    assert opened.position == LogPosition("log", 7, "7-0")
    assert opened.generation == f"{info.snapshot}+7"
    query = ("login token", vector("login"))
    assert opened.search(*query) == collection.search(*query) != []
    assert verify(tmp_path, "code") == []
    assert list_collections(tmp_path) == ["code"]


@pytest.mark.parametrize("name", ["vectors.faiss", "chunks.sqlite", "columns.npy"])
@pytest.mark.parametrize("harm", ["truncate", "flip", "remove"])
def test_a_damaged_snapshot_is_refused_with_its_name(
    collection: Collection, tmp_path: Path, name: str, harm: str
) -> None:
    info = write_snapshot(collection, tmp_path, token=1)
    victim = tmp_path / "code" / info.snapshot / name
    content = bytearray(victim.read_bytes())
    victim.unlink()
    if harm == "truncate":
        victim.write_bytes(content[:-1])
    elif harm == "flip":
        content[len(content) // 2] ^= 1
        victim.write_bytes(content)
    with pytest.raises(TransientError, match=name):
        Collection.open(tmp_path, "code")
    assert len(verify(tmp_path, "code")) == 1


def test_what_is_not_there_or_not_ours_is_refused(collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="no snapshot"):
        Collection.open(tmp_path, "code")
    info = write_snapshot(collection, tmp_path, token=1)
    with pytest.raises(FatalError, match="embedded by test, not by other"):
        Collection.open(tmp_path, "code", embedder="other")
    manifest = tmp_path / "code" / "manifest.json"
    manifest.write_bytes(msgspec.json.encode(msgspec.structs.replace(info, format=99)))
    with pytest.raises(FatalError, match="build the index anew"):
        Collection.open(tmp_path, "code")
    manifest.write_bytes(b'{"format": ')
    with pytest.raises(TransientError, match="cannot read"):
        Collection.open(tmp_path, "code")


def test_a_writer_whose_lease_is_over_is_refused(collection: Collection, tmp_path: Path) -> None:
    newer = write_snapshot(collection, tmp_path, token=5)
    with pytest.raises(TransientError, match="lease 4"):
        write_snapshot(collection, tmp_path, token=4)
    assert read_manifest(tmp_path, "code") == newer
    write_snapshot(collection, tmp_path, token=5)


def test_a_failed_write_leaves_the_old_snapshot_and_no_litter(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = write_snapshot(collection, tmp_path, token=1)

    def full_disk(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshot, "write_base", full_disk)
    with pytest.raises(TransientError, match="No space left"):
        write_snapshot(collection, tmp_path, token=1)
    assert Collection.open(tmp_path, "code").generation == f"{info.snapshot}+7"
    assert [path.name for path in (tmp_path / "code").iterdir() if path.is_dir()] == [info.snapshot]


def test_old_folders_go_but_never_the_previous_nor_one_in_use(
    collection: Collection, tmp_path: Path
) -> None:
    home = tmp_path / "code"
    first = write_snapshot(collection, tmp_path, token=1)
    reader = Collection.open(tmp_path, "code")
    unfinished = home / ".unfinished-x"
    unfinished.mkdir()
    for folder in (home / first.snapshot, unfinished):
        os.utime(folder, (0, 0))
    second = write_snapshot(collection, tmp_path, token=1)
    assert {path.name for path in home.iterdir() if path.is_dir()} == {
        first.snapshot,
        second.snapshot,
    }
    write_snapshot(collection, tmp_path, token=1)
    assert not (home / first.snapshot).exists()
    query = ("login token", vector("login"))
    assert reader.search(*query) == collection.search(*query)


def test_reload_keeps_what_is_newer_than_the_snapshot(
    collection: Collection, tmp_path: Path
) -> None:
    reader = Collection.empty("code", DIM, "test", LogPosition("log", 9, "9-0"))
    reader.apply(put("src/auth.py", 1, "def login(session)", "retry token"))
    reader.apply(put("src/new.py", 3, "schema migrate"))
    reader.apply(put("src/gone.py", 1, "matrix kernel"))
    write_snapshot(collection, tmp_path, token=1)
    assert reader.reload_if_newer(tmp_path)
    assert not reader.reload_if_newer(tmp_path)
    assert set(reader.files()) == {"src/auth.py", "src/new.py", "empty.py"}
    assert reader.position.seq == 9
    assert reader.delta_size == 1


def test_reload_jumps_ahead_of_a_gap_and_leaves_a_lost_log_behind(
    collection: Collection, tmp_path: Path
) -> None:
    write_snapshot(collection, tmp_path, token=1)
    behind = Collection.empty("code", DIM, "test", LogPosition("log", 3, "3-0"))
    other = Collection.empty("code", DIM, "test", LogPosition("lost", 900, "900-0"))
    other.apply(put("src/lost.py", 50, "lost"))
    for reader in (behind, other):
        assert reader.reload_if_newer(tmp_path)
        assert reader.position == collection.position
        assert reader.states() == collection.states()


def test_a_damaged_newer_snapshot_changes_nothing(collection: Collection, tmp_path: Path) -> None:
    write_snapshot(collection, tmp_path, token=1)
    reader = Collection.open(tmp_path, "code")
    before = reader.generation
    newer = write_snapshot(collection, tmp_path, token=1)
    (tmp_path / "code" / newer.snapshot / "chunks.sqlite").unlink()
    with pytest.raises(TransientError):
        reader.reload_if_newer(tmp_path)
    assert reader.generation == before
    assert reader.search("login", vector("login")) != []


def test_opening_writes_nothing(collection: Collection, tmp_path: Path) -> None:
    write_snapshot(collection, tmp_path, token=1)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    Collection.open(tmp_path, "code").search("login", vector("login"))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
