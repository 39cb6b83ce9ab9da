"""Publish a directory's changes as they happen.

The operating system's notifications only say where to look. What is published is the difference
between what was there before and what is there now, so notifications that are coarse, doubled or
about directories made a moment ago lose nothing; and a sweep every minute finds what the kernel
dropped.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import structlog
import watchfiles
from redis.exceptions import RedisError
from watchfiles._rust_notify import WatchfilesRustInternalError

from contracts.encode import file_change_fields
from contracts.errors import TransientError
from contracts.messages import FileChange
from indexer.ignore import ALWAYS
from indexer.scan import Rules, Tree
from streams.errors import is_transient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from redis import Redis

    from contracts.messages import FileOp
    from streams.keys import Keys

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 60.0
POLL_SECONDS = 1.0
RETRY_SECONDS = 1.0
_STEP_MS = 20  # silence that ends a burst
_DEBOUNCE_MS = 60  # longest burst published as one
_WAKE_MS = 200
_PIPELINE = 500  # commands sent at once

Signature = tuple[int, int, int]
"""Modification time in ns, size and inode: what tells that a file changed without reading it."""


class Mirror:
    """What was last seen of a tree, to tell what changed since."""

    def __init__(self, root: Path, rules: Rules, collection: str) -> None:
        """Nothing seen yet."""
        self._root = root
        self._rules = rules
        self._collection = collection
        self._seen: dict[str, Signature] = {}

    def look(self, scopes: set[str]) -> list[FileChange]:
        """Look again at files and directories, and return what changed in them.

        Args:
            scopes: paths relative to the root; a directory stands for all in it, "" for the root.
                A file named here is reported even if it looks the same, and so is what is gone
                though it was never seen: it may have been there long enough for an indexer.

        Raises:
            TransientError: the root is gone, or the disk failed.
        """
        tree = Tree(self._root, self._rules)
        now: dict[str, Signature] = {}
        for scope in _outermost(scopes):
            now.update((path, _signature(status)) for path, status in tree.files(scope))
        changed = [path for path, seen in now.items() if self._seen.get(path) != seen]
        changed += [path for path in scopes & now.keys() if self._seen.get(path) == now[path]]
        gone = [path for path in self._below(scopes - now.keys()) if path not in now]
        self._seen.update(now)
        for path in gone:
            del self._seen[path]
        missed = {path for path in scopes.difference(now, gone, ("",)) if tree.lacks(path)}
        return [self._change("put", path) for path in changed] + [
            self._change("delete", path) for path in (*gone, *_outermost(missed))
        ]

    def _below(self, scopes: set[str]) -> list[str]:
        """Files seen before that are, or lie below, one of the scopes."""
        files = scopes & self._seen.keys()
        if scopes == files:
            return list(files)
        prefixes = tuple(f"{scope}/" if scope else "" for scope in _outermost(scopes - files))
        return [path for path in self._seen if path in files or path.startswith(prefixes)]

    def _change(self, op: FileOp, path: str) -> FileChange:
        return FileChange(op=op, path=path, collection=self._collection, root=str(self._root))


def watch(  # noqa: PLR0913 - a directory, what becomes of its changes, and how closely to look
    root: Path,
    publish: Callable[[Sequence[FileChange]], None],
    stop: threading.Event,
    *,
    rules: Rules | None = None,
    collection: str = "code",
    initial: bool = False,
    polling: bool = False,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Publish changes of the files under `root` until `stop` is set.

    Args:
        root: the directory.
        publish: takes changes in the order they were noticed.
        stop: ends the watch, within a quarter of a second.
        rules: which files count.
        collection: named in the changes.
        initial: also publish every file there is when the watch begins.
        polling: look every second instead of being notified (network file systems).
        ready: called once everything that changes from now on will be noticed.

    Raises:
        TransientError: the root is gone, or `publish` raised it.
    """
    mirror = Mirror(root.resolve(), rules or Rules(), collection)
    touched = _polled(stop) if polling else _notified(root.resolve(), stop)
    next(touched, None)
    changes = mirror.look({""})
    if initial and changes:
        publish(changes)
    ready()
    for scopes in touched:
        if changes := mirror.look(scopes):
            publish(changes)


