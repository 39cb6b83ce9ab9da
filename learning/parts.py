"""Immutable files and the manifest that names them: what a folder holds changes all at once.

A commit writes its files under names no other commit uses, syncs them, and then replaces
`manifest.json`. A process killed at any step leaves the old content or the new one; files that no
manifest names are left over from it and are removed later.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from contracts.errors import FatalError, TransientError
from vectors.disk import checksum, encode_sealed, locked, read_sealed, sync

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_MANIFEST = "manifest.json"
_FORMAT = 1
_LOCK_S = 30.0  # seconds to wait for another writer; merging everything takes a few
_GRACE_S = 3_600.0  # who began to read before a file was replaced is done with it by then


class Part(Struct, frozen=True):
    """One file.

    Attributes:
        name: of the file, without folder.
        table: which table its rows belong to.
    """

    name: str
    table: str
    rows: int
    size: int
    sha256: str


class Manifest(Struct, frozen=True):
    """What the folder holds.

    Attributes:
        version: grows by one with every commit.
        tidied_ms: when it was last tidied, in milliseconds since 1970.
    """

    version: int = 0
    tidied_ms: int = 0
    parts: tuple[Part, ...] = ()
    format: int = _FORMAT

    def of(self, table: str) -> list[Part]:
        """Parts of one table, in the order in which they came."""
        return [part for part in self.parts if part.table == table]


def read_manifest(root: Path) -> Manifest:
    """Read what a folder holds; version 0 and nothing where it was never written.

    Raises:
        FatalError: the manifest is damaged, or of a later program.
    """
    path = root / _MANIFEST
    try:
        manifest = msgspec.json.decode(read_sealed(path), type=Manifest)
    except FileNotFoundError:
        return Manifest()
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise FatalError(f"{path} is damaged: {error}") from error
    if manifest.format != _FORMAT:
        raise FatalError(f"{path} has format {manifest.format}; this version reads {_FORMAT}")
    return manifest


@contextmanager
def writing(root: Path) -> Iterator[Manifest]:
    """Be the only writer of a folder, and know what it holds.

    Raises:
        TransientError: another writer has had it for too long, or the disk failed.
        FatalError: the manifest is damaged.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with locked(root, _LOCK_S):
            yield read_manifest(root)
    except BlockingIOError as error:
        raise TransientError(f"{root} is being written by another process") from error
    except OSError as error:
        raise TransientError(f"cannot write {root}: {error}") from error


def sealed_part(path: Path, table: str, rows: int) -> Part:
    """Make a file that was written durable, and describe it."""
    sync(path)
    return Part(path.name, table, rows, path.stat().st_size, checksum(path))


def commit(root: Path, manifest: Manifest, replaced: Iterable[Part] = ()) -> None:
    """Replace what the folder holds; on return it is durable. Only inside `writing`.

    Args:
        root: the folder.
        manifest: what it holds from now on.
        replaced: parts it held before and does not name. Their files stay for who reads them.
    """
    for part in replaced:
        os.utime(root / part.name)  # from now on `remove_unnamed` counts
    sync(root)
    written = root / f"{_MANIFEST}.new"
    written.write_bytes(encode_sealed(manifest))
    sync(written)
    written.replace(root / _MANIFEST)
    sync(root)


def checked(root: Path, part: Part) -> Path:
    """Path of a part whose bytes are the ones that were committed.

    Raises:
        FatalError: it is gone or damaged.
    """
    path = root / part.name
    try:
        whole = checksum(path) == part.sha256
    except OSError as error:
        raise FatalError(f"the data set lacks {path}: {error.strerror or error}") from error
    if not whole:
        raise FatalError(f"{path} is damaged: it does not match its checksum")
    return path


def remove_unnamed(root: Path, manifest: Manifest, suffix: str) -> None:
    """Remove files that the manifest does not name and nobody can be reading any more."""
    named = {part.name for part in manifest.parts}
    before = time.time() - _GRACE_S
    for path in root.glob(f"*{suffix}"):
        if path.name not in named and path.stat().st_mtime < before:
            os.unlink(path)  # noqa: PTH108 - a folder of that name is not ours to remove
