"""Files whose words are committed and whose vectors are still to come.

Encoding is what takes time. When many files change at once, those that would have to wait for it
are committed without vectors and found by their words meanwhile. The hash they are committed with
is no file's, so whoever compares it with the disk, this process or one after it, sees that there is
something left to do.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vectors.types import FileState

_WORDS = "words:"
_ADOPT_EVERY_S = 15.0
_PAUSE = 200.0  # times as long as a look took: one at a hundred thousand files holds up changes


def words_only(content_hash: str) -> str:
    """Hash that a file is committed with as long as its vectors are missing."""
    return _WORDS + content_hash


@dataclass(eq=False, slots=True)
class Backlog:
    """What one indexer has yet to embed, in random order.

    Several may have the same files to do, after one has looked for what differs or has taken over
    another's: so they seldom do the same one at the same time.
    """

    _waiting: set[str] = field(default_factory=set)
    _seen: set[tuple[str, int]] = field(default_factory=set)
    _adopt_at: float = field(default_factory=lambda: time.monotonic() + _ADOPT_EVERY_S)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, path: str) -> None:
        """Note a file whose words were committed."""
        self._waiting.add(path)

    def discard(self, path: str) -> None:
        """Note a file that was committed whole, or is gone."""
        self._waiting.discard(path)

    def pick(self) -> str | None:
        """A file that waits; None if there is none."""
        return random.choice(tuple(self._waiting)) if self._waiting else None  # noqa: S311 - no secret

    def adoption_is_due(self) -> bool:
        """Whether there is nothing left of one's own, and it is time to look for others' files."""
        return not self._waiting and time.monotonic() >= self._adopt_at

    def adopt(self, known: Mapping[str, FileState]) -> None:
        """Take over what was without vectors at the last look already: who began it may be gone."""
        begun = time.monotonic()
        states = known.items()
        marked = {(path, at.version) for path, at in states if at.content_hash.startswith(_WORDS)}
        self._waiting.update(path for path, _version in marked & self._seen)
        self._seen = marked
        now = time.monotonic()
        self._adopt_at = now + max(_ADOPT_EVERY_S, _PAUSE * (now - begun))
