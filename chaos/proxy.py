"""A TCP proxy that does to connections what networks do, switchable while they are open.

    with Proxy(server.socket) as proxy:
        client = connect(proxy.url)
        proxy.delay(0.2)                     # every chunk, both ways
        proxy.hold("replies")                # until proxy.release()
        proxy.lose_replies(1, "EVALSHA")     # carried out, but nobody hears of it
        proxy.injected                       # what really happened: Counter({"lost reply": 1, …})

Every switch has taken hold when its method returns. `heal` undoes all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Self, TypeVar

from chaos.connection import Connection, Direction, Faults, Plan, Way

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")


class Proxy:
    """A proxy on 127.0.0.1 in front of one server, with a thread of its own.

    Attributes:
        upstream: the server: the path of a unix socket, or host and port; may be changed, which
            counts for new connections.
        port: where it listens.
        raw: see `__init__`.
    """

    def __init__(
        self, upstream: Path | tuple[str, int], *, port: int = 0, raw: bool = False
    ) -> None:
        """Listen, on a port of the system's choice if none is given.

        Args:
            upstream: the path of the server's unix socket, or its host and port.
            port: where to listen.
            raw: what passes is not requests and their replies, each in turn (replication, the
                nodes of a cluster among themselves): only faults of connections can be injected.
        """
        self.upstream = upstream
        self.raw = raw
        self._faults = Faults()
        self._connections: set[Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", port)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        self.port: int = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        """The address of the server as clients behind the proxy see it."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def injected(self) -> Counter[str]:
        """How often each fault was really injected, so far.

        `delayed`, `trickled` and `held` count chunks; `cut`, `half-closed` and `refused` count
        connections; `lost request`, `lost reply` and `answered` count requests.
        """
        return self._faults.injected.copy()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def delay(self, seconds: float, *directions: Direction) -> None:
        """Keep each chunk for some time before it is sent on; both ways unless one is named."""
        for way in self._ways(directions):
            way.delay = seconds

    def trickle(self, bytes_per_second: float | None, *directions: Direction) -> None:
        """Send no more than so many bytes a second over each connection; None: no limit."""
        for way in self._ways(directions):
            way.rate = bytes_per_second

    def hold(self, *directions: Direction) -> None:
        """Send nothing on until `release`; connections stay open and nothing is lost."""
        for way in self._ways(directions):
            self._do(way.open.clear)

    def release(self, *directions: Direction) -> None:
        """Send on what was held, in order, and what comes from now on."""
        for way in self._ways(directions):
            self._do(way.open.set)

    def cut(self) -> int:
        """Reset every open connection (RST to both sides); what is held goes with it.

        Returns:
            How many there were.
        """
        return self._to_all(lambda each: each.reset("cut"))

    def half_close(self, direction: Direction) -> None:
        """End one direction of every open connection (FIN), and drop what comes that way."""
        self._to_all(lambda each: each.half_close(direction))

    def refuse(self, *, refusing: bool = True) -> None:
        """Reset whoever connects, from now on, or no longer; open connections are left alone."""
        self._faults.refusing = refusing

    def lose_requests(self, n: int, *commands: str) -> None:
        """Swallow the next `n` requests, each together with its connection.

        Args:
            n: how many, over all connections.
            commands: count only requests that begin so: `XADD`, `EVALSHA <sha>`. Without any, the
                greeting of a new connection counts too.
        """
        self._plan(Plan("lost request", n, commands))

    def lose_replies(self, n: int, *commands: str) -> None:
        """Let the next `n` requests be carried out, but reset the connection instead of replying.

        Args:
            n: how many, over all connections.
            commands: as for `lose_requests`.
        """
        self._plan(Plan("lost reply", n, commands))

    def answer(self, error: bytes, n: int, *commands: str) -> None:
        """Reply to the next `n` requests with an error, without asking the server.

        Args:
            error: as Redis says it, without the leading dash: `LOADING Redis is loading`.
            n: how many, over all connections.
            commands: as for `lose_requests`.
        """
        self._plan(Plan("answered", n, commands, error))

    def heal(self) -> None:
        """End every fault; what is held goes on its way."""
        self.delay(0)
        self.trickle(None)
        self.release()
        self.refuse(refusing=False)
        self._do(self._faults.plans.clear)

    def close(self) -> None:
        """Stop listening, reset what is open, and end the thread."""
        self._do(self._server.close)
        self._to_all(lambda each: each.reset())
        asyncio.run_coroutine_threadsafe(self._wait_for_connections(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self._faults, reader, writer)
        if self._faults.refusing:
            connection.reset("refused")
            return
        self._connections.add(connection)
        try:
            with contextlib.suppress(asyncio.CancelledError):  # it was reset
                await connection.run(self.upstream, raw=self.raw)
        finally:
            self._connections.discard(connection)

    async def _wait_for_connections(self) -> None:
        tasks = [each.task for each in self._connections if each.task]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ways(self, directions: tuple[Direction, ...]) -> list[Way]:
        return [self._faults.ways[direction] for direction in directions or ("requests", "replies")]

    def _plan(self, plan: Plan) -> None:
        self._do(lambda: self._faults.plans.append(plan))

    def _to_all(self, step: Callable[[Connection], None]) -> int:
        """Take a step on every open connection; returns how many there are."""

        def take() -> int:
            for connection in self._connections:
                step(connection)
            return len(self._connections)

        return self._do(take)

    def _do(self, step: Callable[[], T]) -> T:
        """Take a step in the proxy's thread, and wait for it."""

        async def take() -> T:
            return step()

        return asyncio.run_coroutine_threadsafe(take(), self._loop).result()
