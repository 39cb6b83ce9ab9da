"""Faults of the delta log: trimmed, set back, or lost while it is followed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chaos.arena import Arena
from chaos.faulty import WordEncoder
from chaos.flow import faulty, switch_of
from chaos.matrix import Result, Row
from chaos.reader import Reader
from chaos.revisions import FILES, change
from chaos.servers import Server, wait_until
from chaos.trees import contents, path_of, rescanned, source_text, write, write_tree
from contracts.messages import FileChange
from indexer.watch import publish_changes
from streams.keys import Keys
from vectors.collection import Collection
from vectors.disk import locked
from vectors.follow import Follower
from vectors.log import commit, current_version, trim
from vectors.manifest import MANIFEST
from vectors.snapshot import current_token, write_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from redis import Redis

    from chaos.fleet import Fleet
    from chaos.matrix import Run
    from chaos.trees import Contents
    from vectors.types import FileDelta

KEYS = Keys()
LOG, VERSIONS = KEYS.vectors("code"), KEYS.file_versions("code")
SURE = ("ok", "empty")  # what a decision says that vouches for its context
_TREE = 40
_INDEXER = {"SNAPSHOT_INTERVAL_S": "1", "INDEXER_LEASE_MS": "2000"}


class _Log:
    """A log written change by change, and the snapshots of it."""

    def __init__(self, client: Redis, store: Path) -> None:
        client.flushall()
        self.client, self.store = client, store
        self._revision = self._token = 0
        self._committed: list[FileDelta] = []

    @property
    def contents(self) -> Contents:
        """What whoever has read all of it holds."""
        return contents(self._replayed())

    def commit(self, count: int) -> None:
        """Commit some more changes."""
        for _ in range(count):
            self._revision += 1
            self._committed.append(change(self._revision))
            commit(
                self.client,
                log_key=LOG,
                versions_key=VERSIONS,
                embedder=WordEncoder.identity,
                delta=self._committed[-1],
                expected_version=current_version(self.client, VERSIONS, self._committed[-1].path),
            )

    def snapshot(self, *, trimmed: bool = True) -> None:
        """Write a snapshot of everything committed, and leave nothing in the log but its end."""
        indexer = Collection.empty("code", WordEncoder.dim, WordEncoder.identity)
        follower = Follower(self.client, indexer, self.store, LOG)
        while follower.poll():
            pass
        self._token += 1
        write_snapshot(indexer, self.store, token=self._token)
        if trimmed:
            trim(self.client, LOG, indexer.position, keep=1)

    def lose_last(self, count: int, after: Callable[[], None]) -> None:
        """Commit some more, and after something was done come back without them."""
        kept = {key: self.client.dump(key) or b"" for key in (LOG, VERSIONS)}
        self.commit(count)
        after()
        for key, dumped in kept.items():
            self.client.restore(key, 0, dumped, replace=True)
        del self._committed[-count:]

    def begin_anew(self) -> None:
        """Do what indexers do that cannot read on either."""
        self.client.delete(LOG, VERSIONS)
        self._committed.clear()
        self.commit(FILES)
        self.snapshot()

    def _replayed(self) -> Collection:
        replayed = Collection.empty("code", WordEncoder.dim, WordEncoder.identity)
        for delta in self._committed:
            replayed.apply(delta)
        return replayed


def trimmed_log(run: Run) -> Result:
    """Leave readers behind what the log still has, with and without a snapshot to go on from."""
    wrong: list[str] = []
    turns = run.scale(8, 60)
    with Server(run.directory / "server") as server, server.client() as client:
        for turn in range(turns):
            log = _Log(client, run.directory / f"store{turn}")
            log.commit(run.chance.randint(1, FILES))
            log.snapshot(trimmed=False)
            with Reader(client, log.store, LOG) as reader:
                reader.catch_up()
                play = (_bridged, _unbridged, _set_back)[turn % 3]
                wrong += [
                    f"turn {turn}, {play.__name__}: {each}" for each in play(run, log, reader)
                ]
    return Result(runs=turns, violations=tuple(wrong[:10]), note="trimmed, set back")


def _bridged(run: Run, log: _Log, reader: Reader) -> Iterator[str]:
    log.commit(run.chance.randint(2, 2 * FILES))
    log.snapshot()
    log.commit(run.chance.randint(0, 3))
    reader.catch_up()
    yield from _level(log, reader)


def _unbridged(run: Run, log: _Log, reader: Reader) -> Iterator[str]:
    before = reader.contents
    log.commit(run.chance.randint(2, FILES))
    log.snapshot()
    for path in log.store.rglob("*.faiss"):
        path.unlink()
    log.commit(run.chance.randint(0, 3))
    with Reader(log.client, log.store, LOG) as empty:
        for each, expected in ((reader, "limited"), (empty, "unavailable")):
            each.catch_up()
            if each.status != expected:
                yield f"over a gap it says {each.status}, not {expected}"
        if reader.contents != before:
            yield "what it holds is neither old nor new"
    log.begin_anew()
    reader.catch_up()
    yield from _level(log, reader)


def _set_back(run: Run, log: _Log, reader: Reader) -> Iterator[str]:
    lost = run.chance.randint(1, 8)
    log.lose_last(lost, reader.catch_up)
    log.commit(max(0, lost + run.chance.randint(-2, 2)))
    reader.catch_up()
    yield from _level(log, reader)


def _level(log: _Log, reader: Reader) -> Iterator[str]:
    if reader.status not in SURE:
        yield f"level with the log it says {reader.status}"
    if reader.contents != log.contents:
        yield "it holds something else than the log says"


def lost_log(run: Run) -> Result:
    """Delete the log, or everything, while one of two indexers is frozen and files change."""
    wrong: list[str] = []
    worst = 0.0
    root, store = run.directory / "root", run.directory / "store"
    write_tree(root, _TREE)
    with Arena(run) as arena:
        losses: tuple[Callable[[], object], ...] = (
            arena.client.flushall,
            lambda: arena.client.delete(LOG),
            lambda: arena.client.delete(LOG, VERSIONS),
        )
        rounds = run.scale(1, 6)
        _, switch = switch_of(arena)
        indexers = faulty("indexer", arena, store, switch, CORTEX_ROOT=str(root))
        with indexers.start(2, **_INDEXER), Reader(arena.client, store, LOG) as reader:
            indexers.wait_reading()
            reader.start()
            _wait_level(reader, root)
            for turn in range(rounds):
                wait_until((store / "code" / MANIFEST).exists, "a snapshot")
                with locked(store / "code", 10.0):
                    # Frozen where it holds this lock, it keeps every other one from writing: that
                    # a frozen writer only holds others up is what the row stale-lease is about.
                    indexers.freeze(1)
                losses[turn % len(losses)]()
                _change(arena.client, root, turn)
                wait_until(lambda: reader.status not in SURE, "the reader notices the loss")
                if not reader.contents:
                    wrong.append("the reader dropped what it had")
                begun = time.monotonic()
                _wait_level(reader, root)
                worst = max(worst, time.monotonic() - begun)
                indexers.thaw(1)
                _alone(indexers, arena.client, store, root, turn + _TREE // 2)
    note = "FLUSHALL, DEL; two indexers, one frozen"
    return Result(runs=rounds, recovery=worst, violations=tuple(wrong), note=note)


def _alone(indexers: Fleet, client: Redis, store: Path, root: Path, turn: int) -> None:
    """Kill the indexer that built the log anew; what the other one writes must be whole, too."""
    indexers.kill(0)
    token = current_token(store, "code")
    _change(client, root, turn)
    wait_until(lambda: current_token(store, "code") > token, "the other one's snapshot", 60.0)
    expected = rescanned(root)
    wait_until(lambda: _read(client, store) == expected, "what the other one wrote is whole", 60.0)
    indexers.replace(0, **_INDEXER)
    indexers.wait_reading()


def _read(client: Redis, store: Path) -> Contents:
    """What a worker that starts now finds."""
    with Reader(client, store, LOG) as late:
        late.catch_up()
        return late.contents


def _change(client: Redis, root: Path, turn: int) -> None:
    """Rewrite one file, remove another, and say so."""
    write(root, path_of(turn), source_text(turn, turn + 1))
    (root / path_of(turn + 10)).unlink(missing_ok=True)
    changed = [FileChange(op="put", path=path_of(turn + at)) for at in (0, 10)]
    publish_changes(client, KEYS, changed)


def _wait_level(reader: Reader, root: Path) -> None:
    expected = rescanned(root)
    wait_until(
        lambda: reader.status in SURE and reader.contents == expected,
        "the reader is level with a rescan",
        within=60.0,
    )


ROWS = (
    Row(
        "trimmed-log",
        "a reader older than the log loads the snapshot wholly, or says that it may be outdated",
        trimmed_log,
    ),
    Row(
        "lost-log",
        "the index is built anew and readers end equal to a rescan; none serves a silent gap",
        lost_log,
    ),
)
