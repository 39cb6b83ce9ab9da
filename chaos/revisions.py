"""A collection in numbered revisions, so that what a reader holds can be told apart exactly."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from chaos.faulty import WordEncoder
from chaos.trees import contents, path_of, source_text
from vectors.collection import Collection
from vectors.types import Chunk, FileDelta

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.trees import Contents

FILES = 30
_REMOVED = 7  # of so many changes one is a removal


def change(revision: int) -> FileDelta:
    """What revision `revision` changes: one file of `FILES`, which it rewrites or removes."""
    path = path_of(revision % FILES)
    if revision % _REMOVED == 0:
        return FileDelta(path=path, version=revision, content_hash="", chunks=[], vectors=b"")
    text = source_text(revision % FILES, revision)
    return FileDelta(
        path=path,
        version=revision,
        content_hash=hashlib.sha256(text.encode()).hexdigest(),
        chunks=[Chunk(start_line=1, end_line=text.count("\n"), kind="code", text=text)],
        vectors=WordEncoder().encode([text]).astype("<f2").tobytes(),
    )


def revised(revision: int) -> Collection:
    """A collection as of a revision. Older changes than of one round are overwritten by then."""
    collection = Collection.empty("code", WordEncoder.dim, WordEncoder.identity)
    for each in range(max(1, revision + 1 - FILES), revision + 1):
        collection.apply(change(each))
    return collection


def opened(store: Path) -> Contents:
    """Everything a new reader of a store finds."""
    return contents(Collection.open(store, "code", embedder=WordEncoder.identity))
