"""Putting files into a Redis with the Query Engine: each in one transaction with the position."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import LockError, WatchError

from contracts.errors import FatalError
from vectors.log import Gap
from vectors.query_engine_layout import NO_FILE, FileRow, chunk_row, encode, file_row
from vectors.types import LogPosition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from redis import Redis
    from redis.lock import Lock

    from vectors.log import LogEntry
    from vectors.query_engine_layout import ChunkRow, Layout
    from vectors.types import FileDelta

_FILLING_S = 60.0  # after which who fills, and says nothing, is taken for dead
_SAYS_SO_EVERY = 64  # files
_AT_ONCE = 1_000  # keys removed per exchange
_NO_LOG = "-"  # no entry follows it, so a collection that starts again takes none until it is full


class Meta(NamedTuple):
    """What a collection says of itself.

    Attributes:
        position: the last log entry that is in.
        snapshot: what it was filled from last; `none` if it never was.
        chunks: that can be found.
    """

    position: LogPosition
    snapshot: str
    chunks: int


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes one collection; any number of processes may, the position decides."""

    client: Redis
    layout: Layout

    def meta(self) -> Meta:
        """Read what the collection says of itself.

        Raises:
            redis.RedisError: the server could not be asked.
        """
        found: Any = self.client.hgetall(self.layout.key("meta"))
        return _meta(found)

    def replace(self, delta: FileDelta, entry: LogEntry | None = None) -> bool:
        """Take over the new state of a file if it is newer, and move the position to its entry.

        Returns:
            Whether the file changed.

        Raises:
            Gap: the entry before this one is not the last one that is in.
            FatalError: the vectors are not of this collection's width.
            redis.RedisError: the server could not be asked.
        """
        width = 2 * self.layout.dim * len(delta.chunks)  # bytes of float16
        if len(delta.vectors) not in {0, width}:
            raise FatalError(
                f"{delta.path}: {len(delta.vectors)} bytes of vector values, not {width}"
            )
        while True:
            with _pipeline(self.client) as pipe:
                try:
                    return self._try(pipe, delta, entry)
                except WatchError:
                    continue  # another one was first; look at what it left

    def fill(
        self,
        deltas: Iterable[FileDelta],
        position: LogPosition,
        snapshot: str,
        *,
        instead_of: LogPosition | None = None,
    ) -> bool:
        """Take over a whole snapshot; what is newer stays.

        Args:
            deltas: the files.
            position: of the snapshot in the log.
            snapshot: its name.
            instead_of: give up what is there first, if that is the position it is still at.

        Returns:
            Whether it did; not while another one is at it.

        Raises:
            redis.RedisError: the server could not be asked, or took this one for dead.
        """
        turn = self.client.lock(
            self.layout.key("filling"), timeout=_FILLING_S, blocking=False, thread_local=False
        )
        if not turn.acquire():
            return False
        try:
            if instead_of is not None and self.meta().position != instead_of:
                return False  # another one has just done it
            self._forget(turn)
            if instead_of is not None:
                self._drop()
                self._forget(turn)
            for number, delta in enumerate(deltas):
                if number % _SAYS_SO_EVERY == 0:
                    turn.reacquire()
                self.replace(delta)
            self._move(position, snapshot)
        finally:
            with suppress(LockError):  # another one's turn by now
                turn.release()
        return True

    def clear(self) -> None:
        """Remove everything.

        Raises:
            redis.RedisError: the server could not be asked.
        """
        self._forget()
        self._drop()
        self._forget()
        self.client.delete(self.layout.key("meta"))

    def _drop(self) -> None:
        """Give up every file in one step, so that none is written unseen; its chunks are left."""
        meta, terms, files, gone = map(self.layout.key, ("meta", "terms", "files", "gone"))
        while True:
            with _pipeline(self.client) as pipe:
                try:
                    pipe.watch(meta)
                    there = pipe.exists(files)
                    pipe.multi()
                    pipe.delete(meta, terms)
                    pipe.hset(meta, "log_id", _NO_LOG)
                    if there:
                        pipe.rename(files, gone)
                    pipe.execute()
                except WatchError:
                    continue
                return

    def _forget(self, turn: Lock | None = None) -> None:
        """Remove the chunks of files that were given up, by whomever."""
        gone = self.layout.key("gone")
        files: Any = self.client.hgetall(gone)
        keys: list[str] = []
        for path, row in files.items():
            keys += self.layout.chunk_keys(path.decode(), file_row.decode(row))
        for start in range(0, len(keys), _AT_ONCE):
            if turn is not None:
                turn.reacquire()
            self.client.delete(*keys[start : start + _AT_ONCE])
        self.client.delete(gone)

    def _try(self, pipe: Any, delta: FileDelta, entry: LogEntry | None) -> bool:  # noqa: ANN401 - untyped
        pipe.watch(self.layout.key("meta"))
        found: Any = pipe.hgetall(self.layout.key("meta"))
        if entry is not None and not _follows(entry, _meta(found).position, self.layout.collection):
            return False
        row: Any = pipe.hget(self.layout.key("files"), delta.path)
        known = NO_FILE if row is None else file_row.decode(row)
        newer = row is None or delta.version > known.version
        if not newer and entry is None:
            return False
        keys = self.layout.chunk_keys(delta.path, known) if newer else []
        old = [chunk_row.decode(each) for each in self._rows(keys)]
        pipe.multi()
        if newer:
            self._put(pipe, delta, keys, old)
        if entry is not None:
            pipe.hset(self.layout.key("meta"), mapping=_fields(entry.position))
        pipe.execute()
        return newer

    def _rows(self, keys: Sequence[str]) -> list[bytes]:
        pipeline = self.client.pipeline(transaction=False)
        for key in keys:
            pipeline.hget(key, "row")
        return [row for row in (pipeline.execute() if keys else []) if row is not None]

    def _put(
        self,
        pipe: Any,  # noqa: ANN401 - untyped
        delta: FileDelta,
        gone: Sequence[str],
        old: Sequence[ChunkRow],
    ) -> None:
        rows = []
        if gone:
            pipe.delete(*gone)
        state = FileRow(delta.version, delta.content_hash, len(delta.chunks))
        keys = self.layout.chunk_keys(delta.path, state)
        for key, (chunk, fields) in zip(keys, self.layout.chunks(delta), strict=True):
            rows.append(chunk)
            pipe.hset(key, mapping=fields)
        pipe.hset(self.layout.key("files"), delta.path, encode(state))
        meta = self.layout.key("meta")
        pipe.hincrby(meta, "chunks", len(rows) - len(old))
        pipe.hincrby(meta, "length", sum(_lengths(rows)) - sum(_lengths(old)))
        frequency = Counter(term for row in rows for term in row.counts)
        frequency.subtract(term for row in old for term in row.counts)
        for term, change in frequency.items():
            if change:
                pipe.hincrby(self.layout.key("terms"), term, change)

    def _move(self, position: LogPosition, snapshot: str) -> None:
        """Note what was filled in; the position only ever moves on."""
        key = self.layout.key("meta")
        while True:
            with _pipeline(self.client) as pipe:
                try:
                    pipe.watch(key)
                    found: Any = pipe.hgetall(key)
                    fields: Mapping[str, str | int] = {"snapshot": snapshot}
                    if _meta(found).position.id_parts < position.id_parts:
                        fields = {**fields, **_fields(position)}
                    pipe.multi()
                    pipe.hset(key, mapping=dict(fields))
                    pipe.execute()
                except WatchError:
                    continue
                return


