"""What an index holds, in a form that can be compared: the live one with a rebuild of its tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.generated import git
from indexer.build import build_store
from vectors.collection import Collection

if TYPE_CHECKING:
    from pathlib import Path

    from vectors.types import Encoder

Contents = dict[str, tuple[str, list[tuple[Any, bytes]]]]
"""Path -> content hash, and the chunks in order, each with the bytes of its vector."""


def contents(collection: Collection) -> Contents:
    found: Contents = {path: (state.content_hash, []) for path, state in collection.files().items()}
    for segment in collection.freeze().segments:
        ids = np.flatnonzero(segment.alive)
        vectors = segment.vectors(ids).astype("<f2")
        chunks = segment.chunks(ids.tolist())
        for number, chunk, vector in zip(segment.columns.file[ids], chunks, vectors, strict=True):
            found[segment.path(int(number))][1].append((chunk, vector.tobytes()))
    for _, chunks_of_file in found.values():
        chunks_of_file.sort(key=lambda pair: pair[0].start_line)
    return found


def rebuilt(source: Path, branch: str, store: Path, encoder: Encoder) -> Contents:
    git(source, "checkout", "--quiet", branch)
    build_store(source, store, encoder)
    return contents(Collection.open(store, "code"))
