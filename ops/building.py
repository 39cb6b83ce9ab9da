"""Builds a store from a directory, with a progress bar."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contracts.settings import load
from indexer.build import build_store
from indexer.remembering import build_history
from indexer.settings import Settings
from ops.output import progress_bar
from vectors.embedding_cache import CachedEncoder
from vectors.encoder import open_encoder

if TYPE_CHECKING:
    from pathlib import Path

    from indexer.build import BuildReport


def indexer_settings() -> Settings:
    """Read the settings indexers have, from the environment.

    Raises:
        FatalError: a variable is malformed.
    """
    return load(Settings, os.environ)


def build(source: Path, output: Path, chunk_size: int | None = None) -> BuildReport:
    """Index a directory and its git history into a store.

    What was ever embedded here before is not embedded again.

    Args:
        source: directory whose files are indexed, as its .gitignore allows.
        output: the store to write.
        chunk_size: characters a chunk aims to stay within; None is what indexers use.

    Raises:
        FatalError: the encoder cannot be loaded, or the store is of another one.
        TransientError: the disk failed.
    """
    settings = indexer_settings()
    cores = len(os.sched_getaffinity(0))
    encoder = CachedEncoder(open_encoder(settings.encoder, threads=cores), settings.embedding_cache)
    with progress_bar("indexing") as show:
        report = build_store(
            source,
            output,
            encoder,
            chunk_size=chunk_size or settings.chunk_chars,
            rules=settings.rules,
            parallel=cores,
            progress=lambda at: show(at.texts, at.total),
        )
    with progress_bar("remembering") as show:
        build_history(
            source,
            output,
            report.collection,
            encoder,
            parallel=cores,
            progress=lambda at: show(at.texts, at.total),
        )
    return report
