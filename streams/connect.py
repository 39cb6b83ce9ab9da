"""The one place where connections to Redis are made, and where their options stand."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.exceptions import RedisClusterException
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import Sentinel

from contracts.errors import FatalError
from streams._waiting import attempts
from streams.cluster import Cluster
from streams.embedded import GuardedConnection
from streams.errors import is_transient
from streams.url import Address, parse, redact

if TYPE_CHECKING:
    from collections.abc import Callable

Options = dict[str, Any]  # keyword arguments of redis-py's connections

DATA_DIR = Path(".cortex")
SOCKET_TIMEOUT = 10.0  # seconds without a byte until a connection is given up
MAX_BLOCK_MS = 5_000  # the longest BLOCK: the reply must arrive well before SOCKET_TIMEOUT
CONNECT_TIMEOUT = 5.0  # seconds for one attempt
HEALTH_CHECK = 15  # seconds idle after which a connection is tested before its next command
PATIENCE = 5.0  # seconds for the first connection
FOREVER = float("inf")  # the patience of processes that run until they are told to stop
LOADING_PATIENCE = 30.0  # seconds for a server that is there to load its data


def connect(
    url: str | None = None,
    *,
    data_dir: Path | None = None,
    role: str = "client",
    socket_timeout: float = SOCKET_TIMEOUT,
    patience: float | None = None,
) -> redis.Redis:
    """Connect to Redis, and wait until it answers.

    Args:
        url: see `streams.url`; None means what `REDIS_URL` says, and if that is unset or empty,
            the embedded server in `data_dir` (see `streams.embedded`).
        data_dir: directory of the embedded server; `.cortex` if not given.
        role: what this process is, for `CLIENT LIST`: connections are named `cortex:<role>:<pid>`.
        socket_timeout: seconds; a BLOCK must be shorter (`MAX_BLOCK_MS` suits the default).
        patience: seconds for the server to be there, if not `PATIENCE`; what cannot pass by itself
            is not waited for. While it waits, stderr says so.

    Returns:
        A synchronous client that replies in bytes and never repeats a command on its own: whether a
        command whose reply was lost was carried out is for the caller to find out. For a cluster,
        a `RedisCluster` (`streams.cluster`), which takes the same commands.

    Raises:
        FatalError: malformed address, nothing there, or access denied; one line that says what was
            tried and shows no password.
    """
    options = _options(role, socket_timeout)
    url = url or os.environ.get("REDIS_URL")
    if url:
        shown, address = redact(url), parse(url)
        return _first_answer(shown, lambda: _client(address, options), patience)
    directory = (data_dir or DATA_DIR).absolute()
    return _first_answer(
        f"the embedded server in {directory}", lambda: _embedded(directory, options), patience
    )


def _options(role: str, socket_timeout: float) -> Options:
    """What every connection has in common, whatever it leads to."""
    return {
        # The shapes of replies of RESP3, whatever the server speaks: streams as dictionaries.
        "legacy_responses": False,
        "protocol": 3,
        "decode_responses": False,  # decoding every field costs a third of the throughput
        "client_name": f"cortex:{role}:{os.getpid()}",
        "socket_timeout": socket_timeout,
        "health_check_interval": HEALTH_CHECK,
        # An extra of Redis Enterprise: elsewhere one refused command per connection.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }


def _tcp(address: Address) -> Options:
    """What connections over TCP have in common."""
    return {
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "socket_keepalive": True,  # notices a peer that vanished during a long BLOCK
        "ssl": address.ssl,
        **address.tls,
    }


def _no_retry() -> Retry:
    """No automatic retry: a repeated XADD is a second entry."""
    return Retry(NoBackoff(), 0)


def _embedded(directory: Path, options: Options) -> redis.Redis:
    pool = redis.ConnectionPool(
        connection_class=GuardedConnection, data_dir=directory, retry=_no_retry(), **options
    )
    return redis.Redis.from_pool(pool)


def _client(address: Address, options: Options) -> redis.Redis:
    options = options | {"username": address.username, "password": address.password}
    if address.kind == "unix":
        return redis.Redis(
            unix_socket_path=address.path, db=address.db, retry=_no_retry(), **options
        )
    options |= _tcp(address)
    if address.kind == "sentinel":
        return _behind_sentinels(address, options)
    if address.kind == "cluster":
        # Redirections are followed all the same: a redirected command was not carried out.
        nodes = [ClusterNode(*host) for host in address.hosts]  # type: ignore[no-untyped-call] # redis-py
        cluster = Cluster(startup_nodes=nodes, retry=_no_retry(), **options)
        return cast("redis.Redis", cluster)  # the same commands, by another class
    ((host, port),) = address.hosts
    return redis.Redis(host=host, port=port, db=address.db, retry=_no_retry(), **options)


def _behind_sentinels(address: Address, options: Options) -> redis.Redis:
    options = options | {"retry": _no_retry()}
    of_sentinels = {"username": address.sentinel_username, "password": address.sentinel_password}
    sentinel = Sentinel(address.hosts, sentinel_kwargs=options | of_sentinels)  # type: ignore[no-untyped-call] # redis-py
    primary = sentinel.master_for(address.service, db=address.db, **options)  # type: ignore[no-untyped-call] # redis-py
    return cast("redis.Redis", primary)


def _first_answer(
    shown: str, make: Callable[[], redis.Redis], patience: float | None
) -> redis.Redis:
    """The client once its server answers PING; waits out LOADING, gives up sooner on silence."""
    patience = PATIENCE if patience is None else patience
    error: Exception | None = None

    def so_far() -> str:
        return f"{shown}: {_on_one_line(error)}"

    for waited in attempts(so_far, max(patience, LOADING_PATIENCE)):
        try:
            client = make()
            client.ping()
        except (redis.RedisError, RedisClusterException, OSError) as caught:
            error = caught
            loading = isinstance(error, redis.BusyLoadingError)
            if not is_transient(error) or (waited >= patience and not loading):
                break
        else:
            return client
    raise FatalError(f"no Redis at {so_far()}") from error


def _on_one_line(error: Exception | None) -> str:
    # Of a Sentinel that did not help, redis-py prints every option: host and port will do.
    sentinel = r"<redis\.client\..*?,host=(.*?),port=(\d+),.*?\)>\)>\)>"
    return " ".join(re.sub(sentinel, r"\1:\2", str(error)).split())
