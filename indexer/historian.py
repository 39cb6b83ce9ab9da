"""Keeps the memory of past work level with the repository: every new commit is remembered."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from contracts.errors import FatalError
from indexer.encoding import ENCODED_AT_ONCE
from indexer.gitlog import git, read_history
from indexer.remembering import MOST_COMMITS, deltas, path_of, tells

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from indexer.commit import Ledger
    from indexer.gitlog import Commit
    from vectors.types import Encoder

log = structlog.get_logger(__name__)

_LOOK_S = 2.0


@dataclass
class Historian:
    """Commits what git log says of one directory to the history of its collection.

    A little at each call, the newest first: files that change meanwhile do not wait for it. Any
    number of indexers may do the same; each commit goes in once. What a rebase takes out of the log
    is not forgotten: it was said of those files all the same.

    Attributes:
        root: the directory.
        ledger: of its history.
        encoder: embeds what was said.
        tick: called often during long work.
    """

    root: Path
    ledger: Ledger
    encoder: Encoder
    tick: Callable[[], None] = lambda: None
    _look_at: float = field(default=0.0, init=False)
    _head: str | None = field(default=None, init=False)
    _waiting: list[Commit] = field(default_factory=list, init=False)
    _anew: bool = field(default=False, init=False)

    def __call__(self) -> None:
        """Look for new commits, if it is time, and remember some of those that wait.

        Raises:
            TransientError: encoder or Redis failed; what was left out comes at the next call.
        """
        if time.monotonic() >= self._look_at:
            self._look()
            self._look_at = time.monotonic() + _LOOK_S
        self._remember(self._waiting[:ENCODED_AT_ONCE])
        del self._waiting[:ENCODED_AT_ONCE]
        if not self._waiting and self._anew:
            self.ledger.finish_starting_over()
            self._anew = False

    def _look(self) -> None:
        self.ledger.refresh()
        head, since = _head_of(self.root), self._head
        if self.ledger.started_over and not self._anew:
            self._anew, since, self._waiting = True, None, []
        elif head == since:
            return
        # All of a long history takes git a second, which files that change would wait for.
        read = read_history(self.root, 2 * MOST_COMMITS, since)
        told = [each for each in read if tells(each)][:MOST_COMMITS]
        known = self.ledger.content_hash
        self._waiting[:0] = [each for each in told if not known(path_of(each))]
        self._head = head
        if self._waiting:
            log.info("remembering", commits=len(self._waiting), root=str(self.root))

    def _remember(self, commits: list[Commit]) -> None:
        for delta in deltas(commits, self.encoder):
            self.tick()
            version = self.ledger.version(delta.path)
            if not self.ledger.content_hash(delta.path):
                self.ledger.commit(
                    delta.path, delta.content_hash, delta.chunks, delta.vectors, version
                )


def _head_of(root: Path) -> str | None:
    try:
        return git(root, "rev-parse", "--verify", "HEAD").decode().strip()
    except FatalError:
        return None
