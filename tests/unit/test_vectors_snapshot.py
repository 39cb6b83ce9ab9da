from __future__ import annotations

import fcntl
import os
import sqlite3
from typing import TYPE_CHECKING

import msgspec
import pytest
from corpus import DIM, put, removal, vector

from contracts.errors import FatalError, TransientError
from vectors import opening, snapshot
from vectors.collection import Collection
from vectors.disk import checksum, encode_sealed
from vectors.manifest import MANIFEST, list_collections, read_manifest
from vectors.merge import write_base
from vectors.postings import COUNTS_FILE, IDS_FILE, open_postings
from vectors.snapshot import verify, write_snapshot
from vectors.types import LogPosition

if TYPE_CHECKING:
    from pathlib import Path

    from vectors.manifest import SnapshotInfo


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


def test_a_snapshot_with_its_postings_in_rows_is_read_and_the_next_has_them_in_files(
    collection: Collection, tmp_path: Path
) -> None:
    info = write_snapshot(collection, tmp_path, token=1)
    older = _as_format_2(tmp_path / "code", info)
    opened = Collection.open(tmp_path, "code")
    query = ("login token", vector("login"))
    assert older == {"chunks.sqlite", "columns.npy", "vectors.faiss"}
    assert opened.search(*query) == collection.search(*query) != []
    again = write_snapshot(opened, tmp_path, token=2)
    assert again.format == info.format
    assert again.checksums.keys() == info.checksums.keys() > older
    assert Collection.open(tmp_path, "code").search(*query) == collection.search(*query)


def _as_format_2(home: Path, info: SnapshotInfo) -> set[str]:
    """Make a snapshot what it would have been; returns the names of its files."""
    folder = home / info.snapshot
    (folder / "chunks.sqlite").chmod(0o644)
    rows = sqlite3.connect(folder / "chunks.sqlite", isolation_level=None)
    postings = dict(open_postings(folder, rows).every())
    rows.executescript(
        "DROP TABLE posting; CREATE TABLE posting "
        "(term TEXT PRIMARY KEY, ids BLOB NOT NULL, counts BLOB NOT NULL) WITHOUT ROWID"
    )
    for term, (ids, counts) in postings.items():
        rows.execute("INSERT INTO posting VALUES (?, ?, ?)", (term, bytes(ids), bytes(counts)))
    rows.close()
    for name in (IDS_FILE, COUNTS_FILE, MANIFEST):
        (folder / name).unlink()
    checksums = {path.name: checksum(path) for path in folder.iterdir()}
    older = msgspec.structs.replace(info, format=2, checksums=checksums)
    (home / MANIFEST).write_bytes(encode_sealed(older))
    return set(checksums)


@pytest.mark.parametrize(
    "name",
    ["vectors.faiss", "chunks.sqlite", "columns.npy", "postings.ids", "postings.counts"],
)
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
    manifest.write_bytes(encode_sealed(msgspec.structs.replace(info, format=99)))
    with pytest.raises(FatalError, match="build the index anew"):
        Collection.open(tmp_path, "code")
    manifest.write_bytes(b'{"format": ')
    with pytest.raises(TransientError, match="cannot read"):
        read_manifest(tmp_path, "code")


def test_no_changed_byte_of_a_manifest_is_believed(collection: Collection, tmp_path: Path) -> None:
    info = write_snapshot(collection, tmp_path, token=1)
    manifest = tmp_path / "code" / "manifest.json"
    content = manifest.read_bytes()
    for at in range(len(content)):
        manifest.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(TransientError, match="cannot read"):
            read_manifest(tmp_path, "code")
    manifest.write_bytes(content)
    assert read_manifest(tmp_path, "code") == info


@pytest.mark.parametrize("victim", ["manifest.json", "chunks.sqlite", "folder"])
def test_the_snapshot_before_is_opened_where_the_one_in_place_is_damaged(
    collection: Collection, tmp_path: Path, victim: str
) -> None:
    first = write_snapshot(collection, tmp_path, token=1)
    collection.apply(put("src/new.py", 1, "schema migrate"))
    second = write_snapshot(collection, tmp_path, token=2)
    if victim == "manifest.json":
        (tmp_path / "code" / victim).unlink()
        expected = second
    else:
        folder = tmp_path / "code" / second.snapshot
        folder.rename(tmp_path / "gone") if victim == "folder" else (folder / victim).unlink()
        expected = first
    opened = Collection.open(tmp_path, "code")
    assert opened.generation == f"{expected.snapshot}+7"
    assert ("src/new.py" in opened.files()) is (expected == second)
    with pytest.raises(FatalError, match="embedded by test, not by other"):
        Collection.open(tmp_path, "code", embedder="other")


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_nothing_but_a_plain_file_is_read(
    collection: Collection, tmp_path: Path, kind: str
) -> None:
    info = write_snapshot(collection, tmp_path, token=1)
    victim = tmp_path / "code" / info.snapshot / "columns.npy"
    kept = victim.rename(tmp_path / "columns.npy")
    if kind == "link":
        victim.symlink_to(kept)
    elif kind == "pipe":
        os.mkfifo(victim)
    else:
        victim.mkdir()
    with pytest.raises(TransientError, match=r"columns\.npy cannot be read"):
        Collection.open(tmp_path, "code")


