"""Which of the errors of a Redis client pass by themselves."""

from __future__ import annotations

import redis
from redis.exceptions import (
    AskError,
    AuthorizationError,
    ClusterError,
    MasterDownError,
    OutOfMemoryError,
    RedisClusterException,
    SlotNotCoveredError,
    TryAgainError,
)

from contracts.errors import TransientError

# What a command may raise because of the server or the way to it. redis-py keeps the errors of a
# cluster's client apart from all others.
SERVER_TROUBLE = (redis.RedisError, RedisClusterException, TransientError)

_FATAL = (redis.AuthenticationError, AuthorizationError)  # both are ConnectionErrors to redis-py
_TRANSIENT = (
    TransientError,
    OSError,
    redis.ConnectionError,  # with BusyLoadingError, MaxConnectionsError, MasterNotFoundError
    redis.TimeoutError,
    redis.ReadOnlyError,  # a primary was demoted; the next connection finds the new one
    OutOfMemoryError,  # consumers make room
    ClusterError,  # with ClusterDownError: slots are moving or without a primary
    MasterDownError,
    SlotNotCoveredError,
    TryAgainError,
    AskError,  # with MovedError
)
# Codes redis-py has no class for, with which Redis and Valkey refuse a command for now.
_CODES = ("BUSY", "MISCONF", "NOREPLICAS", "UNBLOCKED", "NOMASTERLINK", "INPROG")


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later with nobody changing anything in Cortex.

    Everything else (no access, wrong type, unknown command, bad script) needs a person.
    """
    if isinstance(error, _FATAL):
        return False
    if isinstance(error, _TRANSIENT):
        return True
    if isinstance(error, RedisClusterException):  # raised from what made the nodes unreachable
        return error.__cause__ is not None and is_transient(error.__cause__)
    code = str(error).partition(" ")[0]
    return isinstance(error, redis.ResponseError) and code in _CODES
