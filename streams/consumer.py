"""One member of a consumer group, as single steps.

Each method is one exchange with the server and keeps no thread, clock or loop of its own, so that a
scheduler can interleave several consumers step by step; `streams.pump` runs the steps for real.

The contract: an entry returned by `read`, `recover` or `claim` belongs to this consumer until it is
settled or its lease lapses. After that another consumer may claim it, and settling it here answers
`fenced`. Nothing is ever acknowledged here.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from contracts.errors import FatalError
from streams.entry import Entry
from streams.scripts import run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from redis import Redis

    _Raw = tuple[bytes, dict[bytes, bytes]]
    _Fields = list[bytes] | dict[bytes, bytes]

_FOREVER_MS = 86_400_000  # idle time that any claim accepts
_PAGE = 256
_SCAN = 1_000  # pending entries looked at in one exchange; takes the server about 1 ms
_LONGEST_RETRY_MS = 60_000
_TURNS = 4  # every fourth reading begins with a less urgent stream
RETRY = "retry"  # the consumer that holds what was handed back; see lua/stale.lua
_START = b"-"


class Stale(NamedTuple):
    """A pending entry that may be claimed."""

    stream: str
    id: bytes
    deliveries: int


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer of one group over one or more streams, most urgent first.

    Attributes:
        client: replies to XREADGROUP as the server does from now on, whoever calls it.
        name: unique among living processes; it is what fences a paused one.
        lease_ms: an entry untouched for this long may be claimed by another consumer.
    """

    client: Redis
    streams: tuple[str, ...]
    group: str
    name: str
    lease_ms: int = 5_000
    _turns: Iterator[int] = field(default_factory=itertools.count, init=False, repr=False)
    _cursors: dict[str, bytes] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.name == RETRY:
            raise FatalError(f"no consumer may be called {RETRY!r}: settling uses the name")
        # Taking what the server sends as it is saves a tenth of the time a routed task takes.
        self.client.set_response_callback("XREADGROUP", lambda reply, **_options: reply)

    def join(self) -> list[str]:
        """Enter the group of each stream, begun at the stream's beginning where it is new.

        Older servers list a member only once it was given something; this one is there at once.

        Returns:
            The streams whose group was not there.
        """
        return [stream for stream in self.streams if self._join(stream)]

    def read(self, count: int, block_ms: int) -> list[Entry]:
        """Read up to `count` new entries, the most urgent streams first.

        So that nothing starves, every fourth reading begins with a less urgent stream: the share of
        the first readings is 3/4, 3/16 and 1/16 over three streams that are never empty.

        Waits up to `block_ms` only when every stream is empty; what ends the wait is returned at
        once, however little it is. With `block_ms` 0 it does not wait at all.
        """
        entries: list[Entry] = []
        for stream in self._by_turn():
            entries += self._read(count - len(entries), None, stream)
            if len(entries) >= count:
                return entries
        return entries or (self._read(count, block_ms, *self.streams) if block_ms else [])

    def disown(self) -> None:
        """Give back what is ours by the server's account: a dead process of our name held it."""
        for stream in self.streams:
            self._release(stream, [pending.id for pending in self._own(stream)])

    def recover(self, known: set[tuple[str, bytes]]) -> list[Entry]:
        """Return entries that are ours by the server's account but not in `known`.

        The reply that brought them was lost with a connection. Taking them now is no further
        delivery: nobody has tried them since.
        """
        lost: list[Entry] = []
        for stream in self.streams:
            for pending in self._own(stream):
                if (stream, pending.id) not in known:
                    lost += self._take(
                        pending, pending.deliveries, min_idle=0, retrycount=pending.deliveries
                    )
        return lost

    def stale(self, limit: int) -> list[Stale]:
        """List up to `limit` entries that may be claimed, of urgent streams first.

        That is what nobody touched for a lease, and what was handed back (`lua/settle.lua`) once it
        has waited for its next try: a lease, and twice as long after each delivery.

        One call looks at a bounded page of each stream's pending list and the next call goes on
        from there, so that a million pending entries cost no more at a time than a thousand.
        """
        found: list[Stale] = []
        for stream in self.streams:
            if len(found) < limit:
                found += self._sweep(stream, limit - len(found))
        return found

    @property
    def sweeping(self) -> bool:
        """Whether `stale` has not seen the end of a pending list since it began at its start."""
        return any(cursor != _START for cursor in self._cursors.values())

    def claim(self, stale: Stale) -> Entry | None:
        """Take over one entry; None if someone else was quicker or it no longer exists."""
        return next(iter(self._take(stale, stale.deliveries + 1, min_idle=self.lease_ms)), None)

    def owns(self, entry: Entry) -> bool:
        """Whether an entry is still pending for this consumer."""
        end = entry.id.decode()
        return bool(self.client.xpending_range(entry.stream, self.group, end, end, 1, self.name))

    def renew(self, entries: Iterable[Entry]) -> None:
        """Begin the leases of entries anew, of those that are still ours."""
        for stream, ids in _ids_by_stream(entries):
            run(self.client, "renew", [stream], [self.group, self.name, *ids])

    def release(self, entries: Iterable[Entry]) -> None:
        """Give entries back unhandled, so that another consumer can claim them at once."""
        for stream, ids in _ids_by_stream(entries):
            self._release(stream, ids)

    def leave(self) -> None:
        """Delete this consumer from the group where it holds nothing."""
        for stream in self.streams:
            run(self.client, "leave", [stream], [self.group, self.name])

    def _read(self, count: int, block_ms: int | None, *streams: str) -> list[Entry]:
        reply = self.client.xreadgroup(
            self.group, self.name, dict.fromkeys(streams, ">"), count=count, block=block_ms
        )
        now = time.perf_counter()
        return [
            Entry(key, id_, _fields(flat), 1, now)
            for stream, entries in _by_stream(reply)
            for key in (stream.decode(),)
            for id_, flat in entries
        ]

    def _own(self, stream: str) -> Iterator[Stale]:
        start = "-"
        while page := self._page(stream, start):
            yield from page
            start = "(" + page[-1].id.decode()

    def _join(self, stream: str) -> bool:
        return bool(run(self.client, "join", [stream], [self.group, self.name]))

    def _by_turn(self) -> list[str]:
        turn, first = next(self._turns), 0
        while turn % _TURNS == _TURNS - 1 and first < len(self.streams) - 1:
            turn //= _TURNS
            first += 1
        return [self.streams[first], *self.streams[:first], *self.streams[first + 1 :]]

    def _sweep(self, stream: str, limit: int) -> list[Stale]:
        cursor = self._cursors.get(stream, _START)
        limits = (_SCAN, limit, self.lease_ms, _LONGEST_RETRY_MS)
        reply = run(self.client, "stale", [stream], [self.group, cursor, *limits])
        self._cursors[stream], *flat = reply
        return [Stale(stream, *pair) for pair in zip(flat[::2], flat[1::2], strict=True)]

    def _page(self, stream: str, start: str) -> list[Stale]:
        reply = self.client.xpending_range(
            stream, self.group, start, "+", _PAGE, consumername=self.name
        )
        rows = cast("list[dict[str, Any]]", reply)
        return [Stale(stream, row["message_id"], row["times_delivered"]) for row in rows]

    def _take(
        self, stale: Stale, attempt: int, *, min_idle: int, retrycount: int | None = None
    ) -> list[Entry]:
        """Claim an entry; the server counts a delivery unless told the count."""
        reply = self.client.xclaim(
            stale.stream,
            self.group,
            self.name,
            min_idle,
            [stale.id.decode()],
            retrycount=retrycount,
        )
        now = time.perf_counter()
        return [
            Entry(stale.stream, id_, fields, attempt, now)
            for id_, fields in cast("list[_Raw]", reply)
        ]

    def _release(self, stream: str, ids: list[bytes]) -> None:
        run(self.client, "release", [stream], [self.group, self.name, _FOREVER_MS, *ids])


def _ids_by_stream(entries: Iterable[Entry]) -> Iterable[tuple[str, list[bytes]]]:
    ids: dict[str, list[bytes]] = {}
    for entry in entries:
        ids.setdefault(entry.stream, []).append(entry.id)
    return ids.items()


def _by_stream(reply: Any) -> Iterable[tuple[bytes, list[tuple[bytes, _Fields]]]]:  # noqa: ANN401 (a map by RESP3, pairs by RESP2, None if there is nothing)
    return reply.items() if isinstance(reply, dict) else reply or ()


def _fields(sent: _Fields) -> dict[bytes, bytes]:
    # A cluster's client parses replies node by node, before any callback of ours.
    return sent if isinstance(sent, dict) else dict(zip(sent[::2], sent[1::2], strict=True))
