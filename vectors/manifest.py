"""Manifests: what a snapshot consists of, sealed so that no damaged one is ever believed.

`STORE/<collection>/manifest.json` is the manifest of the snapshot in place. Every snapshot's folder
holds its own copy, so that an older one can be opened when the one in place is damaged.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from contracts.errors import FatalError, TransientError
from vectors.disk import checksum, read_sealed
from vectors.lexical import TOKENIZER
from vectors.types import LogPosition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMAT = 3
_READ_TOO = 2  # postings lie in `chunks.sqlite`
MANIFEST = "manifest.json"
_AT_ONCE = 4  # files that are read at a time


class SnapshotInfo(Struct, frozen=True, kw_only=True):
    """The manifest of a snapshot.

    Attributes:
        snapshot: name of its folder.
        previous: the snapshot it replaced, kept in case this one is found damaged.
        position: where reading the delta log goes on.
        created_at: RFC 3339, UTC.
        token: fencing token of the writer's lease; only a higher one may replace it.
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


def read_manifest(store: Path, name: str) -> SnapshotInfo | None:
    """Manifest of the snapshot in place, or None if the collection has none.

    Raises:
        TransientError: it cannot be read or is damaged.
        FatalError: it was written by another version of this program.
    """
    path = store / name / MANIFEST
    try:
        return _read(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        message = f"cannot read {path}: {error}"
        raise TransientError(message) from error


def fallbacks(store: Path, name: str) -> Iterator[SnapshotInfo]:
    """Manifests of every snapshot that is still there, in place or not, newest first."""
    found = []
    for path in (store / name).glob(f"[!.]*/{MANIFEST}"):
        try:
            found.append(_read(path))
        except (OSError, ValueError, FatalError):
            continue  # of no use; there may be another one
    yield from sorted(found, key=lambda info: info.token, reverse=True)


def manifest_stamp(store: Path, name: str) -> tuple[int, int] | None:
    """Something that changes whenever the manifest is replaced; None without a manifest."""
    try:
        found = (store / name / MANIFEST).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def list_collections(store: Path) -> list[str]:
    """Names of the collections that have a snapshot, sorted."""
    return sorted(path.parent.name for path in store.glob(f"*/{MANIFEST}"))


def problems(store: Path, info: SnapshotInfo) -> list[str]:
    """What is wrong with the files of a snapshot, one sentence each; empty if nothing is."""
    folder = store / info.collection / info.snapshot
    with ThreadPoolExecutor(_AT_ONCE) as pool:  # two gigabytes take a second, one after the other
        found = pool.map(lambda name: _problem(folder / name, info.checksums[name]), info.checksums)
        return list(filter(None, found))


def _problem(path: Path, expected: str) -> str:
    try:
        actual = checksum(path)
    except OSError as error:
        return f"{path} cannot be read: {error}"
    if actual == expected:
        return ""
    return f"{path} is damaged: SHA-256 {actual}, manifest says {expected}"


def _read(path: Path) -> SnapshotInfo:
    content = read_sealed(path)
    versions = msgspec.json.decode(content, type=_Versions)
    if versions.format not in {FORMAT, _READ_TOO} or versions.tokenizer != TOKENIZER:
        message = f"{path} has format {versions.format}/{versions.tokenizer}, "
        raise FatalError(message + f"not {FORMAT}/{TOKENIZER}: build the index anew")
    return msgspec.json.decode(content, type=SnapshotInfo)


class _Versions(Struct):
    format: int
    tokenizer: str
