"""Build a store from a directory in one go, without Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct

from contracts.errors import FatalError
from indexer.apply import ENCODED_AT_ONCE, embed_chunks
from indexer.chunk import DEFAULT_MAX_CHARS, chunk_file
from indexer.scan import Rules, Tree
from vectors.collection import Collection
from vectors.snapshot import current_token, write_snapshot
from vectors.types import Chunk, FileDelta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vectors.types import Encoder

_READ_AHEAD = 4 * ENCODED_AT_ONCE  # chunks gathered over files, so that batches are full


class Progress(Struct, frozen=True):
    """How far a build is.

    Attributes:
        files: files done.
        total_files: files listed; some of them turn out not to count.
        chunks: chunks embedded.
        seconds: since the build began.
    """

    files: int
    total_files: int
    chunks: int
    seconds: float

    @property
    def chunks_per_second(self) -> float:
        """Mean rate so far."""
        return self.chunks / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the files that are left; None before there is anything to go by."""
        if not self.files:
            return None
        return self.seconds / self.files * (self.total_files - self.files)


class BuildReport(Struct, frozen=True):
    """What a build made.

    Attributes:
        files: files indexed.
        skipped: files listed that hold no indexable text.
        snapshot: name of the snapshot written.
    """

    collection: str
    files: int
    skipped: int
    chunks: int
    seconds: float
    snapshot: str


class _File(Struct, frozen=True):
    path: str
    content_hash: str
    chunks: list[Chunk]


def build_store(  # noqa: PLR0913 - from where, to where, and how
    source: Path,
    output: Path,
    encoder: Encoder,
    *,
    collection: str = "code",
    chunk_size: int = DEFAULT_MAX_CHARS,
    rules: Rules | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> BuildReport:
    """Index every file of a directory and write a snapshot of the result.

    Args:
        source: the directory.
        output: the store; a snapshot of the same collection in it is replaced.
        encoder: embeds the chunks.
        collection: name of the collection.
        chunk_size: characters a chunk aims to stay within.
        rules: which files count; its own chunk size is not used.
        progress: told after every batch.

    Raises:
        FatalError: there is no such directory.
        TransientError: encoder or disk failed; the store is as it was.
    """
    begun = time.monotonic()
    base = rules or Rules()
    rules = Rules(base.max_bytes, chunk_size, base.exclude)
    if not source.is_dir():
        raise FatalError(f"{source} is not a directory")
    tree = Tree(source.resolve(), rules)
    paths = [path for path, _ in tree.files()]
    built = Collection.empty(collection, encoder.dim, encoder.identity)
    done = indexed = 0
    for looked_at, files in _batches(tree, paths, rules):
        for delta in _embedded(files, encoder):
            built.apply(delta)
        done, indexed = looked_at, indexed + len(files)
        progress(Progress(done, len(paths), built.chunk_count, time.monotonic() - begun))
    info = write_snapshot(built, output, token=current_token(output, collection) + 1)
    return BuildReport(
        collection=collection,
        files=indexed,
        skipped=len(paths) - indexed,
        chunks=info.chunks,
        seconds=time.monotonic() - begun,
        snapshot=info.snapshot,
    )


def _batches(tree: Tree, paths: list[str], rules: Rules) -> Iterator[tuple[int, list[_File]]]:
    """Cut files until there are enough chunks; each batch with the number of paths looked at."""
    files: list[_File] = []
    waiting = 0
    for number, path in enumerate(paths, 1):
        content = tree.read(path)
        if content is not None:
            chunks = chunk_file(path, content.text, max_chars=rules.max_chars)
            files.append(_File(path, content.content_hash, chunks))
            waiting += len(chunks)
        if waiting >= _READ_AHEAD:
            yield number, files
            files, waiting = [], 0
    yield len(paths), files


def _embedded(files: list[_File], encoder: Encoder) -> Iterator[FileDelta]:
    chunks = [chunk for file in files for chunk in file.chunks]
    vectors = embed_chunks(chunks, encoder)
    width = 2 * encoder.dim  # bytes of one float16 row
    at = 0
    for file in files:
        end = at + width * len(file.chunks)
        yield FileDelta(
            path=file.path,
            version=1,
            content_hash=file.content_hash,
            chunks=file.chunks,
            vectors=vectors[at:end],
        )
        at = end
