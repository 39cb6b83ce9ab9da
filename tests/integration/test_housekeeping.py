"""Trimming and tidying never touch what is unread or pending."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ClusterDownError

from streams.connect import connect
from streams.consumer import Consumer
from streams.housekeeping import (
    is_due,
    remove_silent_consumers,
    trim_records,
    trim_settled,
)
from streams.keys import Keys
from streams.partitions import layout
from streams.pressure import Pressure
from worker.chores import Chores

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from chaos.servers import Server
    from streams.entry import Entry

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


def test_work_that_nobody_reads_is_kept_whole(redis_client: redis.Redis) -> None:
    filled(redis_client, 10)
    assert trim_settled(redis_client, [KEYS.tasks, "missing"]) == 0
    assert left(redis_client) == list(range(10))


def test_more_than_one_slice_is_trimmed_at_once(redis_client: redis.Redis) -> None:
    redis_client.xgroup_create(KEYS.tasks, "a", id="0", mkstream=True)
    with redis_client.pipeline(transaction=False) as pipeline:
        for n in range(25_000):
            pipeline.xadd(KEYS.tasks, {"n": n})
        pipeline.execute()
    redis_client.xreadgroup("a", "c", {KEYS.tasks: ">"}, noack=True)
    assert trim_settled(redis_client, [KEYS.tasks]) == 24_999
    assert left(redis_client) == [24_999]


def test_old_audit_entries_go_but_never_what_a_group_needs(redis_client: redis.Redis) -> None:
    for n in range(10):
        redis_client.xadd(KEYS.decisions, {"n": n}, id=f"{n + 1}-0")
    redis_client.xgroup_create(KEYS.decisions, "learning", id="0")
    redis_client.xreadgroup("learning", "c", {KEYS.decisions: ">"}, count=4)
    redis_client.xack(KEYS.decisions, "learning", "1-0", "2-0")
    trim_records(redis_client, KEYS.decisions, 60, 100)
    assert redis_client.xrange(KEYS.decisions)[0][0] == b"3-0"


@pytest.mark.parametrize(
    ("read", "acknowledged", "kept"),
    [
        (None, 0, 100),  # no group
        (0, 0, 5_000),  # nothing read
        (3_000, 0, 5_000),  # nothing settled
        (3_000, 2_990, 2_010),
        (3_000, 3_000, 2_001),  # the last one read stays
        (5_000, 4_950, 100),
        (5_000, 5_000, 100),
    ],
)
def test_a_record_keeps_so_many_and_what_a_group_needs(
    redis_client: redis.Redis, read: int | None, acknowledged: int, kept: int
) -> None:
    with redis_client.pipeline(transaction=False) as pipeline:
        for n in range(5_000):
            pipeline.xadd(KEYS.decisions, {"n": n})
        pipeline.execute()
    if read is not None:
        redis_client.xgroup_create(KEYS.decisions, "learning", id="0")
    if read:
        got = redis_client.xreadgroup("learning", "c", {KEYS.decisions: ">"}, count=read)
        ids = [entry_id for entry_id, _fields in got[KEYS.decisions.encode()]]
        redis_client.xack(KEYS.decisions, "learning", *ids[:acknowledged], "0-1")
    assert trim_records(redis_client, KEYS.decisions, 60, 100) == 5_000 - kept
    assert [int(fields[b"n"]) for _id, fields in redis_client.xrange(KEYS.decisions)] == list(
        range(5_000 - kept, 5_000)
    )
    assert trim_records(redis_client, KEYS.decisions, 60, 100) == 0


def test_a_record_that_nobody_reads_goes_by_age(redis_client: redis.Redis) -> None:
    filled(redis_client, 10)
    assert trim_records(redis_client, KEYS.tasks, 60, 100) == 0
    assert trim_records(redis_client, KEYS.tasks, -60, 100) == 10
    assert trim_records(redis_client, KEYS.tasks, -60, 100) == 0


def test_only_silent_consumers_that_hold_nothing_are_removed(redis_client: redis.Redis) -> None:
    filled(redis_client, 1, "a", "b")
    Consumer(redis_client, (KEYS.tasks,), "a", "holder").read(1, 10)
    Consumer(redis_client, (KEYS.tasks,), "a", "idle").join()
    redis_client.xgroup_createconsumer(KEYS.tasks, "b", "idle")
    assert remove_silent_consumers(redis_client, KEYS.tasks, silent_ms=60_000) == 0
    assert remove_silent_consumers(redis_client, KEYS.tasks, silent_ms=-1) == 2
    assert [c["name"] for c in redis_client.xinfo_consumers(KEYS.tasks, "a")] == [b"holder"]
    assert redis_client.xinfo_consumers(KEYS.tasks, "b") == []


def test_a_living_consumer_that_was_removed_reads_on(redis_client: redis.Redis) -> None:
    filled(redis_client, 0, "a")
    member = Consumer(redis_client, (KEYS.tasks,), "a", "quiet")
    member.join()
    assert remove_silent_consumers(redis_client, KEYS.tasks, silent_ms=-1) == 1
    redis_client.xadd(KEYS.tasks, {"n": 0})
    assert len(member.read(1, 10)) == 1


def test_what_is_no_stream_has_no_consumers(redis_client: redis.Redis) -> None:
    redis_client.set("text", "x")
    assert remove_silent_consumers(redis_client, "missing") == 0
    assert remove_silent_consumers(redis_client, "text") == 0


def test_one_worker_at_a_time_does_the_chores(redis_client: redis.Redis) -> None:
    assert is_due(redis_client, KEYS.chores, 60)
    assert not is_due(redis_client, KEYS.chores, 60)


@pytest.mark.parametrize("expires_in", [3_600_000, None])
def test_a_turn_does_not_last_longer_than_its_period(
    redis_client: redis.Redis, expires_in: int | None
) -> None:
    """A server's clock that is set back an hour makes every key live an hour longer."""
    redis_client.set(KEYS.chores, "taken before the clock was set back", px=expires_in)
    assert is_due(redis_client, KEYS.chores, 60)
    assert not is_due(redis_client, KEYS.chores, 60)


