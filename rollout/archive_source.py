"""One stream as the archiver reads it: page by page, beside every group."""

from __future__ import annotations

import math
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final

from streams import ranges

if TYPE_CHECKING:
    from redis import Redis

    from rollout.archive_join import EntryId

_PAGE: Final = 1_000  # entries per step


class Source:
    """A stream and how far it was read.

    Attributes:
        processed: the last entry that was taken from a page.
        read_to: the last entry that was read.
        page: entries that were read and not taken yet.
        drained: whether the last page was the last there was.
    """

    def __init__(self, name: str, position: EntryId) -> None:
        """Begin behind a position."""
        self.name = name
        self.processed = self.read_to = position
        self.page: deque[tuple[EntryId, dict[bytes, bytes]]] = deque()
        self.drained = False

    def read(self, client: Redis) -> None:
        """Read a page, if the one before was used up.

        Raises:
            redis.RedisError: the server could not be asked.
        """
        if not self.page:
            after = f"({id_text(self.read_to)}"
            entries = islice(ranges.forward(client, self.name, after), _PAGE)
            self.page.extend((parse_id(entry.decode()), fields) for entry, fields in entries)
            self.drained = len(self.page) < _PAGE
        if self.page:
            self.read_to = self.page[-1][0]

    @property
    def known_ms(self) -> float:
        """Everything up to this moment was read."""
        return math.inf if self.drained else self.read_to[0]


def parse_id(entry: str) -> EntryId:
    """Read the id of an entry."""
    milliseconds, _, number = entry.partition("-")
    return int(milliseconds), int(number)


def id_text(entry: EntryId) -> str:
    """Write the id of an entry."""
    return f"{entry[0]}-{entry[1]}"
