from __future__ import annotations

import pytest
import redis
from redis.exceptions import (
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    RedisClusterException,
    TryAgainError,
)
from redis.sentinel import MasterNotFoundError

from contracts.errors import FatalError, PoisonError, TransientError
from streams.errors import is_transient
from streams.url import Address, parse, redact


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h", Address("single", (("h", 6379),))),
        ("redis://h:1/2", Address("single", (("h", 1),), db=2)),
        ("redis://[::1]:7?db=3", Address("single", (("::1", 7),), db=3)),
        (" redis://:p%40ss@h\n", Address("single", (("h", 6379),), password="p@ss")),
        ("redis://me:p@h", Address("single", (("h", 6379),), username="me", password="p")),
        (
            "rediss://h?ssl_ca_certs=/ca.pem",
            Address("single", (("h", 6379),), ssl=True, tls={"ssl_ca_certs": "/ca.pem"}),
        ),
        ("unix:///run/r.sock", Address("unix", path="/run/r.sock")),
        (
            "unix:///run/r.sock?db=1&password=p",
            Address("unix", path="/run/r.sock", db=1, password="p"),
        ),
        (
            "redis+sentinel://:p@a,b:7/main/4?sentinel_password=s",
            Address(
                "sentinel",
                (("a", 26379), ("b", 7)),
                service="main",
                db=4,
                password="p",
                sentinel_password="s",
            ),
        ),
        (
            "rediss+sentinel://a/main",
            Address("sentinel", (("a", 26379),), service="main", ssl=True),
        ),
        ("redis+cluster://a:1,b", Address("cluster", (("a", 1), ("b", 6379)))),
    ],
)
def test_every_form_of_address_is_taken_apart(url: str, address: Address) -> None:
    assert parse(url) == address


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("localhost:6379", "unknown scheme"),
        ("http://:secret@h", "unknown scheme"),
        ("redis://", "a host is missing"),
        ("redis://:secret@h:port", "cannot be read"),
        ("redis://:secret@h:99999", "cannot be read"),
        ("redis://:sec/ret@h:1", "must be percent-encoded"),
        ("redis://:secret@[::1", "cannot be read"),
        ("redis://a,b", "several hosts"),
        ("redis://h/zero", "must be a number"),
        ("redis://h/1/2", "must be a number"),
        ("redis://:secret@h?retry=1", "unknown option retry"),
        ("unix://run/r.sock", "starts with /"),
        ("redis+sentinel://:secret@a:1", "the name of the service is missing"),
        ("redis+cluster://a/1", "database 0 only"),
    ],
)
def test_a_malformed_address_is_one_line_without_secrets(url: str, reason: str) -> None:
    with pytest.raises(FatalError, match=reason) as caught:
        parse(url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "sec/ret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/2", "redis://h:1/2"),
        ("redis://me:secret@h", "redis://me:***@h"),
        ("redis://:secret@h", "redis://:***@h"),
        ("redis://secret@h", "redis://***@h"),
        ("redis://me:se@cret@h", "redis://me:***@h"),
        ("redis://:se/cr?et@h:1/0", "redis://:***@h:1/0"),
        ("unix:///run/r@s.sock", "unix:///run/r@s.sock"),
        ("unix:///s?password=secret&db=1", "unix:///s?password=***&db=1"),
        (
            "redis+sentinel://a/m?sentinel_password=secret",
            "redis+sentinel://a/m?sentinel_password=***",
        ),
    ],
)
def test_a_shown_address_keeps_everything_but_the_secret(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_addresses_do_not_show_passwords() -> None:
    assert "secret" not in repr(parse("redis+sentinel://:secret@a/m?sentinel_password=secret"))


def unreachable_cluster(cause: Exception) -> RedisClusterException:
    error = RedisClusterException("Redis Cluster cannot be connected")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        redis.ConnectionError("Connection refused"),
        redis.TimeoutError("Timeout reading from socket"),
        redis.BusyLoadingError("Redis is loading the dataset in memory"),
        redis.ReadOnlyError("You can't write against a read only replica."),
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        ClusterDownError("Hash slot not served"),
        MasterDownError("Link with MASTER is down"),
        TryAgainError("Multiple keys request during rehashing of slot"),
        MasterNotFoundError("No master found for 'main'"),
        redis.ResponseError("BUSY Redis is busy running a script."),
        redis.ResponseError("NOREPLICAS Not enough good replicas to write."),
        redis.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
        unreachable_cluster(redis.ConnectionError("Connection refused")),
        ConnectionResetError(104, "Connection reset by peer"),
        TransientError("the server is not up yet"),
    ],
)
def test_what_passes_by_itself_is_transient(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        redis.AuthenticationError("invalid username-password pair or user is disabled."),
        redis.exceptions.AuthorizationError("Authentication required."),
        NoPermissionError("this user has no permissions to run the 'xadd' command"),
        redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
        redis.ResponseError("BUSYGROUP Consumer Group name already exists"),
        redis.ResponseError("unknown command 'XADDX'"),
        RedisClusterException("Cluster mode is not enabled on this node"),
        unreachable_cluster(redis.AuthenticationError("Authentication required.")),
        redis.DataError("Invalid input of type: 'dict'"),
        PoisonError("bad", "entry"),
        FatalError("bad address"),
        ValueError("bug"),
    ],
)
def test_what_needs_a_person_is_not(error: Exception) -> None:
    assert not is_transient(error)