def test_a_snapshot_deleted_while_it_is_opened_is_left_for_the_newer(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_snapshot(collection, tmp_path, token=1)
    verify_files = opening.problems

    def slow(store: Path, info: SnapshotInfo) -> list[str]:
        if info.token == 1:
            write_snapshot(collection, tmp_path, token=2)
            write_snapshot(collection, tmp_path, token=3)
        return verify_files(store, info)

    monkeypatch.setattr(opening, "problems", slow)
    assert read_manifest(tmp_path, "code") is not None
    opened = Collection.open(tmp_path, "code")
    newest = read_manifest(tmp_path, "code")
    assert newest is not None
    assert (newest.token, opened.generation) == (3, f"{newest.snapshot}+7")
    assert opened.search("login", vector("login")) != []


def test_a_writer_whose_lease_is_over_is_refused(collection: Collection, tmp_path: Path) -> None:
    newer = write_snapshot(collection, tmp_path, token=5)
    with pytest.raises(TransientError, match="lease 4"):
        write_snapshot(collection, tmp_path, token=4)
    assert read_manifest(tmp_path, "code") == newer
    with pytest.raises(TransientError, match="lease 5"):
        write_snapshot(collection, tmp_path, token=5)
    write_snapshot(collection, tmp_path, token=6)


@pytest.mark.parametrize(
    "trouble",
    [
        OSError(28, "No space left on device"),
        sqlite3.OperationalError("No space left on device"),
        RuntimeError("No space left on device"),
    ],
)
def test_a_failed_write_leaves_the_old_snapshot_and_no_litter(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    info = write_snapshot(collection, tmp_path, token=1)

    def full_disk(*_: object) -> int:
        raise trouble

    monkeypatch.setattr(snapshot, "write_base", full_disk)
    with pytest.raises(TransientError, match=f"to {tmp_path}: No space left on device$"):
        write_snapshot(collection, tmp_path, token=2)
    assert Collection.open(tmp_path, "code").generation == f"{info.snapshot}+7"
    assert [path.name for path in (tmp_path / "code").iterdir() if path.is_dir()] == [info.snapshot]


@pytest.mark.parametrize("name", ["vectors.faiss", "columns.npy"])
def test_a_disk_that_fills_up_on_closing_a_file_is_noticed(
    collection: Collection, tmp_path: Path, name: str
) -> None:
    """Small files reach the disk only then, and C libraries do not look."""
    (tmp_path / name).symlink_to("/dev/full")
    frozen = collection.freeze()
    with pytest.raises(OSError, match="No space left"):
        write_base(tmp_path, frozen.dim, frozen.segments, frozen.states)


def test_old_folders_go_but_never_the_previous_nor_one_in_use(
    collection: Collection, tmp_path: Path
) -> None:
    home = tmp_path / "code"
    first = write_snapshot(collection, tmp_path, token=1)
    reader = Collection.open(tmp_path, "code")
    abandoned, busy = home / ".unfinished-dead", home / ".unfinished-busy"
    abandoned.mkdir()
    busy.mkdir()
    writer = os.open(busy, os.O_RDONLY)
    fcntl.flock(writer, fcntl.LOCK_EX)
    second = write_snapshot(collection, tmp_path, token=2)
    os.close(writer)
    assert {path.name for path in home.iterdir() if path.is_dir()} == {
        first.snapshot,
        second.snapshot,
        busy.name,
    }
    write_snapshot(collection, tmp_path, token=3)
    assert not busy.exists()
    assert not (home / first.snapshot).exists()
    query = ("login token", vector("login"))
    assert reader.search(*query) == collection.search(*query)


def test_opening_writes_nothing(collection: Collection, tmp_path: Path) -> None:
    write_snapshot(collection, tmp_path, token=1)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    Collection.open(tmp_path, "code").search("login", vector("login"))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_frozen_writer_holds_others_up_for_a_while_only(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = write_snapshot(collection, tmp_path, token=1)
    monkeypatch.setattr(snapshot, "_LOCK_S", 0.1)
    with (tmp_path / "code" / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(TransientError, match="cannot write"):
            write_snapshot(collection, tmp_path, token=2)
    assert read_manifest(tmp_path, "code") == info


def test_a_collection_without_files_has_a_snapshot_too(tmp_path: Path) -> None:
    nothing = Collection.empty("code", DIM, "test")
    nothing.apply(put("a.py", 1, "login"))
    nothing.apply(removal("a.py", 2))
    write_snapshot(nothing, tmp_path, token=1)
    assert Collection.open(tmp_path, "code").states() == nothing.states()