def chores(client: redis.Redis, *masters: str, pressure: Pressure | None = None) -> Chores:
    return Chores(client, [KEYS], masters, pressure or Pressure(client, []), 7, 1_000)


def test_chores_before_the_first_task_are_no_trouble(redis_client: redis.Redis) -> None:
    consumer = Consumer(redis_client, KEYS.task_streams, "workers", "c")
    consumer.join()
    assert chores(redis_client, "dev").once() == 0


def test_a_stream_that_is_missing_or_something_else_puts_no_other_chore_off(
    redis_client: redis.Redis,
) -> None:
    redis_client.set(KEYS.master("dev"), "something else")
    filled(redis_client, 10, "workers")
    member = Consumer(redis_client, (KEYS.tasks,), "workers", "c")
    redis_client.xack(KEYS.tasks, "workers", *(entry.id for entry in member.read(10, 10)))
    assert chores(redis_client, "dev", "missing").once() == 9


def test_a_partition_that_fails_puts_no_other_off(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = layout("", 2)
    for keys in parts:
        redis_client.xadd(keys.decisions, {"n": 0}, id="1-0")

    def failing(client: redis.Redis, stream: str) -> int:
        if stream == parts[0].tasks:
            raise ClusterDownError("CLUSTERDOWN Hash slot not served")
        return remove_silent_consumers(client, stream)

    monkeypatch.setattr("worker.chores.remove_silent_consumers", failing)
    assert Chores(redis_client, parts, [], Pressure(redis_client, []), 7, 9).once() == 1
    assert redis_client.xlen(parts[0].decisions) == 1


def test_outcomes_that_nobody_reads_do_not_grow_for_ever(redis_client: redis.Redis) -> None:
    for n in range(1_100):
        redis_client.xadd(KEYS.outcomes, {"n": n})
    assert chores(redis_client).once() == 100
    redis_client.xgroup_create(KEYS.outcomes, "learning", id="0")
    redis_client.xadd(KEYS.outcomes, {"n": 1_100})
    assert chores(redis_client).once() == 0


def test_records_give_way_where_nothing_else_can(redis_client: redis.Redis) -> None:
    for n in range(100):
        redis_client.xadd(KEYS.decisions, {"n": n})
    redis_client.config_set("maxmemory", 1)  # less than it could ever shrink to
    try:
        idle, busy = Pressure(redis_client, []), Pressure(redis_client, [KEYS.decisions])
        idle.look()
        busy.look()
        assert chores(redis_client, pressure=busy).once() == 0  # a master has work to do
        assert chores(redis_client, pressure=idle).once() == 25
    finally:
        redis_client.config_set("maxmemory", 0)


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
        assert chores(client).once() == 8
