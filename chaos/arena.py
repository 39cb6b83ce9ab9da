"""Where most rows play: one server, a fleet of workers, a producer, and the checker at the end."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import redis
from redis.exceptions import RedisClusterException

from chaos.fleet import Fleet
from chaos.history import History, Outputs, violations
from chaos.matrix import Result, judged
from chaos.producer import Producer
from chaos.servers import Server, wait_until
from contracts.errors import CortexError
from router.masters import Masters
from streams.connect import connect
from streams.keys import WORKERS
from streams.partitions import layout
from worker.settings import Settings

if TYPE_CHECKING:
    from chaos.matrix import Run

MASTERS = Masters.parse(Settings().masters_text).names
_UNREACHABLE = (redis.RedisError, RedisClusterException, CortexError, OSError)


class Arena:
    """A queue under test. Leave it and every process of it is gone.

    Attributes:
        url: where the queue is; the workers may be sent elsewhere, through a proxy.
        client: of the checker's own, past any proxy.
        history: what the producers saw.
        fleet: the workers.
    """

    def __init__(  # noqa: PLR0913 - where the queue is, and how its workers are set
        self,
        run: Run,
        *,
        server: Server | None = None,
        url: str | None = None,
        worker_url: str | None = None,
        partitions: int = 0,
        keep: bool = True,
        **env: str,
    ) -> None:
        """Start the server and connect; workers are started by the row.

        Args:
            run: the row's.
            server: instead of one with the embedded server's configuration.
            url: of a queue that the row started itself; then `server` is not used.
            worker_url: what workers connect to, if not the queue directly.
            partitions: how many the queue has.
            keep: have nothing trimmed that the checker has not read; False where a collector
                takes what comes out.
            env: settings of the workers.
        """
        self.run = run
        self._stack = ExitStack()
        self._server = None if url else server or Server(run.directory / "server")
        if self._server is not None:
            self._stack.enter_context(self._server)
        self.url = url or self.server.url
        self.parts = layout("", partitions)
        self.client = connect(self.url, role="checker")
        self.history = History(run.directory / "producer.log")
        if partitions:
            env["CORTEX_PARTITIONS"] = str(partitions)
        self.fleet = Fleet(worker_url or self.url, run.directory, **env)
        self._producers: list[Producer] = []
        self._numbers = 0
        if keep:
            self.keep_outputs()

    @property
    def server(self) -> Server:
        """The one server of this arena."""
        if self._server is None:
            raise ValueError("this arena has no server of its own")
        return self._server

    def keep_outputs(self) -> None:
        """Have nothing trimmed before the checker read it; again after a FLUSHALL."""
        for keys in self.parts:
            for key in (*(keys.master(name) for name in MASTERS), keys.decisions):
                self.client.xgroup_create(key, "checker", id="0", mkstream=True)

    def ids(self, count: int) -> list[str]:
        """New task ids."""
        first, self._numbers = self._numbers, self._numbers + count
        return [f"t-{n}" for n in range(first, self._numbers)]

    def producer(self, *, once: bool = False, rate: float = float("inf")) -> Producer:
        """A producer that submits past any proxy and notes what it saw."""
        made = Producer(
            lambda: connect(self.url, role="producer"),
            self.parts,
            self.history,
            once=once,
            rate=rate,
        )
        self._producers.append(made)
        return made

    def submit(self, count: int) -> list[str]:
        """Submit new tasks, each until it is confirmed; returns their ids."""
        ids = self.ids(count)
        self.producer().submit(ids)
        return ids

    def produce(self, count: int, rate: float = float("inf")) -> Producer:
        """Submit new tasks in the background, each until it is confirmed."""
        producer = self.producer(rate=rate)
        producer.start(self.ids(count))
        return producer

    def finished(self) -> int:
        """How many tasks are decided or dead; 0 while the queue cannot be asked."""
        try:
            return sum(
                self.client.xlen(keys.decisions) + self.client.xlen(keys.dead)
                for keys in self.parts
            )
        except _UNREACHABLE:
            return 0

    def wait_finished(self, count: float, within: float = 60.0) -> None:
        """Wait until so many tasks are decided or dead."""
        wait_until(lambda: self.finished() >= count, f"{count:.0f} tasks finished", within)

    def idle(self) -> bool:
        """Whether every task that is in the queue was read and settled.

        A stream that workers have yet to join is not: they join one after another, and producers
        do not wait for them.
        """
        try:
            groups = [
                self._workers(stream)
                for keys in self.parts
                for stream in keys.task_streams
                if self.client.exists(stream)
            ]
        except _UNREACHABLE:
            return False
        return bool(groups) and all(g and g["pending"] == g["lag"] == 0 for g in groups)

    def _workers(self, stream: str) -> dict[str, Any] | None:
        groups: list[dict[str, Any]] = self.client.xinfo_groups(stream)
        return next((group for group in groups if group["name"] == WORKERS.encode()), None)

    def drain(self, within: float = 60.0) -> float:
        """Wait until everything confirmed is settled and nothing is pending.

        Returns:
            Seconds it took from now.

        Raises:
            TimeoutError: a producer is not done.
            FatalError: the queue is not empty in time.
        """
        begun = time.monotonic()
        for producer in self._producers:
            producer.join(within)
        wait_until(self.idle, f"the queue is empty ({self.finished()} finished)", within)
        return time.monotonic() - begun

    def outputs(self) -> Outputs:
        """What came out so far."""
        return Outputs.read(self.client, self.parts, MASTERS)

    def violations(self) -> list[str]:
        """What is wrong with it."""
        return violations(self.history.seen, self.outputs())

    def result(
        self, runs: int, recovery: float | None = None, *extra: str, note: str = ""
    ) -> Result:
        """Judge what came out.

        Args:
            runs: how many faults were injected.
            recovery: seconds.
            extra: violations the row found itself.
            note: for the table.
        """
        lost, doubled, found = judged(self.violations())
        return Result(
            runs=runs,
            lost=lost,
            doubled=doubled,
            recovery=recovery,
            violations=(*found, *extra),
            note=note,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for producer in self._producers:
            producer.stop()
        self.fleet.close()
        self.client.close()
        self.history.close()
        self._stack.close()
