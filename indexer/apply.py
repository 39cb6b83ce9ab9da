"""From hints to commits: whatever an event says, the file is indexed as it is now.

Late, doubled and reordered events therefore end in the same index, and so does every subset of them
that names the files which changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from contracts.errors import TransientError
from indexer.chunk import chunk_file
from indexer.encoding import embed_chunks
from indexer.scan import Rules, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from contracts.messages import FileChange
    from indexer.commit import Ledger
    from indexer.scan import FileContent
    from vectors.collection import Collection
    from vectors.types import Encoder

_ATTEMPTS = 8  # at one file that other indexers keep committing


def affected_paths(changes: Iterable[FileChange], tree: Tree, collection: Collection) -> list[str]:
    """Every file that changes may be about, once each.

    A directory stands for the files in it, on disk and in the index, and so does a path that is
    gone. A `.gitignore` stands for its directory. A file that is indexed stands for itself alone,
    so that editing it costs the same however many there are.
    """
    scopes: dict[str, None] = {}
    for change in changes:
        for path in filter(None, (change.old_path, change.path)):
            parent, _, name = path.rpartition("/")
            scopes[parent if name == ".gitignore" else path] = None
    paths = dict.fromkeys(scopes)
    for scope in scopes:
        paths.update((path, None) for path, _ in tree.files(scope))
    unknown = [scope for scope in scopes if not collection.holds(scope)]
    prefixes = tuple(f"{scope}/" if scope else "" for scope in unknown)
    paths.update(dict.fromkeys(collection.paths_under(prefixes)))
    paths.pop("", None)
    return list(paths)


@dataclass(frozen=True, slots=True)
class Indexer:
    """Keeps one collection in step with one tree.

    Attributes:
        root: the tree.
        rules: which of its files count.
        ledger: the collection.
        encoder: should cache, so that text seen before costs nothing.
        tick: called often during long work.
    """

    root: Path
    rules: Rules
    ledger: Ledger
    encoder: Encoder
    tick: Callable[[], None] = lambda: None

    def apply(self, changes: Iterable[FileChange]) -> Iterator[str]:
        """Bring the index in step with every file the changes are about.

        Yields:
            The path of each file for which something was committed, right after it was.

        Raises:
            TransientError: encoder, disk or Redis failed; what was yielded is committed.
        """
        self.ledger.refresh()
        tree = Tree(self.root, self.rules)
        for path in affected_paths(changes, tree, self.ledger.collection):
            self.tick()
            if self._bring_up_to_date(tree, path):
                yield path

    def _bring_up_to_date(self, tree: Tree, path: str) -> bool:
        """Commit what a file says until that is what is committed; True if it was news."""
        news = False
        for _ in range(_ATTEMPTS):
            version = self.ledger.version(path)
            content = tree.read(path)
            if (content.content_hash if content else "") == self.ledger.content_hash(path):
                return news
            # Then look again: who saw a later change saw it before this commit, and did nothing.
            news |= self._commit(path, content, version)
        if news:
            return True  # a file that keeps changing keeps being announced
        raise TransientError(f"{path} is being committed elsewhere again and again")

    def _commit(self, path: str, content: FileContent | None, version: int) -> bool:
        if content is None:
            return self.ledger.commit(path, "", [], b"", version)
        chunks = chunk_file(path, content.text, max_chars=self.rules.max_chars)
        vectors = embed_chunks(chunks, self.encoder, self.tick)
        return self.ledger.commit(path, content.content_hash, chunks, vectors, version)
