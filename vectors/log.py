"""The delta log: a Redis stream with one numbered entry per changed file.

Committing is a compare-and-set on the file's version, so any number of indexers may work on the
same tree. Entries are numbered without gaps, name the entry before them and carry the identity of
the log. So a reader that was away too long, or whose log was begun anew or lost its last entries
with the server, finds out instead of serving a silent gap.
A log holds vectors of one encoder; an indexer with another one begins a new log.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from redis import exceptions

from contracts.errors import FatalError, TransientError
from vectors.types import FileDelta, FileState, LogPosition

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis import Redis


MOST_PER_COMMIT = 64
"""Files per script call: the server does nothing else while a script runs."""

KEPT_ENTRIES = 1000
"""Entries `trim` leaves for readers that are a little behind the snapshot."""

_payload = msgspec.msgpack.Decoder(FileDelta)


class Gap(TransientError):  # noqa: N818 - the name says what it is
    """Entries between a reader's position and the log are gone; only a snapshot can bridge it."""


class OtherEncoder(FatalError):  # noqa: N818 - as above
    """Vectors were made by another encoder; they must never be mixed with ours."""


class LogEntry(Struct, frozen=True, kw_only=True):
    """A committed change and where it stands in its log.

    Attributes:
        before: stream id of the entry before it; `0-0` for the first one.
        embedder: identity of the encoder that made the vectors.
    """

    position: LogPosition
    before: str
    embedder: str
    delta: FileDelta


class Bounds(Struct, frozen=True):
    """Positions of the first and the last entry of a log."""

    first: LogPosition
    last: LogPosition


def begin(
    client: Redis, *, log_key: str, versions_key: str, embedder: str, only_whole: bool = False
) -> bool:
    """Drop the log if it is another encoder's or version's; the next commit begins a new one.

    Args:
        client: the server.
        log_key: the stream.
        versions_key: hash of path to `version:content_hash`.
        embedder: identity of the encoder in use.
        only_whole: drop it too if its beginning was trimmed: for who has no snapshot to start from.

    Returns:
        Whether there was one. Its readers find out by the gap.

    Raises:
        TransientError: Redis could not be reached.
    """
    return bool(run_script(client, "begin", [log_key, versions_key], [embedder, int(only_whole)]))


def commit(  # noqa: PLR0913 - where, by whom, and what
    client: Redis,
    *,
    log_key: str,
    versions_key: str,
    embedder: str,
    delta: FileDelta,
    expected_version: int,
) -> LogEntry | None:
    """Commit one file; see `commit_many`."""
    changes = [(delta, expected_version)]
    return commit_many(
        client, log_key=log_key, versions_key=versions_key, embedder=embedder, changes=changes
    )[0]


def commit_many(
    client: Redis,
    *,
    log_key: str,
    versions_key: str,
    embedder: str,
    changes: Sequence[tuple[FileDelta, int]],
) -> list[LogEntry | None]:
    """Commit new states of files, each only if its version is still the expected one.

    Every `MOST_PER_COMMIT` files go in one atomic script. A commit whose reply was lost and which
    the client sent again finds its own version and answers None; the entry is in the log.

    Args:
        client: a client that does not decode responses.
        log_key: the stream.
        versions_key: hash of path to `version:content_hash`; in a cluster, of the same slot.
        embedder: identity of the encoder that made the vectors.
        changes: deltas with the version each replaces (0: none). `delta.version` must be greater.

    Returns:
        For each change its entry, or None if the version had moved.

    Raises:
        TransientError: Redis could not be reached or is out of memory.
        OtherEncoder: the log is of another encoder.
        FatalError: Redis refuses what was asked (rights, or another type under a key).
    """
    entries: list[LogEntry | None] = []
    for start in range(0, len(changes), MOST_PER_COMMIT):
        batch = changes[start : start + MOST_PER_COMMIT]
        arguments: list[str | int | bytes] = [uuid.uuid4().hex, embedder]
        for delta, expected in batch:
            payload = msgspec.msgpack.encode(delta)
            arguments += [delta.path, expected, delta.version, delta.content_hash, payload]
        found, log_id, *replies = run_script(client, "commit", [log_key, versions_key], arguments)
        refuse_other_encoder(log_key, found.decode(), embedder)
        for (delta, _), reply in zip(batch, replies, strict=True):
            if not reply:
                entries.append(None)
                continue
            seq, entry_id, before = reply
            position = _position(seq, log_id, entry_id)
            entries.append(
                LogEntry(position=position, before=before.decode(), embedder=embedder, delta=delta)
            )
    return entries


def refuse_other_encoder(where: str, found: str, wanted: str) -> None:
    """Make sure that vectors found somewhere are of the encoder wanted.

    Raises:
        OtherEncoder: they are not.
    """
    if found != wanted:
        raise OtherEncoder(f"{where} was embedded by {found}, not by {wanted}")


