"""Snapshots: a collection as files that any number of processes may map, read-only.

`STORE/<collection>/manifest.json` points to the folder `STORE/<collection>/<snapshot>/`. The folder
is complete and synced before the manifest is replaced in one step, so a reader sees the old
snapshot or the new one, never half of one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

from contracts.errors import FatalError, TransientError
from vectors.lexical import TOKENIZER
from vectors.merge import write_base
from vectors.types import LogPosition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from vectors.collection import Collection
    from vectors.segment import Segment
    from vectors.types import FileState

FORMAT = 1
_GRACE_S, _UNFINISHED_GRACE_S = 60.0, 3600.0
_UNFINISHED = ".unfinished-"
_MANIFEST, _LOCK = "manifest.json", ".lock"


class Frozen(NamedTuple):
    """A collection at one moment: what a snapshot is written from."""

    name: str
    dim: int
    embedder: str
    segments: tuple[Segment, ...]
    states: Mapping[str, FileState]
    position: LogPosition


class SnapshotInfo(Struct, frozen=True, kw_only=True):
    """The manifest of a snapshot.

    Attributes:
        snapshot: name of its folder.
        previous: the snapshot it replaced, kept for readers that are still opening it.
        position: where reading the delta log goes on.
        created_at: RFC 3339, UTC.
        token: fencing token of the writer's lease; a lower one is refused from then on.
        checksums: file name to SHA-256 hex.
    """

    format: int
    tokenizer: str
    collection: str
    snapshot: str
    previous: str | None
    embedder: str
    dim: int
    files: int
    chunks: int
    position: LogPosition
    created_at: str
    token: int
    checksums: dict[str, str]


def write_snapshot(collection: Collection, store: Path, *, token: int) -> SnapshotInfo:
    """Write base and delta of a collection as one new base and point the manifest to it.

    Searches and changes go on meanwhile; the snapshot is of the moment it began.

    Args:
        collection: what to write; it keeps its own base until `reload_if_newer`.
        store: where snapshots live.
        token: fencing token of the writer's lease; grows with every lease given.

    Raises:
        TransientError: a writer with a newer token was here, or the disk failed.
    """
    frozen = collection.freeze()
    home = store / frozen.name
    try:
        home.mkdir(parents=True, exist_ok=True)
        _refuse_older(home, frozen.name, token)
        snapshot, chunks, checksums = _write_folder(home, frozen)
        with _locked(home):
            current = _refuse_older(home, frozen.name, token)
            info = SnapshotInfo(
                format=FORMAT,
                tokenizer=TOKENIZER,
                collection=frozen.name,
                snapshot=snapshot,
                previous=current.snapshot if current else None,
                embedder=frozen.embedder,
                dim=frozen.dim,
                files=sum(1 for state in frozen.states.values() if state.content_hash),
                chunks=chunks,
                position=frozen.position,
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                token=token,
                checksums=checksums,
            )
            _replace_manifest(home, info)
            _tidy(home, {info.snapshot, info.previous})
    except OSError as error:
        message = f"cannot write a snapshot of {frozen.name} to {store}: {error}"
        raise TransientError(message) from error
    return info


def read_manifest(store: Path, name: str) -> SnapshotInfo | None:
    """Manifest of a collection, or None if it has no snapshot.

    Raises:
        TransientError: it cannot be read or is damaged.
        FatalError: it was written by another version of this program.
    """
    path = store / name / _MANIFEST
    try:
        found = msgspec.json.decode(path.read_bytes(), type=SnapshotInfo)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        message = f"cannot read {path}: {error}"
        raise TransientError(message) from error
    if (found.format, found.tokenizer) != (FORMAT, TOKENIZER):
        message = f"{path} has format {found.format}/{found.tokenizer}, not {FORMAT}/{TOKENIZER}: "
        raise FatalError(message + "build the index anew")
    return found


def manifest_stamp(store: Path, name: str) -> tuple[int, int] | None:
    """Something that changes whenever the manifest is replaced; None without a manifest."""
    try:
        found = (store / name / _MANIFEST).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def problems(store: Path, info: SnapshotInfo) -> list[str]:
    """What is wrong with the files of a snapshot, one sentence each; empty if nothing is."""
    folder = store / info.collection / info.snapshot
    found = []
    for name, checksum in info.checksums.items():
        try:
            actual = _checksum(folder / name)
        except OSError as error:
            found.append(f"{folder / name} cannot be read: {error}")
            continue
        if actual != checksum:
            found.append(f"{folder / name} is damaged: SHA-256 {actual}, manifest says {checksum}")
    return found


def verify(store: Path, name: str) -> list[str]:
    """Check a collection's snapshot; see `problems`."""
    try:
        info = read_manifest(store, name)
    except (TransientError, FatalError) as error:
        return [str(error)]
    return [f"{store / name} holds no snapshot"] if info is None else problems(store, info)


def list_collections(store: Path) -> list[str]:
    """Names of the collections that have a snapshot, sorted."""
    return sorted(path.parent.name for path in store.glob(f"*/{_MANIFEST}"))


def _write_folder(home: Path, frozen: Frozen) -> tuple[str, int, dict[str, str]]:
    snapshot = f"{frozen.position.seq:010d}-{secrets.token_hex(4)}"
    unfinished = home / f"{_UNFINISHED}{snapshot}"
    unfinished.mkdir()
    try:
        chunks = write_base(unfinished, frozen.dim, frozen.segments, frozen.states)
        checksums = {path.name: _seal(path) for path in sorted(unfinished.iterdir())}
        _sync(unfinished)
        unfinished.rename(home / snapshot)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return snapshot, chunks, checksums


def _refuse_older(home: Path, name: str, token: int) -> SnapshotInfo | None:
    try:
        current = read_manifest(home.parent, name)
    except (TransientError, FatalError):
        return None  # damaged or outdated: a new snapshot is the cure
    if current is not None and current.token > token:
        message = f"snapshot lease {token} of {name} is over; {current.token} wrote since"
        raise TransientError(message)
    return current


def _replace_manifest(home: Path, info: SnapshotInfo) -> None:
    draft = home / f"{_MANIFEST}.draft"
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(info), indent=2))
    _sync(draft)
    draft.replace(home / _MANIFEST)
    _sync(home)


def _tidy(home: Path, keep: set[str | None]) -> None:
    """Remove folders nothing points to. Processes that map one keep it until they let go."""
    for path in home.iterdir():
        if not path.is_dir() or path.name in keep:
            continue
        grace = _UNFINISHED_GRACE_S if path.name.startswith(_UNFINISHED) else _GRACE_S
        if time.time() - path.stat().st_mtime > grace:
            shutil.rmtree(path, ignore_errors=True)


def _seal(path: Path) -> str:
    _sync(path)
    path.chmod(0o444)
    return _checksum(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    with (home / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
