from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from cortex_program import cortex, start, succeed

from chaos.proxy import Proxy
from contracts.encode import dead_letter_fields
from contracts.errors import PoisonError
from contracts.messages import DeadLetter
from streams.connect import connect
from streams.consumer import Consumer
from streams.dead import encode_payload, list_dead, purge_dead, replay_dead, show_dead
from streams.entry import Bury
from streams.keys import Keys
from streams.partitions import layout
from streams.settle import settle

if TYPE_CHECKING:
    from collections.abc import Callable

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
    assert redis_client.xlen(KEYS.tasks) == 1


def test_a_task_that_was_decided_since_is_not_replayed(redis_client: Redis) -> None:
    entry_id = bury(redis_client, {b"task_id": b"t-1", b"description": b"x"}, task_id="t-1")
    redis_client.set(KEYS.done("t-1"), "999-0")
    assert replay_dead(redis_client, KEYS, entry_id) == "settled-since"
    assert redis_client.xlen(KEYS.tasks) == 0
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


def letters(client: Redis, count: int, keys: Keys = KEYS, fields: int = 1) -> list[str]:
    """Write dead letters of tasks `t-0` and so on; returns their ids."""
    with client.pipeline(transaction=False) as pipeline:
        for number in range(count):
            task = {b"task_id": f"t-{number}".encode(), b"description": b"fix it"}
            task |= {f"field{n}".encode(): b"" for n in range(fields - len(task))}
            pipeline.set(keys.done(f"t-{number}"), f"{number}-0")
            pipeline.xadd(
                keys.dead,
                {
                    "source": keys.tasks,
                    "entry_id": f"{number}-0",
                    "reason": "too_many_deliveries",
                    "payload": encode_payload(task),
                    "attempts": 5,
                    "at": "2026-01-01T00:00:00Z",
                },
            )
        return [reply.decode() for reply in pipeline.execute() if reply is not True]


def test_two_replays_at_once_put_each_letter_back_once(redis_client: Redis, redis_url: str) -> None:
    entry_ids = letters(redis_client, 500)
    verdicts: list[str] = []
    together = threading.Barrier(2)

    def replay_all() -> None:
        with connect(redis_url) as client:
            together.wait()
            verdicts.extend(replay_dead(client, KEYS, entry_id) for entry_id in entry_ids)

    both = [threading.Thread(target=replay_all) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert sorted(verdicts) == ["gone"] * 500 + ["replayed"] * 500
    assert sorted(replayed(redis_client)) == sorted(f"t-{n}" for n in range(500))
    assert redis_client.xlen(KEYS.dead) == 0


def replayed(client: Redis) -> list[str]:
    return [fields[b"task_id"].decode() for _id, fields in client.xrange(KEYS.tasks)]


def test_a_replay_that_is_killed_goes_on_where_it_stopped(
    redis_client: Redis, redis_url: str, eventually: Callable[..., None]
) -> None:
    letters(redis_client, 2_000)
    first = start(redis_url, "dead", "replay", "--all", "--json")
    eventually(lambda: redis_client.xlen(KEYS.tasks) > 100)
    first.kill()
    first.communicate()
    assert 0 < redis_client.xlen(KEYS.dead) < 2_000
    at_once = [start(redis_url, "dead", "replay", "--all", "--json") for _ in range(2)]
    for process in at_once:
        process.communicate()
    assert sorted(replayed(redis_client)) == sorted(f"t-{n}" for n in range(2_000))
    assert redis_client.xlen(KEYS.dead) == 0


def test_a_lost_reply_leaves_nothing_to_repeat(redis_client: Redis, redis_url: str) -> None:
    (entry_id,) = letters(redis_client, 1)
    with Proxy(Path(redis_url.removeprefix("unix://"))) as proxy, connect(proxy.url) as client:
        proxy.lose_replies(1, "EVALSHA")
        with pytest.raises(redis.ConnectionError):
            replay_dead(client, KEYS, entry_id)
        assert replay_dead(client, KEYS, entry_id) == "gone"
    assert replayed(redis_client) == ["t-0"]


def test_a_letter_with_more_fields_than_a_script_can_write_says_so(
    redis_client: Redis, redis_url: str
) -> None:
    (most,) = letters(redis_client, 1, fields=3_999)
    assert replay_dead(redis_client, KEYS, most) == "replayed"
    (more,) = letters(redis_client, 1, fields=4_000)
    (small,) = letters(redis_client, 1)
    done = cortex(redis_url, "dead", "replay", "--all", "--json")
    assert json.loads(done.stdout) == {
        more: "entry_too_large: 4,000 fields, of which 3,999 can be put back",
        small: "replayed",
    }
    assert done.stderr == f"cortex: not replayed: {more}\n"
    assert redis_client.xlen(KEYS.dead) == 1


def written(shown: str) -> list[int]:
    return [int(part) for part in shown.partition("@")[0].split("-")]


def test_letters_of_every_partition_by_reason_and_by_one(
    redis_client: Redis, redis_url: str
) -> None:
    parts = layout("", 2)
    ids = [
        f"{entry_id}@{keys.partition}"
        for keys in parts
        for entry_id in letters(redis_client, 2, keys)
    ]
    partitioned = {"CORTEX_PARTITIONS": "2"}
    listed = cortex(redis_url, "dead", "list", "--json", **partitioned)
    assert [each["id"] for each in json.loads(listed.stdout)] == sorted(ids, key=written)
    shown = cortex(redis_url, "dead", "show", ids[3], "--json", **partitioned)
    assert json.loads(shown.stdout)["letter"]["payload"]["task_id"] == "t-1"
    purged = cortex(redis_url, "dead", "purge", ids[2], **partitioned)
    assert purged.stdout == "1 purged\n"
    nowhere = cortex(redis_url, "dead", "replay", f"{ids[0]}0", **partitioned)
    assert "as `cortex dead list` shows it" in nowhere.stderr
    again = cortex(
        redis_url, "dead", "replay", "--all", "--reason", "too_many_deliveries", **partitioned
    )
    rest = [each for each in sorted(ids, key=written) if each != ids[2]]
    assert again.stdout == "".join(f"{each} replayed\n" for each in rest)
    assert [redis_client.xlen(keys.tasks) for keys in parts] == [2, 1]
    assert cortex(redis_url, "dead", "purge", "--all", **partitioned).stdout == "0 purged\n"


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
