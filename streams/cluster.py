"""redis-py's client of a cluster, less what makes one node's trouble that of all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis
from redis.cluster import PRIMARY, ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException

if TYPE_CHECKING:
    from collections.abc import Sequence

_READS = frozenset({"XREAD", "XREADGROUP"})
_ANYWHERE = frozenset({"COMMAND", "PING", "TIME"})  # any node will do
_STREAMS = (b"STREAMS", "STREAMS")


class Cluster(RedisCluster):
    """A client that finds its way without asking, and follows wherever it is sent.

    redis-py 8.1 asks one node, always the same, where the keys of each XREADGROUP stand: two
    exchanges more for each reading, and while that node hangs nobody reads anywhere. Nobody can
    connect either while that node is away. And it fails with an AttributeError when a slot moves to
    a node that it has not heard of: to any new one, as a node without slots is not in the table of
    slots.
    """

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - any command
        """Send a command to the node that serves its keys; one without keys to any that answers.

        Raises:
            redis.RedisError: as the node or the connection reports it.
            RedisClusterException: there is no such node.
        """
        if args[0] not in _ANYWHERE or "target_nodes" in kwargs:
            return super().execute_command(*args, **kwargs)  # type: ignore[no-untyped-call] # redis-py
        failed: Exception | None = None
        for node in self.get_primaries():  # type: ignore[no-untyped-call] # redis-py
            try:
                return super().execute_command(*args, target_nodes=node, **kwargs)  # type: ignore[no-untyped-call] # redis-py
            except (redis.ConnectionError, redis.TimeoutError) as error:
                failed = error
        raise failed or RedisClusterException(f"{args[0]}: the cluster has no masters")

    def determine_slot(self, *args: Any) -> int | None:  # noqa: ANN401 - any command
        """Return the slot of a command's keys; None where it has none.

        Raises:
            RedisClusterException: they do not share one.
        """
        if args[0] not in _READS:
            return super().determine_slot(*args)
        slots = {self.keyslot(key) for key in _streams(args)}  # type: ignore[no-untyped-call] # redis-py
        if len(slots) != 1:
            raise RedisClusterException(f"{args[0]}: its streams are in {len(slots)} slots")
        return int(slots.pop())

    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> ClusterNode | None:
        """Return a node; one that is known by name alone is taken to be there."""
        node: ClusterNode | None = super().get_node(host, port, node_name)  # type: ignore[no-untyped-call] # redis-py
        if node or not node_name:
            return node
        host, _, digits = node_name.rpartition(":")
        new = ClusterNode(host, int(digits), PRIMARY)  # type: ignore[no-untyped-call] # redis-py
        return self.nodes_manager.nodes_cache.setdefault(node_name, new)


def _streams(args: Sequence[Any]) -> Sequence[Any]:
    """`… STREAMS key … id …`: keys are the first half of what comes last."""
    first = next(at for at, word in enumerate(args) if word in _STREAMS) + 1
    return args[first : first + (len(args) - first) // 2]
