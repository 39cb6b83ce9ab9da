"""A real cluster on loopback, to kill masters of and to move slots in."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Self

from chaos.servers import PATIENCE, Server, free_port, wait_until
from contracts.errors import FatalError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SLOTS = 16_384
_MIGRATE_MS = 10_000


class Cluster:
    """Masters with the slots spread evenly, and replicas of each if wanted.

    Attributes:
        nodes: the masters as they were at the start, in the order of their slots, then replicas.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        masters: int = 3,
        replicas: int = 0,
        node_timeout_ms: int = 1_500,
        binary: Path | None = None,
    ) -> None:
        """Lay out a cluster; `start` or `with` brings it up.

        Args:
            directory: holds a directory for each node.
            options: of every server, on top of `Server`'s.
            masters: how many.
            replicas: how many of each master.
            node_timeout_ms: silence after which a node counts as failing.
            binary: the server; the embedded one by default.
        """
        self._masters, self._replicas = masters, replicas
        every = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(node_timeout_ms)]
        every += ["--repl-diskless-sync-delay", "0", *options]
        self.nodes = [
            Server(
                directory / f"node{number}",
                *("--cluster-port", str(free_port()), *every),
                port=free_port(),
                binary=binary,
            )
            for number in range(masters * (1 + replicas))
        ]

    @property
    def url(self) -> str:
        """Where clients find it (`streams.url`)."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> Self:
        """Start the nodes for the first time, make a cluster of them, and wait until it works."""
        for node in self.nodes:
            node.start()
        first, *others = self.nodes
        for number, node in enumerate(self.nodes, start=1):
            # Distinct from the start: nodes that have to sort that out take seconds to.
            _call(node, "CLUSTER SET-CONFIG-EPOCH", number)
        for node in others:
            bus = node.options[node.options.index("--cluster-port") + 1]
            _call(first, "CLUSTER MEET", "127.0.0.1", node.port, bus)
        masters = self.nodes[: self._masters]
        for number, node in enumerate(masters):
            low, high = (SLOTS * each // self._masters for each in (number, number + 1))
            _call(node, "CLUSTER ADDSLOTSRANGE", low, high - 1)
        wait_until(lambda: all(map(self._knows_all, self.nodes)), "the nodes know one another")
        for number, node in enumerate(self.nodes[self._masters :]):
            _call(node, "CLUSTER REPLICATE", _id_of(masters[number % self._masters]))
        self.wait_ok()
        return self

    def wait_ok(self, within: float = PATIENCE) -> None:
        """Wait until every living node calls the cluster ok and each replica has its master's data.

        After a kill they do so until they notice, which takes the node timeout or twice that.

        Raises:
            FatalError: that did not come to be within so many seconds.
        """
        wait_until(
            lambda: all(_is_ok(node) for node in self.nodes if node.alive), "the cluster ok", within
        )

    def masters(self) -> list[Server]:
        """The nodes that serve slots now, the lowest first."""
        serving = [(min(slots), node) for node, slots in self._serving() if slots]
        return [node for _, node in sorted(serving, key=lambda each: each[0])]

    def node_of(self, slot: int) -> Server:
        """Return the node that serves a slot now.

        Raises:
            FatalError: none does.
        """
        for node, slots in self._serving():
            if slot in slots:
                return node
        raise FatalError(f"no node serves slot {slot}")

    def kill_master(self, number: int) -> Server:
        """`kill -9` one of `masters()`; returns it, to be started again."""
        node = self.masters()[number]
        node.kill()
        return node

    def migrate_slot(
        self, slot: int, to: Server, between: Callable[[], object] = lambda: None
    ) -> int:
        """Move a slot with everything in it to another master, key by key, as redis-cli does.

        https://redis.io/docs/latest/commands/cluster-setslot/ says how; until the last step both
        nodes serve it, and send clients to one another (ASK, TRYAGAIN).

        Args:
            slot: what to move.
            to: the master that is to serve it.
            between: called before each key, and before the slot changes hands.

        Returns:
            How many keys were moved.
        """
        source, moved = self.node_of(slot), 0
        _call(to, "CLUSTER SETSLOT", slot, "IMPORTING", _id_of(source))
        _call(source, "CLUSTER SETSLOT", slot, "MIGRATING", _id_of(to))
        between()
        while keys := _call(source, "CLUSTER GETKEYSINSLOT", slot, 1):
            _call(source, "MIGRATE", "127.0.0.1", to.port, keys[0], 0, _MIGRATE_MS)
            moved += 1
            between()
        for node in (to, source, *self.masters()):
            _call(node, "CLUSTER SETSLOT", slot, "NODE", _id_of(to))
        return moved

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        with contextlib.ExitStack() as ending:
            for node in self.nodes:
                ending.push(node)

    def _knows_all(self, node: Server) -> bool:
        return int(_call(node, "CLUSTER INFO")["cluster_known_nodes"]) == len(self.nodes)

    def _serving(self) -> list[tuple[Server, set[int]]]:
        """Every living node, and the slots it says itself it serves."""
        return [(node, _slots_of(node)) for node in self.nodes if node.alive]


def _call(node: Server, command: str, *args: object) -> Any:  # noqa: ANN401 - a reply is what the command says
    with node.client() as client:
        return client.execute_command(command, *args)


def _id_of(node: Server) -> str:
    return str(_call(node, "CLUSTER MYID").decode())


def _is_ok(node: Server) -> bool:
    if _call(node, "CLUSTER INFO")["cluster_state"] != "ok":
        return False
    link: str = _call(node, "INFO", "replication").get("master_link_status", "up")
    return link == "up"


def _slots_of(node: Server) -> set[int]:
    (own,) = (each for each in _call(node, "CLUSTER NODES").values() if "myself" in each["flags"])
    ranges = [(int(each[0]), int(each[-1])) for each in own["slots"]]
    return {slot for low, high in ranges for slot in range(low, high + 1)}
