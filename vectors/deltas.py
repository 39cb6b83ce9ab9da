"""A whole collection as deltas, one for each file: what another engine is filled from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vectors.types import FileDelta

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vectors.snapshot import Frozen


def deltas_of(frozen: Frozen) -> Iterator[FileDelta]:
    """Every file known, removed ones included, so that a late older entry brings none of them back.

    One file at a time is in memory.
    """
    told = set[str]()
    for segment in frozen.segments:
        ids = np.flatnonzero(segment.alive)
        files = segment.columns.file[ids]
        for part in np.split(ids, np.flatnonzero(np.diff(files)) + 1) if len(ids) else []:
            path = segment.path(int(segment.columns.file[part[0]]))
            told.add(path)
            state = frozen.states[path]
            yield FileDelta(
                path=path,
                version=state.version,
                content_hash=state.content_hash,
                chunks=segment.chunks(part.tolist()),
                vectors=segment.vectors(part).astype("<f2").tobytes(),
            )
    for path, state in frozen.states.items():
        if path not in told:
            yield FileDelta(
                path=path,
                version=state.version,
                content_hash=state.content_hash,
                chunks=[],
                vectors=b"",
            )
