"""The history of a repository as a collection: one piece of past work for each commit."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from indexer.encoding import encode_all
from indexer.gitlog import read_history
from vectors.collection import Collection
from vectors.memory import HISTORY, change, change_path
from vectors.snapshot import current_token, write_snapshot
from vectors.types import FileDelta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from indexer.encoding import Progress
    from indexer.gitlog import Commit
    from vectors.types import Encoder

MOST_COMMITS = 5_000  # with 1,000 a point fewer is found, with 6,000 no more
_MOST_FILES = 30  # a commit that touches more says little of any of them
_SHOWN = 12  # digits of a commit's name


def tells(commit: Commit) -> bool:
    """Whether a commit is worth remembering."""
    return bool(commit.subject.strip()) and 0 < len(commit.files) <= _MOST_FILES


def history_of(  # noqa: PLR0913 - of what, and how
    name: str,
    commits: Iterable[Commit],
    encoder: Encoder,
    most: int = MOST_COMMITS,
    *,
    parallel: int = 1,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Collection:
    """Make the history that goes with a collection.

    Args:
        name: of the collection whose files were touched.
        commits: the newest first.
        encoder: embeds what was said.
        most: commits that are remembered.
        parallel: see `encode_all`.
        progress: told after every batch of texts.

    Raises:
        TransientError: the encoder failed.
    """
    kept = [commit for commit in commits if tells(commit)][:most]
    history = Collection.empty(name + HISTORY, encoder.dim, encoder.identity)
    for delta in deltas(kept, encoder, parallel=parallel, progress=progress):
        history.apply(delta)
    return history


def build_history(  # noqa: PLR0913 - from where, to where, and how
    source: Path,
    store: Path,
    name: str,
    encoder: Encoder,
    *,
    parallel: int = 1,
    progress: Callable[[Progress], None] = lambda _: None,
) -> int:
    """Write a snapshot of the history that goes with a collection.

    Args:
        source: the directory the collection was built from.
        store: where its snapshot is.
        name: of the collection.
        encoder: embeds what was said.
        parallel: see `encode_all`.
        progress: told after every batch of texts.

    Returns:
        How many commits are remembered; 0, and no snapshot, where there is no repository.

    Raises:
        TransientError: encoder or disk failed.
    """
    commits = read_history(source, 2 * MOST_COMMITS)
    history = history_of(name, commits, encoder, parallel=parallel, progress=progress)
    if history.chunk_count:
        write_snapshot(history, store, token=current_token(store, history.name) + 1)
    return history.chunk_count


def deltas(
    commits: Sequence[Commit],
    encoder: Encoder,
    *,
    parallel: int = 1,
    progress: Callable[[Progress], None] = lambda _: None,
) -> list[FileDelta]:
    """Embed commits; see `encode_all`.

    Raises:
        TransientError: the encoder failed.
    """
    chunks = [change(commit.subject, commit.files) for commit in commits]
    texts = (chunk.embedded_text for chunk in chunks)
    vectors = encode_all(texts, encoder, parallel=parallel, progress=progress)
    return [
        FileDelta(
            path=path_of(commit),
            version=1,
            content_hash=hashlib.sha256(chunk.text.encode()).hexdigest(),
            chunks=[chunk],
            vectors=vectors[chunk.embedded_text],
        )
        for commit, chunk in zip(commits, chunks, strict=True)
    ]


def path_of(commit: Commit) -> str:
    """Path of a commit in its history."""
    day = datetime.fromtimestamp(commit.time, UTC).date().isoformat()
    return change_path(day, commit.sha[:_SHOWN])
