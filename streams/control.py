"""The live configuration: a hash every worker watches, changed by compare-and-set and logged."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import msgspec
from msgspec import Struct
from redis.cluster import RedisCluster

from contracts.encode import rollout_fields
from contracts.errors import FatalError, PoisonError, TransientError
from contracts.messages import RolloutConfig
from contracts.parse_rollout import parse_rollout
from streams import ranges
from streams.scripts import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from redis import Redis

    from streams.keys import Keys

_CHANGEABLE = frozenset(RolloutConfig.__struct_fields__) - {"version"}


class Change(Struct, frozen=True, kw_only=True):
    """One entry of the control log.

    Attributes:
        version: the version the change made.
        at: RFC 3339, UTC.
        before: the changed fields as they were; None where a field was not set.
        after: the changed fields as they became.
    """

    version: int
    who: str
    why: str
    at: str
    before: dict[str, str | None]
    after: dict[str, str]


def read_config(client: Redis, keys: Keys, defaults: RolloutConfig) -> RolloutConfig:
    """Read the live configuration.

    Args:
        client: connection to the queue's server.
        keys: names the configuration hash.
        defaults: supplies every field that was never set, so all of them on a fresh deployment.

    Raises:
        PoisonError: the hash is malformed; go on with the last good configuration.
        redis.RedisError: the server could not be asked.
    """
    stored = cast("dict[bytes, bytes]", client.hgetall(keys.rollout))
    return parse_rollout(_fields(defaults) | stored)


def unreadable_fields(client: Redis, keys: Keys) -> list[str]:
    """Return the fields of the live configuration's hash that are malformed.

    Raises:
        redis.RedisError: the server could not be asked.
    """
    stored = cast("dict[bytes, bytes]", client.hgetall(keys.rollout))
    sound = _fields(RolloutConfig())
    return [
        name.decode() for name in sound if name in stored and not _readable(sound, name, stored)
    ]


def set_config(  # noqa: PLR0913 (a change, and who answers for it)
    client: Redis,
    keys: Keys,
    *,
    expected_version: int | None,
    changes: Mapping[str, str],
    who: str,
    why: str,
    defaults: RolloutConfig | None = None,
    stamped: Sequence[str] = (),
) -> RolloutConfig:
    """Change fields of the live configuration and log it, both or neither.

    In a cluster the two live on different nodes: the log is written second, and a crash in between
    leaves a change that is in force and not logged.

    Args:
        client: connection to the queue's server.
        keys: names the configuration hash and its log.
        expected_version: the version the decision to change was based on; None overwrites any.
        changes: field names of `RolloutConfig` (not `version`) and their new values as text.
        who: who is responsible.
        why: the reason, for the log.
        defaults: what the caller takes for set where nothing was; it is not written, so that a
            change made from one machine does not spread that machine's environment.
        stamped: further fields, which get the moment of the change, by the server's clock.

    Returns:
        The configuration as it is now.

    Raises:
        FatalError: a field is unknown, or a value is malformed; nothing was changed.
        PoisonError: the change was made, but another field of the hash was malformed before.
        TransientError: someone else changed the configuration meanwhile; read it again.
        redis.RedisError: it is unknown whether the change was made.
    """
    at = server_time(client)
    changes = {**changes, **dict.fromkeys(stamped, at)}
    if unknown := changes.keys() - _CHANGEABLE:
        known = ", ".join(sorted(_CHANGEABLE))
        raise FatalError(f"no configuration field {min(unknown)!r}; there are {known}")
    wanted = {name.encode(): value.encode() for name, value in changes.items()}
    initial = _fields(defaults or RolloutConfig())
    try:
        parse_rollout(initial | wanted)
    except PoisonError as error:
        raise FatalError(error.detail) from error
    expected = "" if expected_version is None else expected_version
    pairs = [part for pair in wanted.items() for part in pair]
    in_cluster = isinstance(client, RedisCluster)
    names = [keys.rollout] if in_cluster else [keys.rollout, keys.control_log]
    done, *reply = run(client, "configure", names, [expected, who, why, at, *pairs])
    if not done:
        raise TransientError(
            f"the configuration is at version {reply[0]}, not {expected}; read again"
        )
    now, entry = (dict(zip(flat[::2], flat[1::2], strict=True)) for flat in reply)
    if in_cluster:
        client.xadd(keys.control_log, entry)
    return parse_rollout(initial | now)


def server_time(client: Redis) -> str:
    """Return what time it is by the server's clock, which every process shares; RFC 3339, UTC.

    Raises:
        redis.RedisError: the server could not be asked.
    """
    seconds, micros = client.time()
    now = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_log(client: Redis, keys: Keys) -> Iterator[Change]:
    """Yield the changes, the newest first.

    Raises:
        redis.RedisError: the server could not be asked.
    """
    for _id, fields in ranges.backward(client, keys.control_log):
        yield Change(
            version=int(fields[b"version"]),
            who=fields[b"who"].decode(),
            why=fields[b"why"].decode(),
            at=fields[b"at"].decode(),
            before=msgspec.json.decode(fields[b"from"], type=dict[str, str | None]),
            after=msgspec.json.decode(fields[b"to"], type=dict[str, str]),
        )


def _fields(config: RolloutConfig) -> dict[bytes, bytes]:
    return {
        name.encode(): value if isinstance(value, bytes) else value.encode()
        for name, value in rollout_fields(config).items()
    }


def _readable(sound: Mapping[bytes, bytes], name: bytes, stored: Mapping[bytes, bytes]) -> bool:
    try:
        parse_rollout({**sound, name: stored[name]})
    except PoisonError:
        return False
    return True
