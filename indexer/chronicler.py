"""Keeps the memory of past work level with what masters report: finished tasks are remembered."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from indexer.encoding import ENCODED_AT_ONCE, encode_all
from indexer.finished import MARK
from vectors.memory import change

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from indexer.commit import Ledger
    from indexer.finished import Finished, Work
    from vectors.collection import Collection
    from vectors.types import Encoder

log = structlog.get_logger(__name__)

_LOOK_S = 0.5
_MOST_TASKS = 5_000  # as many as commits


@dataclass
class Chronicler:
    """Commits finished tasks to the history of one collection.

    As with commits: a little at each call, by any number of indexers, each task once. The newest
    5,000 are kept. Work that touched no file of this collection belongs to another one.

    Attributes:
        finished: tells what was finished; for this chronicler alone.
        files: the collection whose files were touched.
        ledger: of its history.
        encoder: embeds what was said.
        only: there is no other collection, so that every task is about this one.
        tick: called often during long work.
    """

    finished: Finished
    files: Ledger
    ledger: Ledger
    encoder: Encoder
    only: bool = True
    tick: Callable[[], None] = lambda: None
    _look_at: float = field(default=0.0, init=False)
    _waiting: list[Work] = field(default_factory=list, init=False)
    _known_to: Collection | None = field(default=None, init=False)

    def __call__(self) -> None:
        """Look for finished tasks, if it is time, and remember some of those that wait.

        Raises:
            TransientError: encoder or Redis failed; what was left out comes at the next call.
            redis.RedisError: the same.
        """
        if time.monotonic() >= self._look_at:
            self._look()
            self._look_at = time.monotonic() + _LOOK_S
        self._remember(self._waiting[:ENCODED_AT_ONCE])
        del self._waiting[:ENCODED_AT_ONCE]

    def _look(self) -> None:
        if self._known_to is not self.ledger.collection:  # the history was lost, or has just begun
            self.finished.again()
            self._known_to = self.ledger.collection
        new = [work for work in self.finished.new() if self._is_ours(work)]
        self._waiting = [*self._waiting, *new][-_MOST_TASKS:]
        if new:
            log.info("remembering", tasks=len(new), collection=self.ledger.collection.name)

    def _is_ours(self, work: Work) -> bool:
        return self.only or any(map(self.files.collection.holds, work.touched))

    def _remember(self, works: Sequence[Work]) -> None:
        if not works:
            return
        known = self.ledger.refresh()
        # What was reported last counts, if a task was reported twice.
        told = {work.path: work for work in works}
        unknown = [told[path] for path in told if not self.ledger.content_hash(path)]
        chunks = [change(work.said, work.touched) for work in unknown]
        vectors = encode_all((chunk.embedded_text for chunk in chunks), self.encoder)
        for work, chunk in zip(unknown, chunks, strict=True):
            self.tick()
            version = self.ledger.version(work.path)
            digest = hashlib.sha256(chunk.text.encode()).hexdigest()
            row = vectors[chunk.embedded_text]
            self.ledger.commit(work.path, digest, [chunk], row, version)
        if unknown:
            self._forget(sorted(p for p in known if f"/{MARK}" in p and known[p].content_hash))

    def _forget(self, tasks: Sequence[str]) -> None:
        for path in tasks[: max(0, len(tasks) - _MOST_TASKS)]:
            self.ledger.commit(path, "", [], b"", self.ledger.version(path))
