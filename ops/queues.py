"""`cortex queues`: how much waits where, and for how long."""

from typing import TYPE_CHECKING, NamedTuple

from ops.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from redis import Redis

    from streams.keys import Keys


class Depth(NamedTuple):
    """The state of one group of one stream, or of a stream without groups (`group` None).

    Attributes:
        partition: hash tag of the partition the stream belongs to; None for a stream that is not
            partitioned, and for the sum over all partitions.
        length: entries in the stream, read ones included until they are trimmed.
        pending: entries delivered and not acknowledged.
        lag: entries not delivered yet; None if the server cannot tell.
        oldest_pending_s: seconds since the oldest pending entry was written.
        consumers: members of the group, idle ones included; of a sum, the most in any partition,
            as a worker is a member in each.
    """

    partition: str | None
    stream: str
    group: str | None
    length: int
    pending: int | None = None
    lag: int | None = None
    oldest_pending_s: float | None = None
    consumers: int | None = None


def queues(*, as_json: AsJson = False) -> None:
    """Show every stream: length, pending, lag, age of the oldest pending entry, consumers.

    Of a partitioned queue, the sums over all partitions and then each of them.
    """
    from ops.output import print_json, print_table
    from ops.session import open_session, read_settings

    settings = read_settings()
    with open_session(settings) as (client, _, parts):
        depths = measure(client, parts, master_names(settings.masters_text))
    if as_json:
        print_json([depth._asdict() for depth in depths])
    else:
        print_table(
            ("stream", "group", "length", "pending", "lag", "oldest pending s", "consumers"),
            [depth[1:] for depth in depths],
        )


def master_names(masters_text: str) -> "Sequence[str]":
    """Return the names in the text of a `masters.toml`.

    Raises:
        FatalError: the text is malformed.
    """
    from router.masters import Masters

    return Masters.parse(masters_text).names


def measure(client: "Redis", parts: "Sequence[Keys]", masters: "Sequence[str]") -> list[Depth]:
    """Measure the streams of this deployment that exist, one row per group.

    Args:
        client: connection to the queue's server.
        parts: names of each partition.
        masters: names of the masters to look at.

    Returns:
        What is not partitioned and the sums over the partitions, under the names they have without
        a tag; then the partitions one after another.

    Raises:
        redis.RedisError: the server could not be asked.
    """
    from streams.keys import Keys
    from streams.partitions import aside

    seconds, microseconds = client.time()
    now_ms = seconds * 1000 + microseconds / 1000
    whole = Keys(parts[0].prefix)
    common = [whole.outcomes, whole.files, whole.vectors("code"), whole.control_log]
    beside = (aside(client, whole.prefix, "files"), aside(client, whole.prefix, "outcomes"))
    common += [keys.dead for keys in dict.fromkeys(beside) if keys not in parts]
    named = [
        (name, depth)
        for keys in parts
        for name, stream in zip(_own(whole, masters), _own(keys, masters), strict=True)
        for depth in _depths(client, stream, keys.partition, now_ms)
    ]
    return [
        *_sums(named),
        *(depth for stream in common for depth in _depths(client, stream, None, now_ms)),
        *(depth for _, depth in named if depth.partition is not None),
    ]


def _own(keys: "Keys", masters: "Sequence[str]") -> list[str]:
    """Names of what each partition has of its own."""
    queues = (keys.master(name) for name in masters)
    return [*keys.task_streams, *queues, keys.decisions, keys.dead]


def _sums(named: "Iterable[tuple[str, Depth]]") -> "Iterator[Depth]":
    """Add up what has the same name and group, over the partitions."""
    same: dict[tuple[str, str | None], list[Depth]] = {}
    for name, depth in named:
        same.setdefault((name, depth.group), []).append(depth)
    for (name, group), depths in same.items():
        ages = [each.oldest_pending_s for each in depths if each.oldest_pending_s is not None]
        members = [each.consumers for each in depths if each.consumers is not None]
        yield Depth(
            partition=None,
            stream=name,
            group=group,
            length=sum(each.length for each in depths),
            pending=_total([each.pending for each in depths]),
            lag=_total([each.lag for each in depths]),
            oldest_pending_s=max(ages, default=None),
            consumers=max(members, default=None),
        )


def _total(counts: "Sequence[int | None]") -> int | None:
    """The sum; None where one of them is not known."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _depths(
    client: "Redis", stream: str, partition: str | None, now_ms: float
) -> "Iterator[Depth]":
    if not client.exists(stream):
        return
    length = client.xlen(stream)
    groups = client.xinfo_groups(stream)
    if not groups:
        yield Depth(partition, stream, None, length)
    for group in groups:
        oldest = client.xpending(stream, group["name"])["min"] if group["pending"] else None
        yield Depth(
            partition=partition,
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