def watch_directory(client: Redis, keys: Keys, directory: Path, collection: str = "code") -> None:
    """Publish a directory's changes to the stream `files` until the process is told to stop.

    While the server is away, what changes is kept and published when it is back. While the
    directory is away, it is waited for; when it is back, every file in it is published.
    """
    stop = threading.Event()

    def publish(changes: Sequence[FileChange]) -> None:
        while not _published(client, keys, changes):
            stop.wait(RETRY_SECONDS)
        log.info("published", changes=len(changes))

    returned = False
    while True:
        try:
            return watch(directory, publish, stop, collection=collection, initial=returned)
        except TransientError as error:
            log.warning("waiting_for_the_directory", error=str(error))
        while not directory.is_dir():
            stop.wait(RETRY_SECONDS)
        returned = True


def _published(client: Redis, keys: Keys, changes: Sequence[FileChange]) -> bool:
    try:
        publish_changes(client, keys, changes)
    except RedisError as error:
        if not is_transient(error):
            raise
        log.warning("cannot_publish", error=str(error), kept=len(changes))
        return False
    return True


def publish_changes(client: Redis, keys: Keys, changes: Sequence[FileChange]) -> None:
    """Append changes to the stream `files`.

    Raises:
        redis.RedisError: some may not have been appended; appending all again does no harm.
    """
    for start in range(0, len(changes), _PIPELINE):
        with client.pipeline(transaction=False) as pipeline:
            for change in changes[start : start + _PIPELINE]:
                pipeline.xadd(keys.files, dict(file_change_fields(change).items()))
            pipeline.execute()


def _notified(root: Path, stop: threading.Event) -> Iterator[set[str]]:
    """Where to look, as the kernel tells; at everything whenever listening begins."""
    while not stop.is_set():
        try:
            yield from _listen(root, stop)
        except OSError as error:
            log.warning(
                "polling",
                reason=str(error),
                remedy="raise the limits: sysctl fs.inotify.max_user_watches=1048576 "
                "fs.inotify.max_user_instances=1024",
            )
            yield from _polled(stop)
        except WatchfilesRustInternalError as error:  # a name that is not UTF-8 ends it
            log.warning("listening_anew", reason=ascii(str(error)))


def _listen(root: Path, stop: threading.Event) -> Iterator[set[str]]:
    new = {""}
    sweep_at = time.monotonic() + SWEEP_SECONDS
    for changes in watchfiles.watch(
        root,
        watch_filter=_counts(root),
        debounce=_DEBOUNCE_MS,
        step=_STEP_MS,
        rust_timeout=_WAKE_MS,
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=True,
        ignore_permission_denied=True,
    ):
        scopes = new | {_scope(root, path) for _, path in changes}
        if time.monotonic() >= sweep_at:
            scopes |= {""}
            sweep_at = time.monotonic() + SWEEP_SECONDS
        # What was put into a new directory before the kernel listened there: look once more.
        new = {
            _scope(root, path)
            for change, path in changes
            if change == watchfiles.Change.added and os.path.isdir(path)  # noqa: PTH112 - hot
        }
        yield scopes


def _polled(stop: threading.Event) -> Iterator[set[str]]:
    yield set()
    while not stop.wait(POLL_SECONDS):
        yield {""}


def _counts(root: Path) -> Callable[[watchfiles.Change, str], bool]:
    """Leave out what can change no file that counts; called once for every notification."""
    skipped = tuple(f"/{name}/" for name in ALWAYS)
    exclude = str(root / ".git" / "info" / "exclude")
    start = len(str(root))

    def counts(_change: watchfiles.Change, path: str) -> bool:
        inside = f"{path[start:]}/"
        return path == exclude or not any(name in inside for name in skipped)

    return counts


def _scope(root: Path, path: str) -> str:
    """What to look at when `path` changed; for an ignore file, all that it rules."""
    relative = path[len(str(root)) :].strip("/")
    if relative == ".git/info/exclude":
        return ""
    parent, _, name = relative.rpartition("/")
    return parent if name == ".gitignore" else relative


def _outermost(scopes: set[str]) -> list[str]:
    """The scopes that lie in no other."""
    kept: list[str] = []
    for scope in sorted(scopes, key=lambda path: path.split("/") if path else []):
        if not kept or not (kept[-1] == "" or f"{scope}/".startswith(f"{kept[-1]}/")):
            kept.append(scope)
    return kept


def _signature(status: os.stat_result) -> Signature:
    return status.st_mtime_ns, status.st_size, status.st_ino
