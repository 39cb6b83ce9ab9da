from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cortex_program import cortex, succeed

from contracts.encode import dead_letter_fields
from contracts.errors import PoisonError
from contracts.messages import DeadLetter
from streams.consumer import Consumer
from streams.dead import encode_payload, list_dead, purge_dead, replay_dead, show_dead
from streams.entry import Bury
from streams.keys import Keys
from streams.settle import settle

if TYPE_CHECKING:
    from redis import Redis

KEYS = Keys()


def bury(client: Redis, fields: dict[bytes, bytes], task_id: str | None = None) -> str:
    """Bury one entry of `tasks` as a worker does; returns its id in `dead`."""
    consumer = Consumer(client, (KEYS.tasks,), "workers", "w1")
    consumer.join()
    client.execute_command(
        "XADD", KEYS.tasks, "*", *(part for pair in fields.items() for part in pair)
    )
    (entry,) = consumer.read(10, 1)
    settlement = Bury(entry, "invalid_utf8", "not UTF-8", task_id)
    assert settle(client, KEYS, [settlement], group="workers", consumer="w1", window_ms=60_000) == [
        "settled"
    ]
    return [entry_id for entry_id, _letter in list_dead(client, KEYS)][-1]


def last_task(client: Redis) -> dict[bytes, bytes]:
    ((_id, fields),) = client.xrevrange(KEYS.tasks, count=1)
    return fields


def test_replay_restores_the_very_bytes_and_forgets_the_task(redis_client: Redis) -> None:
    fields = {b"task_id": b"t-1", b"description": b"\xff\xfe", b"\xfa": b"base64:AAAA"}
    entry_id = bury(redis_client, fields, task_id="t-1")
    assert redis_client.exists(KEYS.done("t-1"))

    assert replay_dead(redis_client, KEYS, entry_id) == "replayed"

    assert last_task(redis_client) == fields
    assert not redis_client.exists(KEYS.done("t-1"))
    assert redis_client.xlen(KEYS.dead) == 0
    assert replay_dead(redis_client, KEYS, entry_id) == "gone"
    assert redis_client.xlen(KEYS.tasks) == 2


def test_a_task_that_was_decided_since_is_not_replayed(redis_client: Redis) -> None:
    entry_id = bury(redis_client, {b"task_id": b"t-1", b"description": b"x"}, task_id="t-1")
    redis_client.set(KEYS.done("t-1"), "999-0")
    assert replay_dead(redis_client, KEYS, entry_id) == "settled-since"
    assert redis_client.xlen(KEYS.tasks) == 1
    assert redis_client.xlen(KEYS.dead) == 1


def test_a_source_that_is_no_stream_is_left_alone(redis_client: Redis) -> None:
    letter = DeadLetter(
        source="control:rollout",
        entry_id="1-0",
        reason="missing_field",
        detail="",
        payload={"a": "b"},
        attempts=1,
        at="2026-01-01T00:00:00Z",
    )
    redis_client.hset("control:rollout", "version", 1)
    entry_id = redis_client.xadd(KEYS.dead, dead_letter_fields(letter)).decode()
    with pytest.raises(Exception, match="not a stream"):
        replay_dead(redis_client, KEYS, entry_id)
    assert redis_client.xlen(KEYS.dead) == 1


def test_a_letter_written_by_others_is_seen_and_purged_but_not_replayed(
    redis_client: Redis,
) -> None:
    entry_id = redis_client.xadd(KEYS.dead, {b"payload": b"{", b"\xff": b"\xfe"}).decode()
    ((seen, letter),) = list_dead(redis_client, KEYS)
    assert seen == entry_id
    assert letter.payload["payload"] == "{"
    with pytest.raises(PoisonError):
        replay_dead(redis_client, KEYS, entry_id)
    assert purge_dead(redis_client, KEYS, [entry_id, "1-1"]) == 1
    assert show_dead(redis_client, KEYS, entry_id) is None


def test_listing_reads_every_page(redis_client: Redis) -> None:
    with redis_client.pipeline(transaction=False) as pipeline:
        for number in range(1_234):
            payload = encode_payload({b"task_id": str(number).encode()})
            pipeline.xadd(
                KEYS.dead,
                {
                    "source": "tasks",
                    "entry_id": f"{number}-0",
                    "reason": "invalid_utf8" if number % 2 else "missing_field",
                    "payload": payload,
                    "attempts": 1,
                    "at": "2026-01-01T00:00:00Z",
                },
            )
        pipeline.execute()
    assert [letter.payload["task_id"] for _id, letter in list_dead(redis_client, KEYS)] == [
        str(number) for number in range(1_234)
    ]
    assert len(list(list_dead(redis_client, KEYS, reason="invalid_utf8"))) == 617


def test_the_commands(redis_client: Redis, redis_url: str) -> None:
    first = bury(redis_client, {b"task_id": b"t-1", b"description": b"\xff"}, task_id="t-1")
    second = bury(redis_client, {b"task_id": b"t-2", b"description": b"\xfe"}, task_id="t-2")

    listed = json.loads(succeed(redis_url, "dead", "list", "--json"))
    assert [each["id"] for each in listed] == [first, second]
    shown = json.loads(succeed(redis_url, "dead", "show", first, "--json"))
    assert shown["letter"]["payload"] == {"task_id": "t-1", "description": "base64:/w=="}
    assert "invalid_utf8" in succeed(redis_url, "dead", "show", first)

    assert json.loads(succeed(redis_url, "dead", "replay", first, "--json")) == {first: "replayed"}
    again = cortex(redis_url, "dead", "replay", first)
    assert (again.returncode, again.stderr) == (1, f"cortex: not replayed: {first}\n")

    assert succeed(redis_url, "dead", "purge", "--all", "--reason", "missing_field") == "0 purged\n"
    assert succeed(redis_url, "dead", "replay", "--all") == f"{second} replayed\n"
    assert cortex(redis_url, "dead", "show", second).stderr == f"cortex: no dead letter {second}\n"
    assert cortex(redis_url, "dead", "purge").returncode == 2
