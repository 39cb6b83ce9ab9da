"""`cortex queues`: how much waits where, and for how long."""

from typing import TYPE_CHECKING, NamedTuple

from ops.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis import Redis

    from streams.keys import Keys


class Depth(NamedTuple):
    """The state of one group of one stream, or of a stream without groups (`group` None).

    Attributes:
        length: entries in the stream, read ones included until they are trimmed.
        pending: entries delivered and not acknowledged.
        lag: entries not delivered yet; None if the server cannot tell.
        oldest_pending_s: seconds since the oldest pending entry was written.
        consumers: members of the group, idle ones included.
    """

    stream: str
    group: str | None
    length: int
    pending: int | None = None
    lag: int | None = None
    oldest_pending_s: float | None = None
    consumers: int | None = None


def queues(*, as_json: AsJson = False) -> None:
    """Show every stream: length, pending, lag, age of the oldest pending entry, consumers."""
    from ops.output import print_json, print_table
    from ops.session import open_session, read_settings

    settings = read_settings()
    with open_session(settings) as (client, keys, _):
        depths = measure(client, keys, master_names(settings.masters_text))
    if as_json:
        print_json([depth._asdict() for depth in depths])
    else:
        print_table(
            ("stream", "group", "length", "pending", "lag", "oldest pending s", "consumers"), depths
        )


def master_names(masters_text: str) -> "Sequence[str]":
    """Return the names in the text of a `masters.toml`.

    Raises:
        FatalError: the text is malformed.
    """
    from router.masters import Masters

    return Masters.parse(masters_text).names


def measure(client: "Redis", keys: "Keys", masters: "Sequence[str]") -> list[Depth]:
    """Measure the streams of this deployment that exist, one row per group.

    Args:
        client: connection to the queue's server.
        keys: names of this deployment.
        masters: names of the masters to look at.

    Raises:
        redis.RedisError: the server could not be asked.
    """
    names = [
        *keys.task_streams,
        *(keys.master(name) for name in masters),
        keys.decisions,
        keys.outcomes,
        keys.files,
        keys.vectors("code"),
        keys.dead,
        keys.control_log,
    ]
    seconds, microseconds = client.time()
    now_ms = seconds * 1000 + microseconds / 1000
    return [depth for name in names for depth in _depths(client, name, now_ms)]


def _depths(client: "Redis", stream: str, now_ms: float) -> "Iterator[Depth]":
    if not client.exists(stream):
        return
    length = client.xlen(stream)
    groups = client.xinfo_groups(stream)
    if not groups:
        yield Depth(stream, None, length)
    for group in groups:
        oldest = client.xpending(stream, group["name"])["min"] if group["pending"] else None
        yield Depth(
            stream=stream,
            group=group["name"].decode(),
            length=length,
            pending=group["pending"],
            lag=group["lag"],
            oldest_pending_s=None if oldest is None else _age_s(oldest, now_ms),
            consumers=group["consumers"],
        )


def _age_s(entry_id: bytes, now_ms: float) -> float:
    """Ids begin with the server's clock in ms when the entry was written (Redis, XADD)."""
    return max(0.0, round((now_ms - int(entry_id.partition(b"-")[0])) / 1000, 3))
