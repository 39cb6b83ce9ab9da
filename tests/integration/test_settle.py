"""The one script that publishes and acknowledges, against a real server."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import OutOfMemoryError, ResponseError

from contracts.errors import FatalError
from streams.consumer import RETRY, Consumer
from streams.dead import decode_payload
from streams.entry import Ack, Bury, Leave, Publish
from streams.keys import Keys
from streams.scripts import run
from streams.settle import settle

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from streams.consumer import Stale
    from streams.entry import Entry, Settlement
    from streams.settle import Verdict

KEYS = Keys()
NAME = "dev"
MASTER = KEYS.master(NAME)


def consumer(client: redis.Redis, name: str = "a", lease_ms: int = 60_000) -> Consumer:
    made = Consumer(client, (KEYS.tasks,), "workers", name, lease_ms)
    made.join()
    return made


def submit(client: redis.Redis, *ids: str) -> None:
    for task_id in ids:
        client.xadd(KEYS.tasks, {"task_id": task_id, "description": "do it"})


def publish(entry: Entry) -> Publish:
    task_id = entry.fields[b"task_id"].decode()
    return Publish(entry, task_id, NAME, b'{"full":1}', b'{"audit":1}')


def carry_out(client: redis.Redis, batch: list[Settlement], name: str = "a") -> list[Verdict]:
    return settle(client, KEYS, batch, group="workers", consumer=name, window_ms=60_000)


def ids(client: redis.Redis, key: str) -> list[str]:
    return [fields[b"task_id"].decode() for _, fields in client.xrange(key)]


def test_a_batch_reaches_master_and_audit_once_and_is_acknowledged(
    redis_client: redis.Redis,
) -> None:
    submit(redis_client, "t-1", "t-2")
    batch = [publish(entry) for entry in consumer(redis_client).read(10, 10)]

    assert carry_out(redis_client, [*batch]) == ["settled", "settled"]
    assert ids(redis_client, MASTER) == ids(redis_client, KEYS.decisions) == ["t-1", "t-2"]
    assert redis_client.xrange(MASTER)[0][1][b"decision"] == b'{"full":1}'
    assert redis_client.xrange(KEYS.decisions)[0][1][b"decision"] == b'{"audit":1}'
    assert redis_client.xpending(KEYS.tasks, "workers")["pending"] == 0


def test_settling_again_changes_nothing(redis_client: redis.Redis) -> None:
    submit(redis_client, "t-1")
    batch = [publish(entry) for entry in consumer(redis_client).read(10, 10)]
    carry_out(redis_client, [*batch])

    assert carry_out(redis_client, [*batch]) == ["duplicate"]
    assert ids(redis_client, MASTER) == ["t-1"]


def test_a_doubled_task_is_decided_once_within_a_batch_and_across(
    redis_client: redis.Redis,
) -> None:
    submit(redis_client, "t-1", "t-1")
    one = consumer(redis_client)
    assert carry_out(redis_client, [publish(e) for e in one.read(10, 10)]) == [
        "settled",
        "duplicate",
    ]
    submit(redis_client, "t-1")
    assert carry_out(redis_client, [publish(e) for e in one.read(10, 10)]) == ["duplicate"]
    assert ids(redis_client, MASTER) == ids(redis_client, KEYS.decisions) == ["t-1"]
    assert redis_client.xpending(KEYS.tasks, "workers")["pending"] == 0


def test_a_consumer_that_lost_its_entry_is_fenced(redis_client: redis.Redis) -> None:
    submit(redis_client, "t-1")
    batch = [publish(entry) for entry in consumer(redis_client).read(10, 10)]
    thief = consumer(redis_client, "b", lease_ms=0)
    taken = thief.claim(thief.stale(1)[0])
    assert taken is not None

    assert carry_out(redis_client, [*batch]) == ["fenced"]
    assert ids(redis_client, MASTER) == []
    assert taken.attempt == 2
    assert carry_out(redis_client, [publish(taken)], "b") == ["settled"]


def test_a_dead_letter_keeps_the_original_bytes_and_closes_the_task(
    redis_client: redis.Redis,
) -> None:
    fields = {b"task_id": b"t-1", b"description": b"\xff\xfe", b"\xf0": b"odd"}
    redis_client.xadd(KEYS.tasks, {**fields})
    submit(redis_client, "t-1")
    bad, good = consumer(redis_client).read(10, 10)

    assert carry_out(redis_client, [Bury(bad, "invalid_utf8", "why", "t-1"), publish(good)]) == [
        "settled",
        "duplicate",
    ]
    ((_, letter),) = redis_client.xrange(KEYS.dead)
    assert letter[b"reason"] == b"invalid_utf8"
    assert letter[b"entry_id"] == bad.id
    assert decode_payload(letter[b"payload"].decode()) == fields
    assert redis_client.xpending(KEYS.tasks, "workers")["pending"] == 0


def test_what_is_left_stays_pending_and_what_is_acknowledged_does_not(
    redis_client: redis.Redis,
) -> None:
    submit(redis_client, "t-1", "t-2")
    first, second = consumer(redis_client).read(10, 10)
    assert carry_out(redis_client, [Leave(first), Ack(second)]) == ["left", "settled"]
    assert redis_client.xpending_range(KEYS.tasks, "workers", "-", "+", 9)[0]["message_id"] == (
        first.id
    )


def test_a_master_key_of_another_type_blocks_only_its_own_tasks(
    redis_client: redis.Redis, eventually: Callable[..., None]
) -> None:
    submit(redis_client, "t-1", "t-2")
    redis_client.set("master:odd", "not a stream")
    first, second = consumer(redis_client).read(10, 10)
    odd = Publish(first, "t-1", "odd", b"{}", b"{}")

    assert carry_out(redis_client, [odd, publish(second)]) == ["blocked", "settled"]
    assert ids(redis_client, KEYS.decisions) == ["t-2"]
    redis_client.delete("master:odd")
    assert carry_out(redis_client, [odd]) == ["fenced"]
    again = take_when_free(consumer(redis_client, "b", lease_ms=50), eventually)
    assert carry_out(redis_client, [Publish(again, "t-1", "odd", b"{}", b"{}")], "b") == ["settled"]


def take_when_free(member: Consumer, eventually: Callable[..., None]) -> Entry:
    found: list[Stale] = []
    eventually(lambda: found.extend(member.stale(1)) or found)
    entry = member.claim(found[0])
    assert entry
    return entry


def test_what_is_handed_back_waits_twice_as_long_after_each_delivery(
    redis_client: redis.Redis, eventually: Callable[..., None]
) -> None:
    submit(redis_client, "t-1")
    lease_ms, waited, begun = 100, [], time.monotonic()
    for name in "abcd":
        member = consumer(redis_client, name, lease_ms)
        entry = take_when_free(member, eventually) if waited else member.read(1, 10)[0]
        waited.append(time.monotonic() - begun)
        assert entry.attempt == len(waited)
        begun = time.monotonic()  # before it is handed back, so never less than what it waits
        assert carry_out(redis_client, [Leave(entry)], name) == ["left"]
        (held,) = redis_client.xpending_range(KEYS.tasks, "workers", "-", "+", 9)
        assert held["consumer"] == RETRY.encode()
    for times, seconds in zip((1, 2, 4), waited[1:], strict=True):
        assert seconds >= (times * lease_ms - 2) / 1000  # the server counts whole milliseconds


def test_a_page_of_the_pending_list_at_a_time_finds_everything(redis_client: redis.Redis) -> None:
    with redis_client.pipeline() as pipe:
        for n in range(2_500):
            pipe.xadd(KEYS.tasks, {"task_id": f"t-{n}", "description": "do it"})
        pipe.execute()
    consumer(redis_client, "dead").read(2_500, 10)
    heir = consumer(redis_client, "heir", lease_ms=0)
    found = heir.stale(400)
    assert len(found) == 400
    while heir.sweeping:
        found += heir.stale(400)
    assert len(set(found)) == len(found) == 2_500
    fresh = consumer(redis_client, "fresh")
    looks = 0
    while fresh.stale(400) or fresh.sweeping:
        looks += 1
    assert looks == 2


def test_what_was_buried_is_not_buried_again_by_a_group_begun_anew(
    redis_client: redis.Redis,
) -> None:
    redis_client.xadd(KEYS.tasks, {"nothing": "useful"})
    (entry,) = consumer(redis_client).read(1, 10)
    assert carry_out(redis_client, [Bury(entry, "missing_field", "no task id")]) == ["settled"]
    redis_client.xgroup_destroy(KEYS.tasks, "workers")
    assert consumer(redis_client, "b").read(1, 10) == []
    submit(redis_client, "t-1")
    assert len(consumer(redis_client, "b").read(2, 10)) == 1
    assert redis_client.xinfo_groups(KEYS.tasks)[0]["lag"] == 0


def test_no_consumer_may_take_the_name_of_the_one_that_waits(redis_client: redis.Redis) -> None:
    with pytest.raises(FatalError, match="retry"):
        consumer(redis_client, RETRY)


def test_urgent_streams_come_first_and_none_starves(redis_client: redis.Redis) -> None:
    high, normal, low = KEYS.task_streams
    with redis_client.pipeline() as pipe:
        for stream in KEYS.task_streams:
            for n in range(640):
                pipe.xadd(stream, {"task_id": f"{stream}-{n}", "description": "do it"})
        pipe.execute()
    member = Consumer(redis_client, KEYS.task_streams, "workers", "a")
    member.join()
    came = Counter(entry.stream for _ in range(64) for entry in member.read(10, 10))
    assert came == {high: 480, normal: 120, low: 40}


def test_a_broken_audit_stream_writes_nothing_at_all(redis_client: redis.Redis) -> None:
    submit(redis_client, "t-1")
    batch = [publish(entry) for entry in consumer(redis_client).read(10, 10)]
    redis_client.set(KEYS.decisions, "not a stream")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        carry_out(redis_client, [*batch])
    assert ids(redis_client, MASTER) == []
    redis_client.delete(KEYS.decisions)
    assert carry_out(redis_client, [*batch]) == ["settled"]


def test_without_memory_workers_join_and_settle_and_masters_report(
    redis_client: redis.Redis,
) -> None:
    """Or nothing would ever be freed: only new work is refused."""
    submit(redis_client, "t-1")
    redis_client.xgroup_create(MASTER, NAME, id="0", mkstream=True)
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError):
            submit(redis_client, "t-2")
        batch = [publish(entry) for entry in consumer(redis_client).read(10, 10)]
        assert carry_out(redis_client, [*batch]) == ["settled"]
        ((_, ((entry_id, _fields),)),) = redis_client.xreadgroup(NAME, "m", {MASTER: ">"}).items()
        report = [NAME, "m", entry_id, "task_id", "t-1"]
        assert run(redis_client, "report", [MASTER, KEYS.outcomes], report) == 1
    finally:
        redis_client.config_set("maxmemory", 0)
    assert ids(redis_client, KEYS.decisions) == ids(redis_client, KEYS.outcomes) == ["t-1"]
    assert redis_client.xpending(MASTER, NAME)["pending"] == 0


def test_the_server_may_forget_its_scripts(redis_client: redis.Redis) -> None:
    submit(redis_client, "t-1")
    batch = [publish(entry) for entry in consumer(redis_client).read(10, 10)]
    redis_client.script_flush()
    assert carry_out(redis_client, [*batch]) == ["settled"]


def test_entries_of_several_streams_settle_in_one_call(redis_client: redis.Redis) -> None:
    submit(redis_client, "t-1")
    redis_client.xadd(KEYS.task_streams[0], {"task_id": "t-2", "description": "now"})
    both = Consumer(redis_client, KEYS.task_streams, "workers", "a")
    both.join()
    entries = both.read(10, 10)
    assert [entry.fields[b"task_id"] for entry in entries] == [b"t-2", b"t-1"]
    assert carry_out(redis_client, [publish(e) for e in entries]) == ["settled", "settled"]


def test_a_renewed_lease_cannot_be_claimed_and_a_released_one_can(
    redis_client: redis.Redis,
) -> None:
    submit(redis_client, "t-1")
    owner, other = consumer(redis_client), consumer(redis_client, "b")
    (entry,) = owner.read(10, 10)
    owner.renew([entry])
    assert other.stale(10) == []
    owner.release([entry])
    (stale,) = other.stale(10)
    assert stale.deliveries == 1
    taken = other.claim(stale)
    assert taken is not None
    owner.renew([entry])
    assert redis_client.xpending_range(KEYS.tasks, "workers", "-", "+", 9)[0]["consumer"] == b"b"


def test_a_lost_reply_is_recovered_and_what_is_known_is_not(redis_client: redis.Redis) -> None:
    submit(redis_client, "t-1", "t-2")
    owner = consumer(redis_client)
    known, lost = owner.read(10, 10)
    recovered = owner.recover({(known.stream, known.id)})
    assert [entry.id for entry in recovered] == [lost.id]


def test_a_consumer_leaves_only_when_it_holds_nothing(redis_client: redis.Redis) -> None:
    submit(redis_client, "t-1")
    owner = consumer(redis_client)
    (entry,) = owner.read(10, 10)
    owner.leave()
    assert len(redis_client.xinfo_consumers(KEYS.tasks, "workers")) == 1
    carry_out(redis_client, [Ack(entry)])
    owner.leave()
    assert redis_client.xinfo_consumers(KEYS.tasks, "workers") == []
