"""Opening snapshots: nothing of one reaches FAISS or SQLite before its checksum was found right."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import structlog

from contracts.errors import TransientError
from vectors import near
from vectors.base import Base
from vectors.log import refuse_other_encoder
from vectors.manifest import fallbacks, manifest_stamp, problems, read_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from vectors.manifest import SnapshotInfo

log = structlog.get_logger(__name__)

_ATTEMPTS = 5  # each is a whole snapshot younger than the one before


class Opened(NamedTuple):
    """A snapshot, verified and mapped.

    Attributes:
        stamp: of the manifest in place when it was opened.
    """

    info: SnapshotInfo
    base: Base
    stamp: tuple[int, int] | None


def open_snapshot(store: Path, name: str, embedder: str | None) -> Opened:
    """Open the snapshot in place or, where that is damaged, the newest that is not.

    An older one is no silent loss to who follows the delta log from its position.

    Args:
        store: folder of snapshots.
        name: of the collection.
        embedder: identity the snapshot must have been written with; None takes any.

    Raises:
        TransientError: there is no snapshot, or none that is undamaged.
        OtherEncoder: it was written with another encoder.
        FatalError: it was written by another version.
    """
    for _ in range(_ATTEMPTS):
        stamp = manifest_stamp(store, name)
        try:
            info = _in_place(store, name)
            return Opened(info, open_base(store, info, embedder), stamp)
        except TransientError as error:
            damage = error
        if stamp == manifest_stamp(store, name):
            break  # else it was replaced, and what could not be read is deleted, not damaged
    return _open_older(store, name, embedder, damage)


def open_base(store: Path, info: SnapshotInfo, embedder: str | None) -> Base:
    """Verify and map the files of one snapshot.

    Raises:
        TransientError: a file is missing or damaged.
        OtherEncoder: it was written with another encoder.
    """
    refuse_other_encoder(info.collection, info.embedder, embedder or info.embedder)
    damage = problems(store, info)
    if damage:
        raise TransientError("; ".join(damage))
    folder = store / info.collection / info.snapshot
    base = Base.open(folder, with_near=near.INDEX_FILE in info.checksums)
    if (base.dim, base.size) != (info.dim, info.chunks):
        message = f"{info.collection}: {base.size} x {base.dim} does not match the manifest"
        raise TransientError(message)
    return base


def _in_place(store: Path, name: str) -> SnapshotInfo:
    info = read_manifest(store, name)
    if info is None:
        message = f"{store / name} holds no snapshot"
        raise TransientError(message)
    return info


def _open_older(store: Path, name: str, embedder: str | None, damage: TransientError) -> Opened:
    stamp = manifest_stamp(store, name)
    for info in fallbacks(store, name):
        try:
            opened = Opened(info, open_base(store, info, embedder), stamp)
        except TransientError:
            continue
        log.warning("damaged_snapshot", collection=name, serving=info.snapshot, reason=str(damage))
        return opened
    raise damage
