"""One encoder succeeds another: whose log and snapshot are, what they say, and the switch."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from contracts.errors import FatalError, TransientError
from vectors.collection import Collection
from vectors.log import read, run_script
from vectors.manifest import read_manifest
from vectors.types import FileDelta, LogPosition

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from vectors.types import Chunk

_NO_FILE = ".cortex/succession"
"""Path of the first entry, which says that a file that never was is gone: no reader is changed."""


def log_embedder(client: Redis, log_key: str) -> str | None:
    """Identity of the encoder whose log it is; None where there is no log.

    Raises:
        TransientError: Redis could not be reached.
        FatalError: Redis refuses, or the log is not one of ours, or of another version.
    """
    first = read(client, log_key, LogPosition(), count=1)
    return first[0].embedder if first else None


def snapshot_embedder(store: Path, name: str) -> str | None:
    """Identity of the encoder that a snapshot was written with; None where none can be read."""
    try:
        info = read_manifest(store, name)
    except (TransientError, FatalError):
        return None
    return info.embedder if info else None


def last_committed(
    client: Redis, log_key: str, store: Path, name: str
) -> dict[str, tuple[str, list[Chunk]]]:
    """What snapshot and log hold of every file, whichever encoder they are of.

    Returns:
        Path -> content hash and chunks, in order.

    Raises:
        TransientError: Redis could not be reached.
        FatalError: snapshot or log are of another version.
    """
    found: dict[str, tuple[str, list[Chunk]]] = {}
    position = LogPosition()
    with suppress(TransientError):  # no snapshot: the log alone
        opened = Collection.open(store, name)
        position = opened.position
        found = {path: (state.content_hash, []) for path, state in opened.files().items()}
        for segment in opened.freeze().segments:
            ids = np.flatnonzero(segment.alive)
            chunks = segment.chunks(ids.tolist())
            for file, chunk in zip(segment.columns.file[ids].tolist(), chunks, strict=True):
                found[segment.path(file)][1].append(chunk)
    while entries := read(client, log_key, position):
        for entry in entries:
            found.pop(entry.delta.path, None)
            if not entry.delta.removed:
                found[entry.delta.path] = (entry.delta.content_hash, entry.delta.chunks)
        position = entries[-1].position
    return found


def succeed(client: Redis, *, log_key: str, versions_key: str, embedder: str) -> bool:
    """Begin a new log in place of another encoder's, in one step.

    A snapshot of the new encoder at the beginning of a log (`LogPosition()`) must be in place: what
    it holds is what its readers have from then on. Readers with the old encoder find out at once.

    Args:
        client: the server.
        log_key: the stream.
        versions_key: hash of path to `version:content_hash`.
        embedder: identity of the new encoder.

    Returns:
        Whether there was something to do; not if the log was this encoder's already.

    Raises:
        TransientError: Redis could not be reached, or is out of memory.
    """
    nothing = FileDelta(path=_NO_FILE, version=1, content_hash="", chunks=[], vectors=b"")
    payload = msgspec.msgpack.encode(nothing)
    arguments: list[str | bytes] = [uuid.uuid4().hex, embedder, nothing.path, payload]
    return bool(run_script(client, "succeed", [log_key, versions_key], arguments))
