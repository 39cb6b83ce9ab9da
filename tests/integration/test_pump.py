"""Lanes of one process: what they read ahead, and that one in trouble does not hold up others."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from streams.consumer import Consumer
from streams.entry import Ack, Publish
from streams.in_flight import Held, InFlight
from streams.keys import WORKERS
from streams.lane import Lane
from streams.partitions import layout
from streams.pump import Pump
from streams.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


def test_the_batch_after_the_next_is_told_while_that_one_is_handled(
    redis_client: redis.Redis, eventually: Callable[..., None]
) -> None:
    client = redis_client
    pump = Pump([Lane(member(client, SOUND, "w"), SOUND)], client)
    told: list[list[Entry]] = []
    done: list[list[Entry]] = []

    def loop() -> None:
        for batch in pump.batches():
            if not told:  # what was read ahead is there soon, as the first batch is still held
                eventually(lambda: pump.waiting)
            told.append([*pump.waiting])
            done.append(batch)
            pump.settle([handled(entry) for entry in batch])

    submit(client, SOUND, 300)
    thread = threading.Thread(target=loop)
    pump.start()
    thread.start()
    try:
        eventually(lambda: client.xlen(SOUND.decisions) == 300)
    finally:
        pump.stop()
        thread.join()
        pump.close()
    assert told[0]
    assert all(after == batch for after, batch in zip(told, done[1:], strict=False) if after)
    assert told[-1] == []


@contextmanager
def reading(reader: Reader) -> Iterator[None]:
    thread = threading.Thread(target=reader.run)
    thread.start()
    try:
        yield
    finally:
        reader.flight.stop(0)
        thread.join()


def settle_first(flight: InFlight, held: Held) -> None:
    flight.handled(held, [handled(entry) for entry in flight.inbox.popleft()])
    flight.settled(held)


def test_what_is_next_is_read_ahead_though_batches_become_smaller(
    redis_client: redis.Redis, eventually: Callable[..., None]
) -> None:
    submit(redis_client, SOUND, 100)
    flight, held, sizes = InFlight(), Held(), [2, 10, 10]
    consumer = member(redis_client, SOUND, "w")
    reader = Reader(consumer, flight, held, lambda: sizes.pop() if sizes else 2, lambda: True, 256)
    with reading(reader):
        eventually(lambda: held.batches == 3)
        assert [len(batch) for batch in flight.inbox] == [10, 10, 2]
        settle_first(flight, held)
        eventually(lambda: held.batches == 3)
        assert [len(batch) for batch in flight.inbox] == [10, 2, 2]


def test_what_comes_while_enough_is_held_is_handled_together(
    redis_client: redis.Redis, eventually: Callable[..., None]
) -> None:
    flight, held = InFlight(), Held()
    consumer = member(redis_client, SOUND, "w")
    with reading(Reader(consumer, flight, held, lambda: 100, lambda: True, 256)):
        for number in (1, 2, 3):
            submit(redis_client, SOUND, 1)
            eventually(lambda number=number: held.batches == number)
        submit(redis_client, SOUND, 50)
        settle_first(flight, held)
        eventually(lambda: held.batches == 3)
        assert [len(batch) for batch in flight.inbox] == [1, 1, 50]
