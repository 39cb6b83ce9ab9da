"""How full a server's memory is, and whether reading more work would only fill it further.

A decided task takes more memory than one that waits: it stands in its master's queue and in the
audit stream. So workers stop reading well before the server refuses writes, and what they hold can
still be settled. But where no master has anything to do, waiting would free nothing: then they go
on, or tasks alone could fill the memory and stay there for ever.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import structlog
from redis.cluster import RedisCluster

from streams.backlog import backlog
from streams.errors import SERVER_TROUBLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

log = structlog.get_logger()

_EVERY, _EVERY_WHILE_HIGH = 0.25, 0.1  # seconds between looks


def memory_share(client: Redis) -> float:
    """Return used memory by `maxmemory`, of the fullest server; 0 where nothing limits it.

    Buffers for replicas and the append-only file are left out, as the server itself leaves them
    out when it decides whether to refuse a write (`mem_not_counted_for_evict`).

    Raises:
        redis.RedisError: no server could be asked.
    """
    return max(_share(server.info("memory")) for server in servers(client))


class Pressure:
    """Watches the memory of the queue's servers on a thread of its own.

    A server that cannot be asked leaves things as they are.

    Attributes:
        high: whether memory is short: from `stop` on, until it is below `resume`.
        paused: whether nothing is to be read for now.
    """

    def __init__(
        self, client: Redis, queues: Sequence[str], *, stop: float = 0.80, resume: float = 0.75
    ) -> None:
        """Begin with nothing known.

        Args:
            client: connection to the queue's servers.
            queues: the masters' streams: while there is work in them, waiting frees memory.
            stop: share of `maxmemory` at which reading stops.
            resume: share below which it goes on.
        """
        self._client = client
        self._queues = queues
        self._stop_at = stop
        self._resume_at = resume
        self._share = 0.0
        self._said = False
        self.high = False
        self.paused = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pressure", daemon=True)

    def start(self) -> None:
        """Look once, then watch."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopping.set()

    def may_read(self) -> bool:
        """Whether more work is wanted."""
        return not self.paused

    @property
    def stuck(self) -> bool:
        """Whether memory is short though no master has work: only records can give way then."""
        return self.high and not self.paused

    @property
    def detail(self) -> str:
        """What there is to say to people: `yes`, or why nothing is read."""
        return f"paused: {self._memory}" if self.paused else "yes"

    def look(self) -> None:
        """Measure, and say so once when reading stops and when it goes on."""
        try:
            self._share = memory_share(self._client)
            self.high = self._share >= (self._resume_at if self.high else self._stop_at)
            self.paused = self.high and backlog(self._client, self._queues) > 0
        except SERVER_TROUBLE as error:
            log.debug("memory unknown", error=str(error))
        if self.paused and not self._said:
            log.warning("reading paused: %s", self._memory)
            self._said = True
        elif self._said and not self.high:
            log.info("reading goes on: %s", self._memory)
            self._said = False

    @property
    def _memory(self) -> str:
        return f"memory at {self._share:.0%} of maxmemory".replace("%", " %")

    def _watch(self) -> None:
        while not self._stopping.wait(_EVERY_WHILE_HIGH if self.high else _EVERY):
            self.look()


def servers(client: Redis) -> Sequence[Redis]:
    """Return a client of each server that takes writes: the primaries of a cluster, or the one."""
    cluster: object = client  # the same commands, by another class
    if isinstance(cluster, RedisCluster):
        nodes = cluster.get_primaries()  # type: ignore[no-untyped-call] # redis-py
        return [cluster.get_redis_connection(node) for node in nodes]
    return [client]


def _share(memory: dict[str, Any]) -> float:
    limit: int = memory["maxmemory"]
    used: int = memory["used_memory"] - memory.get("mem_not_counted_for_evict", 0)
    return used / limit if limit else 0.0
