"""Indexers that are frozen in the middle of something while another one goes on without them.

These play apart (`chaos.apart`), as they fork.
"""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING
from unittest import mock

from chaos.faulty import WordEncoder
from chaos.interrupt import Interrupted
from chaos.matrix import Result
from chaos.servers import Server
from chaos.trees import drift, path_of, source_text, write, write_tree
from contracts.errors import TransientError
from contracts.messages import FileChange
from indexer.apply import Indexer
from indexer.commit import Ledger
from indexer.scan import Rules
from indexer.snapshots import Snapshots
from streams.connect import connect
from streams.keys import Keys
from vectors.manifest import read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from redis import Redis

    from chaos.matrix import Run

FILES = 12
KEYS = Keys()
LEASE = KEYS.snapshot_lease("code")
REFUSED = 3
_LOCK_S = 0.2


class Site:
    """A tree, a store and a log that several indexers share."""

    def __init__(self, run: Run, server: Server, files: int = FILES) -> None:
        """Write a tree of so many files; nothing is indexed yet."""
        self.root, self.store = run.directory / "root", run.directory / "store"
        self.server = server
        self.marker = run.directory / "encoding"
        self._revision = 0
        write_tree(self.root, files)

    def change(self, number: int) -> str:
        """Rewrite a file; returns its path."""
        self._revision += 1
        write(self.root, path_of(number), source_text(number, self._revision))
        return path_of(number)

    def indexer(self, client: Redis, encoder: WordEncoder | None = None) -> Indexer:
        """An indexer as a process has it."""
        encoder = encoder or WordEncoder()
        ledger = Ledger(client, KEYS, self.store, "code", encoder)
        return Indexer(self.root, Rules(), ledger, encoder)


def put(*paths: str) -> list[FileChange]:
    """Hints about files."""
    return [FileChange(op="put", path=path) for path in paths]


def snapshots_of(client: Redis, indexer: Indexer, store: Path) -> Snapshots:
    """What writes its snapshots."""
    return Snapshots(client, KEYS, indexer.ledger, store)


def stale_lease(run: Run) -> Result:
    """Freeze a writer after each change it makes, let another write, and wake the first."""
    wrong: list[str] = []
    stride = run.scale(12, 2)
    with (
        Server(run.directory / "server") as server,
        mock.patch("vectors.snapshot._LOCK_S", _LOCK_S),
    ):
        site = Site(run, server)
        client = server.client()
        other = site.indexer(client)
        list(other.apply(put(*map(path_of, range(FILES)))))
        snapshots_of(client, other, site.store).write()
        runs = 0
        for point in count(run.chance.randint(1, stride), stride):
            with Interrupted(_child(site, _write_snapshot), point) as writer:
                if not writer.call:
                    break
                runs += 1
                found = list(_overtake(site, client, other, writer))
            wrong += [f"frozen after {writer.call} ({point}): {each}" for each in found]
        stale = _stale_commits(run, site, client, other)
        wrong += stale.violations
        wrong += drift(client, KEYS.vectors("code"), site.store, site.root)
    return Result(runs=runs + stale.runs, violations=tuple(wrong[:10]), note="two indexers")


def _child(site: Site, work: Callable[[Site, Redis], None]) -> Callable[[], None]:
    """What a frozen indexer does, on a connection of its own."""

    def run() -> None:
        with connect(site.server.url, role="chaos") as client:
            try:
                work(site, client)
            except TransientError as error:
                os._exit(REFUSED if "is over" in str(error) else 1)

    return run


def _write_snapshot(site: Site, client: Redis) -> None:
    indexer = site.indexer(client)
    snapshots_of(client, indexer, site.store).write()


def _overtake(site: Site, client: Redis, other: Indexer, writer: Interrupted) -> Iterator[str]:
    writer.freeze()
    list(other.apply(put(site.change(0))))
    client.delete(LEASE)  # as the server does when it is over
    snapshots = snapshots_of(client, other, site.store)
    before = read_manifest(site.store, "code")
    try:
        overtook = snapshots.write()
    except TransientError:
        overtook = False  # it is frozen where others must wait for it
    newer = read_manifest(site.store, "code")
    code = writer.thaw()
    last = read_manifest(site.store, "code")
    if overtook and last != newer:
        yield "the sleeper put its manifest over a newer one"
    if overtook and code not in {0, REFUSED}:
        yield f"it ended with {code}"
    if not (before and newer and last and before.token <= newer.token <= last.token):
        yield "a token went back"
    client.delete(LEASE)
    if not overtook and not snapshots.write():
        yield "the next snapshot is not written"


class _MarkingEncoder(WordEncoder):
    """Changes the disk when it embeds: the point to freeze at, after reading, before committing."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self._marker.touch()
        return super().encode(texts)


def _stale_commits(run: Run, site: Site, client: Redis, other: Indexer) -> Result:
    """Freeze an indexer between reading a file and committing it; the file changes meanwhile."""
    wrong: list[str] = []
    rounds = run.scale(6, 60)
    for turn in range(rounds):
        number = turn % FILES
        file = site.root / path_of(number)
        indexed = file.read_text()
        path = site.change(number)
        read = file.read_text()
        site.marker.unlink(missing_ok=True)
        with Interrupted(_child(site, _commit(path)), 1) as sleeper:
            sleeper.freeze()
            if turn % 3 == 0:  # put back to what is indexed, so that the other sees nothing new
                file.write_text(indexed)
                list(other.apply(put(path)))
            else:
                site.change(number)
                list(other.apply(put(path)))
            if turn % 3 == 1:  # put back to what the sleeper read
                file.write_text(read)
                list(other.apply(put(path)))
            if sleeper.thaw():
                wrong.append("an overtaken indexer failed")
        if drift(client, KEYS.vectors("code"), site.store, site.root):
            wrong.append(f"{path} went back, turn {turn}")
    return Result(runs=rounds, violations=tuple(wrong))


def _commit(path: str) -> Callable[[Site, Redis], None]:
    def work(site: Site, client: Redis) -> None:
        list(site.indexer(client, _MarkingEncoder(site.marker)).apply(put(path)))

    return work
