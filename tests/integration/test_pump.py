"""Lanes of one process: while the server of one is in trouble, the others flow."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from streams.consumer import Consumer
from streams.entry import Ack, Publish
from streams.keys import WORKERS
from streams.lane import Lane
from streams.partitions import layout
from streams.pump import Pump

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from streams.entry import Entry, Settlement
    from streams.keys import Keys

BROKEN, SOUND = layout("", 2)
LEASE_MS = 500


def member(client: redis.Redis, keys: Keys, name: str) -> Consumer:
    consumer = Consumer(client, keys.task_streams, WORKERS, name, LEASE_MS)
    consumer.join()
    return consumer


def handled(entry: Entry) -> Settlement:
    task_id = entry.fields[b"task_id"].decode()
    return Publish(entry, task_id, "m", b"{}", b"{}") if task_id else Ack(entry)


def submit(client: redis.Redis, keys: Keys, count: int) -> None:
    for number in range(count):
        client.xadd(keys.tasks, {"task_id": f"t-{number}-{client.xlen(keys.tasks)}"})


def test_a_lane_that_cannot_settle_does_not_hold_up_another(
    redis_client: redis.Redis, eventually: Callable[..., None]
) -> None:
    client = redis_client
    lanes = [Lane(member(client, keys, "w"), keys) for keys in (BROKEN, SOUND)]
    pump = Pump(lanes, client)
    client.set(BROKEN.decisions, "no stream")  # settling fails, and is tried again
    submit(client, BROKEN, 1_000)
    submit(client, SOUND, 50)
    dead = member(client, SOUND, "dead")
    assert len(dead.read(3, 0)) == 3  # suspects, soon: claimed while nothing else is at hand

    def loop() -> None:
        for batch in pump.batches():
            pump.settle([handled(entry) for entry in batch])

    thread = threading.Thread(target=loop)
    pump.start()
    thread.start()
    try:
        eventually(lambda: client.xlen(SOUND.decisions) == 50)
        submit(client, SOUND, 300)
        eventually(lambda: client.xlen(SOUND.decisions) == 350)
        assert 0 < client.xpending(BROKEN.tasks, WORKERS)["pending"] < 1_000

        client.delete(BROKEN.decisions)
        eventually(lambda: client.xlen(BROKEN.decisions) == 1_000)
    finally:
        pump.stop()
        thread.join()
        pump.close()
    assert client.xpending(BROKEN.tasks, WORKERS)["pending"] == 0
