"""Find where index and disk differ, whatever events were lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from msgspec import Struct

from contracts.messages import FileChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from contracts.messages import FileOp
    from indexer.scan import Tree
    from vectors.types import FileState

log = structlog.get_logger(__name__)

_PUBLISHED_AT_ONCE = 256


class Report(Struct):
    """How index and disk differed.

    Attributes:
        current: files that are indexed as they are.
        missing: files that should be in the index and were not.
        stale: files indexed with another content.
        extra: files in the index that are gone, or no longer count.
    """

    current: int = 0
    missing: int = 0
    stale: int = 0
    extra: int = 0

    @property
    def drift(self) -> int:
        """How many files differed."""
        return self.missing + self.stale + self.extra


def reconcile(
    tree: Tree,
    known: Mapping[str, FileState],
    publish: Callable[[Sequence[FileChange]], None],
    *,
    collection: str = "code",
    tick: Callable[[], None] = lambda: None,
) -> Report:
    """Compare every file with the index and publish a change for each that differs.

    If the whole tree is empty nothing is published as deleted: a volume that is not mounted looks
    like that.

    Args:
        tree: the files.
        known: what the index holds; removed files may be in it with an empty hash.
        publish: takes the changes, some at a time; applying them repairs the index.
        collection: named in the changes.
        tick: called after every file.

    Raises:
        TransientError: the disk failed.
    """
    report = Report()
    pending: list[FileChange] = []
    for change in _differences(tree, known, report, tick):
        pending.append(FileChange(op=change[0], path=change[1], collection=collection))
        if len(pending) == _PUBLISHED_AT_ONCE:
            publish(pending)
            pending = []
    if pending:
        publish(pending)
    return report


def _differences(
    tree: Tree,
    known: Mapping[str, FileState],
    report: Report,
    tick: Callable[[], None],
) -> Iterator[tuple[FileOp, str]]:
    left = {path: state.content_hash for path, state in known.items() if state.content_hash}
    empty = True
    for path, _ in tree.files():
        empty = False
        tick()
        content = tree.read(path)
        if content is None:
            continue
        indexed = left.pop(path, "")
        if indexed == content.content_hash:
            report.current += 1
            continue
        if indexed:
            report.stale += 1
        else:
            report.missing += 1
        yield "put", path
    if empty and left:
        log.warning("tree_is_empty", root=str(tree.root), kept_in_index=len(left))
        return
    for path in left:
        report.extra += 1
        yield "delete", path
