"""From hints to commits: whatever an event says, the file is indexed as it is now.

Late, doubled and reordered events therefore end in the same index, and so does every subset of them
that names the files which changed.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contracts.errors import TransientError
from indexer.backlog import Backlog, words_only
from indexer.chunk import chunk_file
from indexer.encoding import ENCODED_AT_ONCE, embed_chunks
from indexer.scan import Rules, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from contracts.messages import FileChange
    from indexer.commit import Ledger
    from indexer.scan import FileContent
    from vectors.collection import Collection
    from vectors.types import Chunk, Encoder

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
        patience_s: encoding one batch of changes may take about so long; files left then are
            committed without vectors, which `catch_up` brings.
        backlog: those files.
    """

    root: Path
    rules: Rules
    ledger: Ledger
    encoder: Encoder
    tick: Callable[[], None] = lambda: None
    patience_s: float = math.inf
    backlog: Backlog = field(default_factory=Backlog)

    def apply(self, changes: Iterable[FileChange]) -> Iterator[str]:
        """Bring the index in step with every file the changes are about.

        Yields:
            The path of each file for which something was committed, right after it was.

        Raises:
            TransientError: encoder, disk or Redis failed; what was yielded is committed.
        """
        self.ledger.refresh()
        tree = Tree(self.root, self.rules)
        watch = _Stopwatch(self.patience_s)
        for path in affected_paths(changes, tree, self.ledger.collection):
            self.tick()
            if self._bring_up_to_date(tree, path, watch):
                yield path

    def catch_up(self, idle: Callable[[], bool]) -> bool:
        """Embed a file that was committed without vectors, or as much of it as there is time for.

        Args:
            idle: whether to go on; asked between slices of one file.

        Returns:
            Whether there is more to do.

        Raises:
            TransientError: encoder, disk or Redis failed; it is tried again at the next call.
        """
        if self.backlog.adoption_is_due():
            self.ledger.refresh()
            self.backlog.adopt(self.ledger.states())
        path = self.backlog.pick()
        if path is None:
            return False
        self.ledger.refresh()
        self._bring_up_to_date(Tree(self.root, self.rules), path, _Stopwatch(math.inf, idle))
        return len(self.backlog) > 0

    def _bring_up_to_date(self, tree: Tree, path: str, watch: _Stopwatch) -> bool:
        """Commit what a file says until that is what is committed; True if it was news."""
        news = False
        for _ in range(_ATTEMPTS):
            version = self.ledger.version(path)
            content = tree.read(path)
            wanted, held = content.content_hash if content else "", self.ledger.content_hash(path)
            if wanted == held:
                self.backlog.discard(path)
                return news
            if watch.stopped and held == words_only(wanted):
                self.backlog.add(path)
                return news
            # Then look again: who saw a later change saw it before this commit, and did nothing.
            news |= self._commit(path, content, version, watch)
        if news:
            return True  # a file that keeps changing keeps being announced
        raise TransientError(f"{path} is being committed elsewhere again and again")

    def _commit(
        self, path: str, content: FileContent | None, version: int, watch: _Stopwatch
    ) -> bool:
        if content is None:
            return self.ledger.commit(path, "", [], b"", version)
        chunks = chunk_file(path, content.text, max_chars=self.rules.max_chars)
        vectors = self._vectors(chunks, watch)
        if vectors is None:
            if self.ledger.content_hash(path) == words_only(content.content_hash):
                return False
            return self.ledger.commit(path, words_only(content.content_hash), chunks, b"", version)
        return self.ledger.commit(path, content.content_hash, chunks, vectors, version)

    def _vectors(self, chunks: Sequence[Chunk], watch: _Stopwatch) -> bytes | None:
        """Vectors of a file; None if time is up before all are there. What is done is cached."""
        slices: list[bytes] = []
        for start in range(0, len(chunks), ENCODED_AT_ONCE):
            if watch.stopped:
                return None
            with watch:
                part = chunks[start : start + ENCODED_AT_ONCE]
                slices.append(embed_chunks(part, self.encoder, self.tick))
        return b"".join(slices)


class _Stopwatch:
    """Time spent encoding, and whether that is to stop."""

    def __init__(self, most_s: float, may_go_on: Callable[[], bool] = lambda: True) -> None:
        self._left = most_s
        self._may_go_on = may_go_on
        self._began = 0.0

    @property
    def stopped(self) -> bool:
        return self._left <= 0 or not self._may_go_on()

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._left -= time.monotonic() - self._began
