from __future__ import annotations

import os
import shutil
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from redis import exceptions

import indexer.watch
from contracts.messages import FileChange
from contracts.parse import parse_file_change
from indexer.scan import Rules
from indexer.watch import Mirror, publish_changes, watch, watch_directory
from streams.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import watchfiles
    from redis import Redis

PATIENCE = 10.0


class Published:
    """What a watch has published so far, folded into the set of files its readers know of."""

    def __init__(self) -> None:
        self.changes: list[FileChange] = []
        self.files: set[str] = set()
        self._grown = threading.Condition()

    def __call__(self, changes: Sequence[FileChange]) -> None:
        with self._grown:
            self.changes += changes
            for change in changes:
                if change.op == "put":
                    self.files.add(change.path)
                else:
                    self.files.discard(change.path)
            self._grown.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self._grown:
            assert self._grown.wait_for(condition, PATIENCE), (self.files, self.changes)


@contextmanager
def watching(root: Path, *, polling: bool = False, initial: bool = True) -> Iterator[Published]:
    published, stop, ready = Published(), threading.Event(), threading.Event()
    thread = threading.Thread(
        target=watch,
        args=(root, published, stop),
        kwargs={"ready": ready.set, "polling": polling, "initial": initial},
    )
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield published
    finally:
        stop.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize("polling", [False, True], ids=["notified", "polling"])
def test_publishes_what_is_made_changed_moved_and_deleted(tmp_path: Path, polling: bool) -> None:  # noqa: FBT001 - a parameter
    (tmp_path / "old.py").write_text("1")
    with watching(tmp_path, polling=polling) as published:
        assert published.files == {"old.py"}

        (tmp_path / "new.py").write_text("1")
        published.wait_for(lambda: "new.py" in published.files)

        before = len(published.changes)
        (tmp_path / "new.py").write_text("22")
        published.wait_for(lambda: any(c.path == "new.py" for c in published.changes[before:]))

        (tmp_path / "new.py").rename(tmp_path / "moved.py")
        published.wait_for(lambda: published.files == {"old.py", "moved.py"})

        (tmp_path / "old.py").unlink()
        published.wait_for(lambda: published.files == {"moved.py"})


def test_directories_made_filled_moved_and_deleted_at_once_lose_nothing(tmp_path: Path) -> None:
    with watching(tmp_path) as published:
        deep = [f"d{n}/e/f/{m}.py" for n in range(20) for m in range(5)]
        for path in deep:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text("1")
        published.wait_for(lambda: published.files == set(deep))

        (tmp_path / "d0").rename(tmp_path / "moved")
        shutil.rmtree(tmp_path / "d1")
        kept = {path for path in deep if not path.startswith(("d0/", "d1/"))}
        kept |= {f"moved/e/f/{m}.py" for m in range(5)}
        published.wait_for(lambda: published.files == kept)

        (tmp_path / "moved" / "e" / "late.py").write_text("1")
        published.wait_for(lambda: "moved/e/late.py" in published.files)


def test_ignored_files_are_silent_and_a_changed_gitignore_is_followed(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".gitignore").write_text("*.log\n")
    (tmp_path / "sub" / "a.py").write_text("1")
    (tmp_path / ".git").mkdir()
    with watching(tmp_path) as published:
        (tmp_path / "sub" / "a.log").write_text("1")
        (tmp_path / ".git" / "index").write_text("1")
        (tmp_path / "sub" / "b.py").write_text("1")
        published.wait_for(lambda: "sub/b.py" in published.files)
        assert published.files == {"sub/.gitignore", "sub/a.py", "sub/b.py"}

        (tmp_path / "sub" / ".gitignore").write_text("*.py\n")
        published.wait_for(lambda: published.files == {"sub/.gitignore", "sub/a.log"})


def test_a_saved_file_is_published_within_a_tenth_of_a_second(tmp_path: Path) -> None:
    with watching(tmp_path) as published:
        taken = []
        for number in range(7):
            begun = time.perf_counter()
            (tmp_path / f"{number}.py").write_text("1")
            published.wait_for(lambda wanted=f"{number}.py": wanted in published.files)
            taken.append(time.perf_counter() - begun)

        assert sorted(taken)[len(taken) // 2] < 0.1


def test_where_the_kernel_refuses_it_polls_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> Iterator[set[watchfiles.main.FileChange]]:
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr(indexer.watch.watchfiles, "watch", refuse)
    with watching(tmp_path) as published:
        (tmp_path / "a.py").write_text("1")
        published.wait_for(lambda: published.files == {"a.py"})


def test_a_name_that_is_not_text_does_not_end_the_watch(tmp_path: Path) -> None:
    with watching(tmp_path) as published:
        for number in range(3):
            (tmp_path / os.fsdecode(b"\xff%d.py" % number)).write_text("no text in its name")
            (tmp_path / f"{number}.py").write_text("saved at the same time")
            published.wait_for(lambda wanted=f"{number}.py": wanted in published.files)
        assert published.files == {"0.py", "1.py", "2.py"}


def test_a_sweep_finds_what_no_notification_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/kept.py", "a/changed.py", "a/gone.py"):
        (tmp_path / name).write_text("1")
    mirror = Mirror(tmp_path, Rules(), "code")
    assert len(mirror.look({""})) == 3

    (tmp_path / "a/changed.py").write_text("22")
    (tmp_path / "a/gone.py").unlink()

    assert {(c.op, c.path) for c in mirror.look({""})} == {
        ("put", "a/changed.py"),
        ("delete", "a/gone.py"),
    }
    assert mirror.look({""}) == []


def test_what_came_and_went_between_two_looks_is_reported_gone(tmp_path: Path) -> None:
    """An indexer that was told of it before may have read it meanwhile."""
    (tmp_path / "a/build").mkdir(parents=True)
    (tmp_path / "a/link.py").symlink_to("b.py")
    (tmp_path / ".gitignore").write_text("*.log\nbuild/\n")
    mirror = Mirror(tmp_path, Rules(), "code")
    mirror.look({""})

    named = {"", "a", "a/gone.py", "b", "b/c", "b/c/gone.py", "a/link.py", "a/x.log", "a/build"}

    assert {(c.op, c.path) for c in mirror.look(named)} == {
        ("delete", "a/gone.py"),
        ("delete", "b"),
        ("delete", "a/link.py"),
    }


def test_changes_travel_through_the_stream_unharmed(redis_client: Redis) -> None:
    keys = Keys()
    changes = [FileChange(op="put", path=f"dir/é {n}.py", root="/src") for n in range(1200)]

    publish_changes(redis_client, keys, changes)

    entries = redis_client.xrange(keys.files)
    assert [parse_file_change(fields) for _, fields in entries] == changes


def test_what_changes_while_the_server_is_away_is_published_afterwards(
    redis_client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys()
    failures = iter([exceptions.ConnectionError("away"), exceptions.TimeoutError("away")])
    append = indexer.watch.publish_changes

    def flaky(client: Redis, keys: Keys, changes: Sequence[FileChange]) -> None:
        if failure := next(failures, None):
            raise failure
        append(client, keys, changes)

    monkeypatch.setattr(indexer.watch, "publish_changes", flaky)
    monkeypatch.setattr(indexer.watch, "RETRY_SECONDS", 0.01)

    def once(_root: Path, publish: Callable[..., None], *_: object, **__: object) -> None:
        publish([FileChange(op="put", path="a.py")])

    monkeypatch.setattr(indexer.watch, "watch", once)
    watch_directory(redis_client, keys, tmp_path)

    assert redis_client.xlen(keys.files) == 1
