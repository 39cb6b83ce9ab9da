"""Reads a moving window of the streams: once as far back as it goes, then what is new."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from ops.summary import Seen, Window
from rollout.seen import Heard
from rollout.timeline import past_configs, treated_share
from streams import ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis import Redis

    from contracts.messages import RolloutConfig
    from streams.keys import Keys

    Entry = tuple[bytes, dict[bytes, bytes]]

_OUTCOMES: Final = frozenset({b"success", b"failed", b"rerouted"})
_KEPT: Final = 2  # times the limit, before what is too much is forgotten
_DECODER: Final = msgspec.json.Decoder(Seen)


class WindowReader:
    """Follows `decisions` and `outcomes` beside every group, and forgets what is too old."""

    def __init__(
        self,
        client: Redis,
        parts: Sequence[Keys],
        defaults: RolloutConfig,
        window_s: float,
        limit: int,
    ) -> None:
        """Read nothing yet.

        Args:
            client: connection to the queue's server.
            parts: names of each partition.
            defaults: what holds where nothing was ever set.
            window_s: seconds to look back.
            limit: entries of each kind to read at most, the newest.
        """
        self._client, self._keys, self._defaults = client, parts[0], defaults
        self._window_ms, self._limit = max(1, int(1_000 * window_s)), limit
        self._decisions: deque[tuple[int, Seen]] = deque()
        self._outcomes: deque[tuple[int, str, Heard]] = deque()
        self._streams = [keys.decisions for keys in parts]
        self._read_to: dict[str, str] = {}
        self._lost_ms = -1  # entries up to this moment were given up

    def look(self) -> Window:
        """Read what there is by now.

        Raises:
            PoisonError: the live configuration or its log is malformed.
            redis.RedisError: the server could not be asked.
        """
        seconds, micros = self._client.time()
        until_ms = 1_000 * seconds + micros // 1_000
        since_ms = max(0, until_ms - self._window_ms)
        for entry_id, fields in self._new(self._streams, since_ms):
            if (seen := _decision(fields)) is not None:
                self._decisions.append((_moment(entry_id), seen))
        for entry_id, fields in self._new([self._keys.outcomes], since_ms):
            if (told := _outcome(fields)) is not None:
                self._outcomes.append((_moment(entry_id), *told))
        self._forget(since_ms)
        heard_of: defaultdict[str, list[Heard]] = defaultdict(list)
        for at_ms, task_id, heard in self._outcomes:
            if at_ms < until_ms:
                heard_of[task_id].append(heard)
        configs = past_configs(self._client, self._keys, self._defaults)
        return Window(
            since_ms=since_ms,
            until_ms=until_ms,
            complete=self._lost_ms < since_ms,
            decisions=[each for each in self._decisions if since_ms <= each[0] < until_ms],
            heard=heard_of,
            # Version 0 stands in nobody's log: what held then, only the workers' environment knows.
            shares={each.version: treated_share(each) for each in configs if each.version},
        )

    def _new(self, streams: Sequence[str], since_ms: int) -> Sequence[Entry]:
        """Read what came since the last look, the oldest first; no more than the limit."""
        before = dict(self._read_to)
        newest_first = heapq.merge(
            *(self._backward(stream, before.get(stream), since_ms) for stream in streams),
            key=lambda entry: _moment(entry[0]),
            reverse=True,
        )
        entries = [*islice(newest_first, self._limit + 1)]
        if len(entries) > self._limit:
            self._lost_ms = max(self._lost_ms, _moment(entries.pop()[0]))
        entries.reverse()
        return entries

    def _backward(self, stream: str, read_to: str | None, since_ms: int) -> Iterator[Entry]:
        start = f"{since_ms}-0" if read_to is None else f"({read_to}"
        newest = True
        for entry in ranges.backward(self._client, stream, start):
            if newest:
                self._read_to[stream], newest = entry[0].decode(), False
            yield entry

    def _forget(self, since_ms: int) -> None:
        for kept in (self._decisions, self._outcomes):
            while kept and kept[0][0] < since_ms:
                kept.popleft()
            if len(kept) > _KEPT * self._limit:
                while len(kept) > self._limit:
                    self._lost_ms = max(self._lost_ms, kept.popleft()[0])


def _decision(fields: dict[bytes, bytes]) -> Seen | None:
    try:
        return _DECODER.decode(fields.get(b"decision", b""))
    except msgspec.DecodeError:  # not written by a worker
        return None


def _outcome(fields: dict[bytes, bytes]) -> tuple[str, Heard] | None:
    kind, task_id, master = (fields.get(name) for name in (b"outcome", b"task_id", b"master"))
    if kind not in _OUTCOMES or not task_id or not master:  # not written by a master
        return None
    correct = fields.get(b"correct_master")
    heard = Heard(_text(master), _text(kind), _text(correct) if correct else None)
    return _text(task_id), heard


def _moment(entry_id: bytes) -> int:
    """When an entry was added, by its id: milliseconds since 1970."""
    return int(entry_id.partition(b"-")[0])


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
