from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from cortex_program import cortex, start, succeed
from decisions import decision, publish
from rq import Queue, SimpleWorker
from rq.job import Job as RqJob
from rq.serializers import JSONSerializer

from ops.relay import Job, enqueue, job_id, relay
from streams.connect import connect
from streams.consumer import Consumer
from streams.keys import Keys
from streams.lane import Lane

if TYPE_CHECKING:
    from redis import Redis

NAME = "development-master"
KEYS = Keys()
STREAM = KEYS.master(NAME)
JOB = Job(NAME, "json.dumps", 180, 60_000)


def member(client: Redis, name: str, lease_ms: int = 60_000) -> Consumer:
    consumer = Consumer(client, (STREAM,), NAME, name, lease_ms)
    consumer.join()
    return consumer


def work(client: Redis) -> None:
    queue = Queue(NAME, connection=client, serializer=JSONSerializer)
    SimpleWorker([queue], connection=client, serializer=JSONSerializer).work(burst=True)


def queued(client: Redis) -> list[str]:
    return [each.decode() for each in client.lrange(f"rq:queue:{NAME}", 0, -1)]


def test_a_worker_of_rq_runs_what_was_relayed(redis_client: Redis, redis_url: str) -> None:
    task_ids = ["t-1", "owner/repo#42", "_x"]
    publish(redis_client, STREAM, [decision(each) for each in task_ids])
    succeed(redis_url, "relay", "rq", NAME, "--burst", "--function", "json.dumps")

    assert queued(redis_client) == ["t-1", "_xowner_2Frepo_2342", "_x_5Fx"]
    assert redis_client.xpending(STREAM, NAME)["pending"] == 0
    work(redis_client)
    for each in task_ids:
        job = RqJob.fetch(job_id(each), connection=redis_client, serializer=JSONSerializer)
        assert job.is_finished
        assert job.args[0]["task_id"] == each
        assert job.args[0]["scores"] == {NAME: 1.0}


def test_a_relay_that_slept_through_its_lease_moves_nothing(redis_client: Redis) -> None:
    publish(redis_client, STREAM, [decision("t-1")])
    asleep, awake = member(redis_client, "asleep"), member(redis_client, "awake", lease_ms=1)
    (held,) = asleep.read(10, 1)
    while not (stale := awake.stale(10)):
        time.sleep(0.001)
    taken = awake.claim(stale[0])
    assert taken is not None
    assert not enqueue(held, Lane(asleep, KEYS), JOB)
    assert enqueue(taken, Lane(awake, KEYS), JOB)
    assert not enqueue(taken, Lane(awake, KEYS), JOB)
    assert not enqueue(held, Lane(asleep, KEYS), JOB)
    assert queued(redis_client) == ["t-1"]


def test_a_finished_and_expired_job_is_not_enqueued_again(redis_client: Redis) -> None:
    consumer = member(redis_client, "relay")
    for _ in range(2):
        publish(redis_client, STREAM, [decision("t-1")])
        relay([Lane(consumer, KEYS)], JOB, burst=True)
        work(redis_client)
        redis_client.delete("rq:job:t-1")
    assert queued(redis_client) == []
    assert redis_client.xpending(STREAM, NAME)["pending"] == 0


def test_after_the_window_a_waiting_job_is_kept_and_a_finished_one_runs_anew(
    redis_client: Redis,
) -> None:
    consumer = member(redis_client, "relay")
    mark = f"{STREAM}:relayed:t-1"
    for _ in range(2):
        publish(redis_client, STREAM, [decision("t-1")])
        relay([Lane(consumer, KEYS)], JOB, burst=True)
        redis_client.delete(mark)
    assert queued(redis_client) == ["t-1"]
    work(redis_client)
    publish(redis_client, STREAM, [decision("t-1")])
    relay([Lane(consumer, KEYS)], JOB, burst=True)
    assert queued(redis_client) == ["t-1"]
    assert RqJob.fetch("t-1", connection=redis_client, serializer=JSONSerializer).is_queued


def test_a_queue_key_of_another_type_loses_nothing(redis_client: Redis) -> None:
    publish(redis_client, STREAM, [decision("t-1")])
    redis_client.set(f"rq:queue:{NAME}", "not a list")
    consumer = member(redis_client, "relay")
    (entry,) = consumer.read(10, 1)
    with pytest.raises(Exception, match="not a list"):
        enqueue(entry, Lane(consumer, KEYS), JOB)
    assert redis_client.xpending(STREAM, NAME)["pending"] == 1
    redis_client.delete(f"rq:queue:{NAME}")
    assert enqueue(entry, Lane(consumer, KEYS), JOB)


def test_a_malformed_decision_becomes_a_dead_letter(redis_client: Redis, redis_url: str) -> None:
    redis_client.xadd(STREAM, {"task_id": "t-0", "decision": b"\xff"})
    publish(redis_client, STREAM, [decision("t-1")])
    succeed(redis_url, "relay", "rq", NAME, "--burst")
    assert queued(redis_client) == ["t-1"]
    assert redis_client.xlen(KEYS.dead) == 1


def test_killed_again_and_again_it_enqueues_each_once(redis_client: Redis, redis_url: str) -> None:
    total = 3_000
    publish(redis_client, STREAM, [decision(f"t-{number}") for number in range(total)])
    for goal in (300, 900, 1_500):
        process = start(redis_url, "relay", "rq", NAME)
        while len(queued(redis_client)) < goal:
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()
        process.communicate()
    assert goal <= len(queued(redis_client)) < total
    with connect(redis_url) as client:
        rescuer = member(client, "rescuer", lease_ms=1)
        relay([Lane(rescuer, KEYS)], JOB, burst=True)
    assert sorted(queued(redis_client)) == sorted(f"t-{number}" for number in range(total))
    assert redis_client.xpending(STREAM, NAME)["pending"] == 0


def test_it_stops_on_term(redis_client: Redis, redis_url: str) -> None:
    process = start(redis_url, "relay", "rq", NAME)
    while not (redis_client.exists(STREAM) and redis_client.xinfo_groups(STREAM)):
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0
    assert cortex(redis_url, "relay").returncode == 2