def read(
    client: Redis, log_key: str, position: LogPosition, *, count: int = 64, block_ms: int = 0
) -> list[LogEntry]:
    """Read entries after a position.

    Args:
        client: a client that does not decode responses; its socket timeout must exceed `block_ms`.
        log_key: the stream.
        position: the last entry already applied.
        count: most entries returned.
        block_ms: how long to wait for the first entry; 0 does not wait.

    Raises:
        TransientError: Redis could not be reached.
        FatalError: Redis refuses, or an entry is not one of ours.
    """
    with _translated():
        reply: Any = client.xread({log_key: position.entry_id}, count=count, block=block_ms or None)
    streams = list(reply.items()) if isinstance(reply, dict) else reply or []
    return [_entry(entry_id, fields) for _, entries in streams for entry_id, fields in entries]


def bounds(client: Redis, log_key: str) -> Bounds | None:
    """Where a log begins and ends; None if it holds nothing."""
    found = [_position(*bound) for bound in run_script(client, "bounds", [log_key], [])]
    return Bounds(*found) if found else None


def check_gap(client: Redis, log_key: str, position: LogPosition) -> None:
    """Make sure that reading on from a position misses nothing.

    Raises:
        Gap: entries after the position were trimmed, the log is another one, or it was set back
            behind the position.
    """
    found = bounds(client, log_key)
    if found is None:
        if position.seq:
            message = f"{log_key} is empty; entry {position.seq} was applied from it"
            raise Gap(message)
        return
    first, last = found.first, found.last
    if position.log_id not in {"", last.log_id}:
        message = f"{log_key} is log {last.log_id}; {position.log_id} was followed so far"
    elif last.seq < position.seq:
        message = f"{log_key} ends at entry {last.seq}; {position.seq} was applied from it"
    elif last != position and last.id_parts <= position.id_parts:
        message = f"{log_key} was set back: it ends at {last.entry_id} with entry {last.seq}; "
        message += f"{position.entry_id} with entry {position.seq} was applied from it"
    elif first.seq > position.seq + 1:
        message = f"{log_key} begins at entry {first.seq}; the next one needed is "
        message += str(position.seq + 1)
    else:
        return
    raise Gap(message)


def current_versions(client: Redis, versions_key: str) -> dict[str, FileState]:
    """Version and content hash of every file ever committed; removed ones have an empty hash.

    Raises:
        TransientError: Redis could not be reached.
    """
    with _translated():
        pairs: Any = client.hgetall(versions_key)
    return {path.decode(): _state(value) for path, value in pairs.items()}


def current_version(client: Redis, versions_key: str, path: str) -> int:
    """Version of a file as last committed; 0 if it never was.

    Raises:
        TransientError: Redis could not be reached.
    """
    with _translated():
        value: Any = client.hget(versions_key, path)
    return _state(value).version if value else 0


def trim(client: Redis, log_key: str, position: LogPosition, *, keep: int = KEPT_ENTRIES) -> int:
    """Drop entries up to a snapshot's position, but never the newest `keep` (at least one).

    Returns:
        Number of entries dropped; 0 if the log is not the snapshot's.
    """
    return int(run_script(client, "trim", [log_key], [position.log_id, position.seq, keep]))


def _state(value: bytes) -> FileState:
    version, _, content_hash = value.decode().partition(":")
    return FileState(int(version), content_hash)


def _position(seq: int, log_id: bytes, entry_id: bytes) -> LogPosition:
    return LogPosition(log_id.decode(), seq, entry_id.decode())


def _entry(entry_id: bytes, fields: dict[bytes, bytes]) -> LogEntry:
    try:
        position = _position(int(fields[b"seq"]), fields[b"log_id"], entry_id)
        return LogEntry(
            position=position,
            before=fields[b"before"].decode(),
            embedder=fields[b"embedder"].decode(),
            delta=_payload.decode(fields[b"payload"]),
        )
    except (KeyError, ValueError, msgspec.DecodeError) as error:
        message = f"log entry {entry_id.decode()} was not written by an indexer: {error}"
        raise FatalError(message) from error


@cache
def _source(name: str) -> str:
    return files("vectors").joinpath("lua", f"{name}.lua").read_text()


def run_script(
    client: Redis, name: str, keys: Sequence[str], arguments: Sequence[str | int | bytes]
) -> Any:  # noqa: ANN401 - what the script says
    """Run one of `vectors/lua`; raises as everything here does."""
    with _translated():
        return client.register_script(_source(name))(keys, arguments)


@contextmanager
def _translated() -> Iterator[None]:
    transient = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.OutOfMemoryError)
    try:
        yield
    except (*transient, exceptions.ReadOnlyError, exceptions.TryAgainError) as error:
        message = f"delta log: {error}"
        raise TransientError(message) from error
    except exceptions.RedisError as error:
        message = f"delta log refused: {error}"
        raise FatalError(message) from error
