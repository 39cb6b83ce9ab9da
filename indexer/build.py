"""Build a store from a directory in one go, without Redis."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from contracts.errors import FatalError
from indexer.chunk import DEFAULT_MAX_CHARS, chunk_file
from indexer.encoding import encode_all
from indexer.scan import Rules, Tree
from vectors.collection import Collection
from vectors.snapshot import current_token, write_snapshot
from vectors.types import Chunk, FileDelta

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from indexer.encoding import Progress
    from vectors.types import Encoder


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


class CutFile(NamedTuple):
    """A file as it is to be indexed; the hash says of which content and by which rules."""

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
    parallel: int = 1,
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
        parallel: see `encode_all`.
        progress: told after every batch of texts.

    Raises:
        FatalError: there is no such directory.
        TransientError: encoder or disk failed; the store is as it was.
    """
    begun = time.monotonic()
    base = rules or Rules()
    rules = Rules(base.max_bytes, chunk_size, base.exclude)
    built, skipped = collect(
        source, encoder, name=collection, rules=rules, parallel=parallel, progress=progress
    )
    info = write_snapshot(built, output, token=current_token(output, collection) + 1)
    return BuildReport(
        collection=collection,
        files=info.files,
        skipped=skipped,
        chunks=info.chunks,
        seconds=time.monotonic() - begun,
        snapshot=info.snapshot,
    )


def collect(  # noqa: PLR0913 - what, by which rules, and how
    source: Path,
    encoder: Encoder,
    *,
    name: str,
    rules: Rules,
    parallel: int = 1,
    progress: Callable[[Progress], None] = lambda _: None,
) -> tuple[Collection, int]:
    """Make a collection of every file of a directory, in memory.

    Everything is read before anything is encoded: that takes a hundredth of the time, and all that
    there is to do is known from then on.

    Returns:
        The collection, and how many files listed hold no indexable text.

    Raises:
        FatalError: there is no such directory.
        TransientError: encoder or disk failed.
    """
    if not source.is_dir():
        raise FatalError(f"{source} is not a directory")
    tree = Tree(source.resolve(), rules)
    paths = [path for path, _ in tree.files()]
    files = [file for path in paths if (file := _cut(tree, path, rules))]
    built = embed_files(name, files, encoder, parallel=parallel, progress=progress)
    return built, len(paths) - len(files)


def embed_files(
    name: str,
    files: Sequence[CutFile],
    encoder: Encoder,
    *,
    parallel: int = 1,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Collection:
    """Make a collection of files; see `encode_all`.

    Raises:
        TransientError: the encoder failed.
    """
    texts = (chunk.embedded_text for file in files for chunk in file.chunks)
    vectors = encode_all(texts, encoder, parallel=parallel, progress=progress)
    built = Collection.empty(name, encoder.dim, encoder.identity)
    for path, content_hash, chunks in files:
        rows = b"".join(vectors[chunk.embedded_text] for chunk in chunks)
        built.apply(
            FileDelta(path=path, version=1, content_hash=content_hash, chunks=chunks, vectors=rows)
        )
    return built


def _cut(tree: Tree, path: str, rules: Rules) -> CutFile | None:
    content = tree.read(path)
    if content is None:
        return None
    chunks = chunk_file(path, content.text, max_chars=rules.max_chars)
    return CutFile(path, content.content_hash, chunks)
