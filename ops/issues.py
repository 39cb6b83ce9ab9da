"""Builds a collection of issues, with a progress bar."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from indexer.issue_store import build_issues
from indexer.issues import Issue
from ops.building import indexer_settings
from ops.lines import read_lines
from ops.output import progress_bar
from vectors.embedding_cache import CachedEncoder
from vectors.encoder import open_encoder

if TYPE_CHECKING:
    from pathlib import Path

    from indexer.build import BuildReport


def build(file: str, output: Path, collection: str) -> BuildReport:
    """Index the issues of a file into a store.

    What was ever embedded here before is not embedded again.

    Args:
        file: JSON lines, see `indexer.issues`; `-` is standard input.
        output: the store to write.
        collection: name of the collection.

    Raises:
        FatalError: the file cannot be read, a line is no issue, or the encoder cannot be loaded.
        TransientError: the disk failed.
    """
    settings = indexer_settings()
    issues = list(read_lines(file, Issue, lambda issue: issue))
    cores = len(os.sched_getaffinity(0))
    engine = open_encoder(settings.encoder, threads=cores, side="passage")
    encoder = CachedEncoder(engine, settings.embedding_cache)
    with progress_bar("indexing") as show:
        return build_issues(
            issues,
            output,
            encoder,
            collection=collection,
            parallel=cores,
            progress=lambda now: show(now.texts, now.total),
        )
