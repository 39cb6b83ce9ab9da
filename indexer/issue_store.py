"""Build a collection of issues in one go, without Redis."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from typing import TYPE_CHECKING

from contracts.errors import FatalError
from indexer.build import BuildReport, CutFile, embed_files
from indexer.chunk import cut_issue
from indexer.issues import ISSUES
from vectors.snapshot import current_token, write_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from indexer.encoding import Progress
    from indexer.issues import Issue
    from vectors.types import Encoder


def build_issues(  # noqa: PLR0913 - of what, to where, and how
    issues: Iterable[Issue],
    output: Path,
    encoder: Encoder,
    *,
    collection: str = ISSUES,
    parallel: int = 1,
    progress: Callable[[Progress], None] = lambda _: None,
) -> BuildReport:
    """Write a snapshot in which every issue is a file, called as the issue is.

    Args:
        issues: in any order.
        output: the store; a snapshot of the same collection in it is replaced.
        encoder: embeds the chunks.
        collection: name of the collection.
        parallel: see `indexer.encoding.encode_all`.
        progress: told after every batch of texts.

    Raises:
        FatalError: an issue has no id, or two have the same.
        TransientError: encoder or disk failed; the store is as it was.
    """
    began = time.monotonic()
    files = [_cut(issue) for issue in issues]
    for path, count in Counter(file.path for file in files).items():
        if not path:
            raise FatalError("an issue has neither id nor number")
        if count > 1:
            raise FatalError(f"more than one issue is called {path}")
    built = embed_files(collection, files, encoder, parallel=parallel, progress=progress)
    info = write_snapshot(built, output, token=current_token(output, collection) + 1)
    return BuildReport(
        collection=collection,
        files=info.files,
        skipped=0,
        chunks=info.chunks,
        seconds=time.monotonic() - began,
        snapshot=info.snapshot,
    )


def _cut(issue: Issue) -> CutFile:
    return CutFile(issue.path, hashlib.sha256(issue.text.encode()).hexdigest(), cut_issue(issue))
