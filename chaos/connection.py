"""One connection through the proxy, and the faults it suffers. All of it runs in one event loop."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import hiredis

from chaos.resp import Request, Requests

if TYPE_CHECKING:
    from pathlib import Path

Direction = Literal["requests", "replies"]  # from the client to the server, and back
Loss = Literal["lost request", "lost reply", "answered"]

_CHUNK = 65_536  # bytes
_PIECES = 20  # of a trickle, a second
_INCOMPLETE = object()


@dataclass
class Way:
    """How bytes travel in one direction.

    Attributes:
        delay: seconds each chunk is kept.
        rate: bytes a second, on each connection; None for no limit.
        open: cleared while bytes are held.
    """

    delay: float = 0.0
    rate: float | None = None
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    @property
    def piece(self) -> int | None:
        """Bytes to send at a time; None for all there are."""
        return None if self.rate is None else max(1, int(self.rate / _PIECES))


@dataclass
class Plan:
    """What to do to the next `left` requests that begin with one of `commands`."""

    fault: Loss
    left: int
    commands: tuple[str, ...]
    error: bytes = b""


class Faults:
    """What the connections of a proxy suffer, and what of it came to pass."""

    def __init__(self) -> None:
        self.ways: dict[Direction, Way] = {"requests": Way(), "replies": Way()}
        self.plans: list[Plan] = []
        self.refusing = False
        self.injected: Counter[str] = Counter()

    def plan_for(self, request: Request) -> Plan | None:
        """Return what to do to a request, and count it off; None to let it pass."""
        for plan in self.plans:
            if plan.left and request.is_one_of(plan.commands):
                plan.left -= 1
                return plan
        return None


class Connection:
    """Two sockets, and what is carried between them.

    Attributes:
        task: what carries it, once it runs.
    """

    def __init__(
        self, faults: Faults, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._faults = faults
        self._reader = reader
        self._writers: dict[Direction, asyncio.StreamWriter] = {"replies": writer}
        self._ended: set[Direction] = set()
        self.task: asyncio.Task[object] | None = None
        self._requests = Requests()
        self._replies = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._unanswered = 0
        self._quiet = asyncio.Event()  # every request that was sent on has its reply
        self._quiet.set()
        self._swallowing = False

    async def run(self, upstream: Path | tuple[str, int], *, raw: bool) -> None:
        """Carry bytes until both sides have ended, one has broken off, or `reset` is called."""
        self.task = asyncio.current_task()
        try:
            reader, self._writers["requests"] = await _connect(upstream)
            if "requests" in self._ended:
                self._writers["requests"].write_eof()
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on("requests", self._reader, raw=raw))
                both.create_task(self._pass_on("replies", reader, raw=raw))
        except* OSError:
            self._abort()
        finally:
            for writer in self._writers.values():
                writer.close()

    def reset(self, counted_as: str | None = None) -> None:
        """Break off, by RST to both sides."""
        if counted_as:
            self._faults.injected[counted_as] += 1
        self._abort()
        if self.task is not None:
            self.task.cancel()

    def half_close(self, direction: Direction) -> None:
        """End one direction by FIN; what comes that way from now on is dropped."""
        self._faults.injected["half-closed"] += 1
        self._end(direction)

    async def _pass_on(
        self, direction: Direction, reader: asyncio.StreamReader, *, raw: bool
    ) -> None:
        handle = self._take_replies if direction == "replies" else self._take_requests
        while chunk := await reader.read(_CHUNK):
            await (self._send(direction, chunk) if raw else handle(chunk))
        await self._faults.ways[direction].open.wait()
        self._end(direction)

    async def _take_requests(self, chunk: bytes) -> None:
        passing: list[bytes] = []
        for request in self._requests.feed(chunk):
            plan = self._faults.plan_for(request)
            if plan is None:
                passing.append(request.raw)
                continue
            await self._ask(passing)
            passing = []
            await self._suffer(plan, request)
        await self._ask(passing)

    async def _take_replies(self, chunk: bytes) -> None:
        if not self._swallowing:
            await self._send("replies", chunk)
        self._replies.feed(chunk)
        while (reply := self._replies.gets()) is not _INCOMPLETE:
            if not isinstance(reply, hiredis.PushNotification):
                self._unanswered -= 1
        if not self._unanswered:
            self._quiet.set()

    async def _ask(self, requests: list[bytes]) -> None:
        if requests:
            self._unanswered += len(requests)
            self._quiet.clear()
            await self._send("requests", b"".join(requests))

    async def _suffer(self, plan: Plan, request: Request) -> None:
        await self._quiet.wait()  # replies come in the order of requests
        if plan.fault == "answered":
            await self._send("replies", b"-" + plan.error + b"\r\n")
            self._faults.injected[plan.fault] += 1
            return
        if plan.fault == "lost reply":
            self._swallowing = True
            await self._ask([request.raw])
            await self._quiet.wait()
        self.reset(plan.fault)

    async def _send(self, direction: Direction, chunk: bytes) -> None:
        way, injected = self._faults.ways[direction], self._faults.injected
        if way.delay:
            injected["delayed"] += 1
            await asyncio.sleep(way.delay)
        rest = memoryview(chunk)
        while rest:
            if not way.open.is_set():
                injected["held"] += 1
                await way.open.wait()
            if direction in self._ended:
                return
            size = way.piece or len(rest)
            self._writers[direction].write(bytes(rest[:size]))
            await self._writers[direction].drain()
            rest = rest[size:]
            if way.piece:
                injected["trickled"] += 1
                await asyncio.sleep(1 / _PIECES)

    def _end(self, direction: Direction) -> None:
        writer = self._writers.get(direction)
        if writer and direction not in self._ended and not writer.is_closing():
            writer.write_eof()
        self._ended.add(direction)

    def _abort(self) -> None:
        for writer in self._writers.values():
            if not writer.is_closing():
                linger = struct.pack("ii", 1, 0)  # close without lingering: RST (socket(7))
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()


async def _connect(
    upstream: Path | tuple[str, int],
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(upstream, tuple):
        return await asyncio.open_connection(*upstream)
    return await asyncio.open_unix_connection(upstream)
