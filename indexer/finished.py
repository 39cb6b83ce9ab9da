"""Work that masters finished: what was asked for, and which files it touched.

An outcome names the files, the decision before it says what was asked. Both are read from their
streams as anyone may read them, without a group: so nothing is kept in the streams for a reader
that fell behind, and every indexer sees everything.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

from contracts.errors import PoisonError
from contracts.parse import parse_outcome
from streams.ranges import backward
from vectors.memory import change_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from contracts.messages import Outcome
    from streams.keys import Keys

MARK = "task-"
"""Begins the name of a finished task in its history; a commit's name is hexadecimal."""

_MOST_FILES = 30  # work that touched more says little of any of them, as with commits
_MOST_PATHS = 8_192  # characters of all paths together
_SAID = 200  # characters: the length of a commit's subject, not of an essay
_OUTCOMES = 5_000  # that are looked back at after a start: as many as are remembered
_DECISIONS = 20_000  # that wait for their outcomes: about 10 MB
_SHOWN = 12  # digits of a task's name


class Work(NamedTuple):
    """One finished task as a history keeps it.

    Attributes:
        path: in the history, see `vectors.memory.change_path`.
        said: first line of the description, at most 200 characters.
        touched: paths, at most 30, each once.
    """

    path: str
    said: str
    touched: tuple[str, ...]


@dataclass
class Finished:
    """Joins outcomes with decisions, of either only what is new since the last look.

    Decisions are read only when there is an outcome to join, the newest 20,000 at most: a task that
    takes longer than as many later ones need to be decided is not remembered.

    Attributes:
        parts: names of each partition (`streams.partitions.layout`).
    """

    client: Redis
    parts: Sequence[Keys]
    _seen: dict[str, str] = field(default_factory=dict, init=False)
    _asked: dict[str, str] = field(default_factory=dict, init=False)

    def new(self) -> list[Work]:
        """What was finished since the last call, or lately if this is the first; the oldest first.

        Raises:
            redis.RedisError: the server could not be asked; the next call tells it again.
        """
        stream = self.parts[0].outcomes
        entries = self._newest(stream, _OUTCOMES)
        reported = [(id_, told) for id_, fields in entries if (told := _told(fields))]
        if reported:
            for part in self.parts:
                self._read_decisions(part.decisions)
        self._mark(stream, entries)
        return [
            Work(_path_of(id_, told.task_id), said, tuple(dict.fromkeys(told.files)))
            for id_, told in reported
            if (said := self._asked.get(told.task_id))
        ]

    def again(self) -> None:
        """Begin anew: the next call tells of everything lately finished."""
        self._seen.clear()

    def _newest(self, stream: str, most: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """Entries not seen yet, the oldest first; only the newest if there are too many."""
        stop = f"({self._seen[stream]}" if stream in self._seen else "-"
        return list(islice(backward(self.client, stream, stop), most))[::-1]

    def _mark(self, stream: str, entries: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> None:
        if entries:
            self._seen[stream] = entries[-1][0].decode()

    def _read_decisions(self, stream: str) -> None:
        entries = self._newest(stream, _DECISIONS)
        for _, fields in entries:
            try:
                decided = _DECISION.decode(fields.get(b"decision", b""))
            except msgspec.MsgspecError:
                continue  # the learner's group buries it
            self._asked[decided.task_id] = _first_line(decided.description)
        for task_id in list(islice(self._asked, max(0, len(self._asked) - _DECISIONS))):
            del self._asked[task_id]
        self._mark(stream, entries)


class _Asked(Struct, frozen=True):
    """The part of a decision that says what was asked."""

    task_id: str
    description: str


_DECISION = msgspec.json.Decoder(_Asked)


def _told(fields: dict[bytes, bytes]) -> Outcome | None:
    """The outcome in an entry, if it is worth remembering."""
    if b"files" not in fields:
        return None
    try:
        outcome = parse_outcome(fields)
    except PoisonError:
        return None  # the learner's group buries it
    paths = set(outcome.files)
    worth = 0 < len(paths) <= _MOST_FILES and sum(map(len, paths)) <= _MOST_PATHS
    return outcome if worth and outcome.outcome == "success" else None


def _path_of(entry_id: bytes, task_id: str) -> str:
    seconds = int(entry_id.partition(b"-")[0]) / 1_000
    day = datetime.fromtimestamp(seconds, UTC).date().isoformat()
    return change_path(day, MARK + hashlib.sha256(task_id.encode()).hexdigest()[:_SHOWN])


def _first_line(description: str) -> str:
    return next(iter(description.strip().splitlines()), "")[:_SAID].strip()
