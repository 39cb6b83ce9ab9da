"""Fixed partitions: how many slots of a cluster the queue's work is spread over, and which.

Everything one task touches lives in one slot, so that it can be settled by one script. N partitions
are N such slots. Their number is fixed for a deployment: a task id belongs to one of them for ever,
or a doubled submission would not be noticed.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING, Literal

from redis.cluster import RedisCluster

from streams.keys import Keys

if TYPE_CHECKING:
    from redis import Redis

_SLOTS = 16_384


def slot(tag: str) -> int:
    """Slot of a hash tag: CRC16-XMODEM modulo 16384 (Redis Cluster specification)."""
    return binascii.crc_hqx(tag.encode(), 0) % _SLOTS


def tags(count: int) -> tuple[str, ...]:
    """Hash tags of `count` partitions, spread evenly over the slots.

    The slots are cut into `count` equal slices; a partition's tag is the smallest number whose slot
    lies in the middle half of its slice, so that masters which share the slots evenly share the
    partitions as evenly.
    """
    return tuple(_tag(index, count) for index in range(count))


def _tag(index: int, count: int) -> str:
    slice_ = _SLOTS / count
    middle = range(int((index + 0.25) * slice_), max(1, int((index + 0.75) * slice_)))
    number = 0
    while slot(str(number)) not in middle:
        number += 1
    return str(number)


def layout(prefix: str, count: int) -> tuple[Keys, ...]:
    """Names of every partition; of the one and untagged set of streams where `count` is 0."""
    if not count:
        return (Keys(prefix),)
    return tuple(Keys(prefix, tag) for tag in tags(count))


def partition_of(task_id: str, count: int) -> int:
    """Index of the partition a task belongs to: CRC16-XMODEM of its id modulo `count`."""
    return binascii.crc_hqx(task_id.encode(), 0) % count


def aside(client: Redis, prefix: str, stream: Literal["files", "outcomes"] = "files") -> Keys:
    """Names for work that has no partition, which is file changes and outcomes.

    In a cluster their dead letters must share the slot of the stream, so that is their hash tag.
    """
    keys = Keys(prefix)
    in_cluster = isinstance(client, RedisCluster)
    return Keys(prefix, getattr(keys, stream)) if in_cluster else keys
