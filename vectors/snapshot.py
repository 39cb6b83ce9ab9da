"""Writing snapshots: a collection as files that any number of processes may map, read-only.

`STORE/<collection>/manifest.json` points to the folder `STORE/<collection>/<snapshot>/`. The folder
is complete and synced before the manifest is replaced in one step, so a reader sees the old
snapshot or the new one, never half of one, wherever the writer is killed.
"""

from __future__ import annotations

import secrets
import shutil
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from contracts.errors import FatalError, TransientError
from vectors.disk import checksum, encode_sealed, locked, sync, unfinished_folder
from vectors.lexical import TOKENIZER
from vectors.manifest import (
    FORMAT,
    MANIFEST,
    SnapshotInfo,
    problems,
    read_manifest,
)
from vectors.merge import write_base

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from vectors.collection import Collection
    from vectors.segment import Segment
    from vectors.types import FileState, LogPosition

_DRAFT = "manifest.draft"  # of the manifest in place
_LOCK_S = 5.0  # what is done under the lock takes milliseconds


class Frozen(NamedTuple):
    """A collection at one moment: what a snapshot is written from."""

    name: str
    dim: int
    embedder: str
    segments: tuple[Segment, ...]
    states: Mapping[str, FileState]
    position: LogPosition


def write_snapshot(
    collection: Collection, store: Path, *, token: int, over: int | None = None
) -> SnapshotInfo:
    """Write base and delta of a collection as one new base and point the manifest to it.

    Searches and changes go on meanwhile; the snapshot is of the moment it began.

    Args:
        collection: what to write; it keeps its own base until `reload_if_newer`.
        store: where snapshots live.
        token: fencing token of the writer's lease, higher than that of any lease before.
        over: token of the snapshot in place before the collection was brought up to date (see
            `current_token`). If it is another one by now, so is what would be lost, even if Redis
            has lost its count of tokens meanwhile. Left out: that of the one in place now.

    Raises:
        TransientError: another writer was here, or the disk failed; the store is as it was.
    """
    return write_frozen(collection.freeze(), store, token=token, over=over)


def write_frozen(
    frozen: Frozen, store: Path, *, token: int, over: int | None = None
) -> SnapshotInfo:
    """Write what a collection held at a moment; see `write_snapshot`."""
    try:
        over = current_token(store, frozen.name) if over is None else over
        return _write(store / frozen.name, frozen, token, over)
    except (OSError, RuntimeError, sqlite3.Error) as error:
        # Without the names of passing folders, so that the same trouble always reads the same.
        reason = error.strerror if isinstance(error, OSError) else None
        message = f"cannot write a snapshot of {frozen.name} to {store}: {reason or error}"
        raise TransientError(message) from error


def verify(store: Path, name: str) -> list[str]:
    """Check a collection's snapshot; see `problems`."""
    try:
        info = read_manifest(store, name)
    except (TransientError, FatalError) as error:
        return [str(error)]
    return [f"{store / name} holds no snapshot"] if info is None else problems(store, info)


def current_token(store: Path, name: str) -> int:
    """Token of the snapshot in place; 0 if there is none or replacing it is the cure."""
    try:
        info = read_manifest(store, name)
    except (TransientError, FatalError):
        return 0
    return info.token if info else 0


def _write(home: Path, frozen: Frozen, token: int, over: int) -> SnapshotInfo:
    if not home.is_dir():
        home.mkdir(parents=True, exist_ok=True)
        sync(home.parent)
    _refuse_fenced(home, token, over)
    with unfinished_folder(home, _LOCK_S) as folder:
        chunks = write_base(folder, frozen.dim, frozen.segments, frozen.states)
        checksums = {path.name: _seal(path) for path in sorted(folder.iterdir())}
        with locked(home, _LOCK_S):
            _refuse_fenced(home, token, over)
            info = SnapshotInfo(
                format=FORMAT,
                tokenizer=TOKENIZER,
                collection=frozen.name,
                snapshot=f"{frozen.position.seq:010d}-{secrets.token_hex(4)}",
                previous=_snapshot_in_place(home),
                embedder=frozen.embedder,
                dim=frozen.dim,
                files=sum(1 for state in frozen.states.values() if state.content_hash),
                chunks=chunks,
                position=frozen.position,
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                token=token,
                checksums=checksums,
            )
            _put_in_place(home, folder, info)
            _remove_unused(home, {info.snapshot, info.previous})
    return info


def _refuse_fenced(home: Path, token: int, over: int) -> None:
    found = current_token(home.parent, home.name)
    if found != over or found >= token:
        message = f"snapshot lease {token} of {home.name} is over; {found} wrote since"
        raise TransientError(message)


def _snapshot_in_place(home: Path) -> str | None:
    try:
        info = read_manifest(home.parent, home.name)
    except (TransientError, FatalError):
        return None
    return info.snapshot if info else None


def _put_in_place(home: Path, folder: Path, info: SnapshotInfo) -> None:
    """Make a complete folder the snapshot that readers open.

    Whatever needs room on the disk comes first; from the first renaming on none is needed.
    """
    manifest = encode_sealed(info)
    for name in (MANIFEST, _DRAFT):
        (folder / name).write_bytes(manifest)
        sync(folder / name)
    sync(folder)
    complete = folder.rename(home / info.snapshot)
    sync(home)  # the manifest must not outlive a power failure that the folder does not
    (complete / _DRAFT).replace(home / MANIFEST)
    sync(home)


def _remove_unused(home: Path, keep: set[str | None]) -> None:
    """Remove snapshots that are no longer pointed to.

    Processes that map one keep it until they let go; one that is about to open it finds the newer.
    """
    for path in home.iterdir():
        if path.is_dir() and not path.name.startswith(".") and path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)


def _seal(path: Path) -> str:
    sync(path)
    path.chmod(0o444)
    return checksum(path)