def _follows(entry: LogEntry, at: LogPosition, name: str) -> bool:
    """Whether an entry is the next one; not if it is in already.

    Raises:
        Gap: it is of another log, or one before it is missing.
    """
    to = entry.position
    if at.log_id not in {"", to.log_id}:
        raise Gap(f"{name}: entry of log {to.log_id}; {at.log_id} was followed so far")
    if to.id_parts <= at.id_parts:
        return False
    if entry.before != at.entry_id:
        message = f"{name}: entry {to.seq} follows {entry.before}; "
        raise Gap(message + f"the last one applied is entry {at.seq}, {at.entry_id}")
    return True


def _meta(found: Mapping[bytes, bytes]) -> Meta:
    position = LogPosition(
        found.get(b"log_id", b"").decode(),
        int(found.get(b"seq", 0)),
        found.get(b"entry_id", b"0-0").decode(),
    )
    return Meta(position, found.get(b"snapshot", b"none").decode(), int(found.get(b"chunks", 0)))


def _fields(position: LogPosition) -> dict[str, str | int]:
    return {"log_id": position.log_id, "seq": position.seq, "entry_id": position.entry_id}


def _lengths(rows: Iterable[ChunkRow]) -> list[int]:
    return [row.length for row in rows]


def _pipeline(client: Redis) -> Any:  # noqa: ANN401 - half of what it does has no types
    return client.pipeline()
