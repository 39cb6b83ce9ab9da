"""Trimming and tidying never touch what is unread or pending."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streams.connect import connect
from streams.consumer import Consumer
from streams.housekeeping import is_due, remove_idle_consumers, trim_older, trim_settled
from streams.keys import Keys
from worker.chores import Chores

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from streams.entry import Entry
    from tests.conftest import Server

KEYS = Keys()


def filled(client: redis.Redis, count: int, *groups: str) -> None:
    for group in groups:
        client.xgroup_create(KEYS.tasks, group, id="0", mkstream=True)
    for n in range(count):
        client.xadd(KEYS.tasks, {"n": n})


def read(client: redis.Redis, group: str, count: int) -> list[Entry]:
    return Consumer(client, (KEYS.tasks,), group, "c").read(count, 10)


def left(client: redis.Redis) -> list[int]:
    return [int(fields[b"n"]) for _, fields in client.xrange(KEYS.tasks)]


@pytest.mark.parametrize(
    ("read_by_a", "acked_by_a", "read_by_b", "kept"),
    [
        (0, [], 0, 0),  # nobody read anything
        (10, range(10), 0, 0),  # b read nothing
        (10, range(10), 10, 0),  # all pending for b
        (6, range(6), 0, 0),
        (10, [0, 1, 2, 5], 10, 0),
    ],
)
def test_what_any_group_still_needs_stays(
    redis_client: redis.Redis, read_by_a: int, acked_by_a: range, read_by_b: int, kept: int
) -> None:
    filled(redis_client, 10, "a", "b")
    entries = read(redis_client, "a", read_by_a) if read_by_a else []
    for n in acked_by_a:
        redis_client.xack(KEYS.tasks, "a", entries[n].id)
    if read_by_b:
        read(redis_client, "b", read_by_b)
    trim_settled(redis_client, [KEYS.tasks])
    assert left(redis_client) == list(range(kept, 10))


def test_settled_entries_go_up_to_the_oldest_pending_one(redis_client: redis.Redis) -> None:
    filled(redis_client, 10, "a", "b")
    of_a, of_b = read(redis_client, "a", 8), read(redis_client, "b", 9)
    redis_client.xack(KEYS.tasks, "a", *(entry.id for entry in of_a))
    redis_client.xack(KEYS.tasks, "b", *(entry.id for entry in of_b if entry is not of_b[4]))
    assert trim_settled(redis_client, [KEYS.tasks]) == 4
    assert left(redis_client) == list(range(4, 10))
    redis_client.xack(KEYS.tasks, "b", of_b[4].id)
    trim_settled(redis_client, [KEYS.tasks])
    assert left(redis_client) == [7, 8, 9]
    assert redis_client.xinfo_groups(KEYS.tasks)[0]["lag"] == 2


def test_a_stream_nobody_reads_is_kept_whole_until_it_is_old(redis_client: redis.Redis) -> None:
    filled(redis_client, 10)
    assert trim_settled(redis_client, [KEYS.tasks, "missing"]) == 0
    assert trim_older(redis_client, [KEYS.tasks], seconds=60) == 0
    assert left(redis_client) == list(range(10))


def test_old_audit_entries_go_but_never_what_a_group_needs(redis_client: redis.Redis) -> None:
    for n in range(10):
        redis_client.xadd(KEYS.decisions, {"n": n}, id=f"{n + 1}-0")
    redis_client.xgroup_create(KEYS.decisions, "learning", id="0")
    redis_client.xreadgroup("learning", "c", {KEYS.decisions: ">"}, count=4)
    redis_client.xack(KEYS.decisions, "learning", "1-0", "2-0")
    trim_older(redis_client, [KEYS.decisions], seconds=60)
    assert redis_client.xrange(KEYS.decisions)[0][0] == b"3-0"


def test_only_idle_consumers_that_hold_nothing_are_removed(redis_client: redis.Redis) -> None:
    filled(redis_client, 1, "a")
    Consumer(redis_client, (KEYS.tasks,), "a", "holder").read(1, 10)
    Consumer(redis_client, (KEYS.tasks,), "a", "idle").read(1, 1)
    assert remove_idle_consumers(redis_client, KEYS.tasks, "a", idle_ms=60_000) == 0
    assert remove_idle_consumers(redis_client, KEYS.tasks, "a", idle_ms=-1) == 1
    assert [c["name"] for c in redis_client.xinfo_consumers(KEYS.tasks, "a")] == [b"holder"]


def test_one_worker_at_a_time_does_the_chores(redis_client: redis.Redis) -> None:
    assert is_due(redis_client, KEYS.chores, 60)
    assert not is_due(redis_client, KEYS.chores, 60)


def test_chores_before_the_first_task_are_no_trouble(redis_client: redis.Redis) -> None:
    consumer = Consumer(redis_client, KEYS.task_streams, "workers", "c")
    consumer.join()
    assert Chores(redis_client, KEYS, ["dev"], decisions_days=7).once() == 0


def test_a_server_that_is_full_is_made_room_in_and_keeps_leases(
    make_server: Callable[..., Server],
) -> None:
    with connect(make_server().url) as client:
        member = Consumer(client, KEYS.task_streams, "workers", "c", lease_ms=1_000)
        member.join()
        filled(client, 10)
        entries = read(client, "workers", 10)
        client.xack(KEYS.tasks, "workers", *(entry.id for entry in entries[:8]))
        client.config_set("maxmemory", 1)
        member.release(entries[8:])
        assert [stale.id for stale in member.stale(10)] == [entry.id for entry in entries[8:]]
        member.renew(entries[8:])
        assert member.stale(10) == []
        assert is_due(client, KEYS.chores, 60)
        assert Chores(client, KEYS, [], 7).once() == 8
