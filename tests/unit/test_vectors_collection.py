from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from corpus import DIM, put, removal, vector

from vectors.collection import Collection
from vectors.log import Gap, LogEntry
from vectors.snapshot import write_snapshot
from vectors.types import FileDelta, FileState, LogPosition

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def collection() -> Collection:
    return Collection.empty("code", DIM, "test")


def entry(seq: int, delta: FileDelta, log_id: str = "log") -> LogEntry:
    position = LogPosition(log_id, seq, f"{seq}-0")
    return LogEntry(position=position, before=f"{seq - 1}-0", embedder="test", delta=delta)


def test_an_older_or_equal_version_changes_nothing(collection: Collection) -> None:
    assert collection.apply(put("a.py", 2, "login"))
    assert not collection.apply(put("a.py", 2, "other"))
    assert not collection.apply(put("a.py", 1, "other"))
    assert collection.files()["a.py"] == FileState(2, put("a.py", 2, "login").content_hash)
    assert collection.search("other", None) == []


def test_a_removed_file_is_not_brought_back_by_a_late_put(collection: Collection) -> None:
    collection.apply(removal("a.py", 5))
    assert not collection.apply(put("a.py", 4, "login"))
    assert collection.files() == {}
    assert collection.states() == {"a.py": FileState(5, "")}
    assert collection.apply(put("a.py", 6, "login"))
    assert collection.chunk_count == 1


def test_a_file_without_chunks_is_a_file(collection: Collection) -> None:
    collection.apply(put("empty.py", 1))
    assert list(collection.files()) == ["empty.py"]
    assert collection.chunk_count == 0


def test_files_below_a_directory_are_found_in_base_and_delta(
    collection: Collection, tmp_path: Path
) -> None:
    for path in ("a.py", "a/x.py", "a/b/y.py", "a-b/z.py", "a/\U0010ffff.py", "ab/a/x.py"):
        collection.apply(put(path, 1, "login"))
    write_snapshot(collection, tmp_path, token=1)
    based = Collection.open(tmp_path, "code")
    based.apply(removal("a/x.py", 2))
    based.apply(put("a/new.py", 1, "login"))

    assert sorted(based.paths_under(("a/",))) == ["a/b/y.py", "a/new.py", "a/\U0010ffff.py"]
    assert sorted(based.paths_under(("a/b/", "a-b/", "a/"))) == [
        "a-b/z.py",
        "a/b/y.py",
        "a/new.py",
        "a/\U0010ffff.py",
    ]
    assert set(based.paths_under(("",))) == based.files().keys()
    assert based.paths_under(("none/",)) == based.paths_under(()) == []


def test_generation_and_position_follow_the_log(collection: Collection) -> None:
    assert collection.generation == "none+0"
    assert collection.apply_entry(entry(1, put("a.py", 1, "login")))
    assert not collection.apply_entry(entry(1, put("a.py", 1, "login")))
    assert not collection.apply_entry(entry(2, put("a.py", 1, "login")))
    assert collection.generation == "none+2"
    assert collection.position == LogPosition("log", 2, "2-0")


def test_a_gap_is_refused_and_leaves_everything_as_it_was(collection: Collection) -> None:
    collection.apply_entry(entry(1, put("a.py", 1, "login")))
    for wrong in (entry(3, put("b.py", 1, "x")), entry(2, put("b.py", 1, "x"), log_id="new")):
        with pytest.raises(Gap):
            collection.apply_entry(wrong)
    assert collection.position.seq == 1
    assert list(collection.files()) == ["a.py"]


def test_a_refused_delta_leaves_no_trace(collection: Collection) -> None:
    collection.apply(put("a.py", 1, "login"))
    before = collection.search("login", vector("login"))
    with pytest.raises(Exception, match="vector values"):
        collection.apply(put("a.py", 2, "logout", dim=DIM + 1))
    assert collection.search("login", vector("login")) == before


def test_a_search_sees_a_file_before_or_after_a_change_but_never_between(
    collection: Collection,
) -> None:
    """Both chunks of the file always carry the same version."""
    collection.apply(put("a.py", 1, "login version1", "login version1 too"))
    done = threading.Event()
    torn: list[list[str]] = []
    searched = 0

    def apply() -> None:
        for version in range(2, 400):
            collection.apply(
                put("a.py", version, f"login version{version}", f"login version{version} too")
            )
        done.set()

    applier = threading.Thread(target=apply)
    applier.start()
    while not done.is_set() or not searched:
        versions = [hit.text.split()[1] for hit in collection.search("login", vector("login"))]
        searched += 1
        if len(versions) != 2 or len(set(versions)) != 1:
            torn.append(versions)
    applier.join()
    assert torn == []
    assert collection.chunk_count == 2
