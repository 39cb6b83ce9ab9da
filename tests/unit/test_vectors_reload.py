from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from corpus import DIM, put, removal, vector

from contracts.errors import TransientError
from vectors.collection import Collection
from vectors.snapshot import write_snapshot
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


def test_reload_jumps_ahead_of_a_gap(collection: Collection, tmp_path: Path) -> None:
    write_snapshot(collection, tmp_path, token=1)
    behind = Collection.empty("code", DIM, "test", LogPosition("log", 3, "3-0"))
    assert behind.reload_if_newer(tmp_path)
    assert behind.position == collection.position
    assert behind.states() == collection.states()


def test_reload_gives_up_an_entry_of_the_same_number_that_the_log_lost(
    collection: Collection, tmp_path: Path
) -> None:
    write_snapshot(collection, tmp_path, token=1)
    reader = Collection.empty("code", DIM, "test", LogPosition("log", 7, "6-9"))
    reader.apply(put("src/lost.py", 1, "lost"))
    assert reader.reload_if_newer(tmp_path)
    assert reader.position == collection.position
    assert reader.states() == collection.states()


def test_a_snapshot_of_another_log_is_taken_only_to_start_again(
    collection: Collection, tmp_path: Path
) -> None:
    info = write_snapshot(collection, tmp_path, token=1)
    other = Collection.empty("code", DIM, "test", LogPosition("other", 900, "900-0"))
    other.apply(put("src/other.py", 50, "lost"))
    assert not other.reload_if_newer(tmp_path)
    assert other.files().keys() == {"src/other.py"}
    other.start_again(tmp_path, info)
    assert other.position == collection.position
    assert other.states() == collection.states()


def test_a_damaged_newer_snapshot_changes_nothing(collection: Collection, tmp_path: Path) -> None:
    write_snapshot(collection, tmp_path, token=1)
    reader = Collection.open(tmp_path, "code")
    before = reader.generation
    newer = write_snapshot(collection, tmp_path, token=2)
    (tmp_path / "code" / newer.snapshot / "chunks.sqlite").unlink()
    with pytest.raises(TransientError):
        reader.reload_if_newer(tmp_path)
    assert reader.generation == before
    assert reader.search("login", vector("login")) != []
