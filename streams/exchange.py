"""Sends many commands at once, and tells of each what became of it, whatever happens in the middle.

redis-py's own pipelines forget what was answered before a connection broke, and those of a cluster
send again what was not answered. A producer can use neither.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis
from redis.cluster import RedisCluster
from redis.exceptions import AskError, AuthorizationError, ReadOnlyError, ResponseError

from contracts.errors import TransientError
from streams.errors import SERVER_TROUBLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis
    from redis.connection import ConnectionInterface

    Command = Sequence[str | bytes | int]  # its second word is the key
    Reply = Any  # or the error that came instead

# What the server said of one command, though redis-py takes it for trouble with the connection.
_REFUSALS = (
    ResponseError,
    redis.BusyLoadingError,
    redis.AuthenticationError,
    AuthorizationError,
)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How many replicas must have a write, and how long to wait for them.

    Attributes:
        replicas: see WAIT.
        ms: well below the client's socket timeout.
    """

    replicas: int
    ms: int


def was_refused(reply: Reply) -> bool:
    """Whether a reply says that its command was not carried out, and will not be."""
    return isinstance(reply, (*_REFUSALS, TransientError))


def send(
    client: Redis, commands: Sequence[Command], confirmation: Confirmation | None = None
) -> list[Reply]:
    """Send writes, each once: one pipeline per server, all of it before the first reply.

    Returns:
        One reply per command, in their order. In the place of a reply may stand the error that
        refused the command, a `TransientError` if it was never sent, or any other error, after
        which nobody knows whether it was carried out.
    """
    cluster: object = client  # the same commands, by another class
    if not isinstance(cluster, RedisCluster):
        return _confirmed(client, commands, confirmation)
    replies = _per_node(cluster, commands, confirmation)
    if confirmation is None:
        for index, reply in enumerate(replies):
            if isinstance(reply, AskError):  # or MovedError: the slot is elsewhere by now
                replies[index] = _redirected(cluster, commands[index])
    if any(isinstance(reply, Exception) for reply in replies):
        _find_out_anew(cluster)
    return replies


def _per_node(
    cluster: RedisCluster, commands: Sequence[Command], confirmation: Confirmation | None
) -> list[Reply]:
    replies: list[Reply] = [None] * len(commands)
    of_node: dict[Redis, list[int]] = {}
    for index, command in enumerate(commands):
        try:
            node = cluster.get_node_from_key(command[1])  # type: ignore[no-untyped-call] # redis-py
        except SERVER_TROUBLE as error:
            replies[index] = _not_sent(error)
        else:
            of_node.setdefault(cluster.get_redis_connection(node), []).append(index)
    for server, indexes in of_node.items():
        got = _confirmed(server, [commands[index] for index in indexes], confirmation)
        for index, reply in zip(indexes, got, strict=True):
            replies[index] = reply
    return replies


def _redirected(cluster: RedisCluster, command: Command) -> Reply:
    # A command that was answered with another address was not carried out; redis-py goes there.
    try:
        return cluster.execute_command(*command)  # type: ignore[no-untyped-call] # redis-py
    except SERVER_TROUBLE as error:
        return error


def _find_out_anew(cluster: RedisCluster) -> None:
    with suppress(*SERVER_TROUBLE):  # the next command would meet the same
        cluster.nodes_manager.initialize()


def _confirmed(
    server: Redis, commands: Sequence[Command], confirmation: Confirmation | None
) -> list[Reply]:
    """Send to one server; what too few replicas have is as good as unanswered."""
    if confirmation is None:
        return _pipeline(server, commands)
    wait = ("WAIT", confirmation.replicas, confirmation.ms)
    *replies, have = _pipeline(server, [*commands, wait])
    if isinstance(have, int) and have >= confirmation.replicas:
        return replies
    said = f"only {have}" if isinstance(have, int) else f"nobody knows how many ({have})"
    doubt = redis.TimeoutError(f"{said} of {confirmation.replicas} replicas confirmed it")
    return [reply if isinstance(reply, Exception) else doubt for reply in replies]


def _pipeline(server: Redis, commands: Sequence[Command]) -> list[Reply]:
    pool = server.connection_pool
    try:
        connection = pool.get_connection()
    except (*SERVER_TROUBLE, OSError) as error:
        return [_not_sent(error)] * len(commands)
    replies: list[Reply] = []
    in_order = False
    try:
        packed = connection.pack_commands(commands)  # type: ignore[no-untyped-call] # redis-py
        connection.send_packed_command(packed)  # type: ignore[no-untyped-call] # redis-py
        while len(replies) < len(commands):
            replies.append(_reply(connection))
        in_order = True
    except (redis.ConnectionError, redis.TimeoutError) as error:
        replies += [error] * (len(commands) - len(replies))
    finally:
        if not in_order:  # replies nobody waits for must not meet the next command
            connection.disconnect()  # type: ignore[no-untyped-call] # redis-py
        pool.release(connection)
    return replies


def _reply(connection: ConnectionInterface) -> Reply:
    try:
        return connection.read_response(disconnect_on_error=False)
    except _REFUSALS as error:
        return error
    except redis.ConnectionError as error:
        # A connection that a Sentinel manages reports so that its server was demoted.
        if isinstance(error.__context__, ReadOnlyError):
            return error.__context__
        raise


def _not_sent(error: Exception) -> TransientError:
    return TransientError(f"not sent: {error}")
