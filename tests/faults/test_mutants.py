"""Wrong ways to settle, kept so that the checker proves it would notice; and ours beside them.

Each scenario is played with the real `settle` (no violations) and with its mutants (the violation
each is known for).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streams.consumer import Consumer
from streams.entry import Publish
from streams.keys import Keys
from streams.settle import settle
from chaos.history import Outputs, violations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import redis

    Settle = Callable[["redis.Redis", Sequence[Publish], str], None]

KEYS = Keys()
SEEN = {f"t-{n}": "ok" for n in range(20)}


class CrashError(Exception):
    """The process ends here."""


class Crashing:
    """A client whose process ends instead of sending its `last`-th command."""

    def __init__(self, client: redis.Redis, last: int) -> None:
        self._client, self._left = client, last

    def __getattr__(self, name: str) -> Callable[..., object]:
        self._left -= 1
        if self._left < 0:
            raise CrashError
        return getattr(self._client, name)


def ours(client: redis.Redis, batch: Sequence[Publish], consumer: str) -> None:
    settle(client, KEYS, batch, group="workers", consumer=consumer, window_ms=60_000)


def acknowledge_first(client: redis.Redis, batch: Sequence[Publish], _consumer: str) -> None:
    for each in batch:
        client.xack(each.entry.stream, "workers", each.entry.id)
        _write(client, each)


def publish_first(client: redis.Redis, batch: Sequence[Publish], _consumer: str) -> None:
    for each in batch:
        _write(client, each)
        client.xack(each.entry.stream, "workers", each.entry.id)


def multi(client: redis.Redis, batch: Sequence[Publish], _consumer: str) -> None:
    with client.pipeline(transaction=True) as pipe:
        for each in batch:
            _write(pipe, each)
            pipe.xack(each.entry.stream, "workers", each.entry.id)
        pipe.execute()


def without_idempotency_key(client: redis.Redis, batch: Sequence[Publish], consumer: str) -> None:
    settle(client, KEYS, batch, group="workers", consumer=consumer, window_ms=60_000)
    for each in batch:
        client.delete(KEYS.done(each.task_id))


def _write(client: redis.Redis, each: Publish) -> None:
    client.xadd(each.target, {"task_id": each.task_id, "decision": each.payload})
    client.xadd(KEYS.decisions, {"task_id": each.task_id, "decision": each.audit})


def member(client: redis.Redis, name: str) -> Consumer:
    made = Consumer(client, (KEYS.tasks,), "workers", name, lease_ms=0)
    made.join()
    return made


def decided(entries: Sequence[object]) -> list[Publish]:
    return [
        Publish(e, e.fields[b"task_id"].decode(), KEYS.master("m"), _DECISION, _DECISION)
        for e in entries
    ]


_DECISION = b'{"selected_master":"m"}'


def take_over(client: redis.Redis, name: str) -> list[Publish]:
    heir = member(client, name)
    return decided([e for s in heir.stale(100) if (e := heir.claim(s))])


def found(client: redis.Redis) -> set[str]:
    return {v.split(":")[0] for v in violations(SEEN, Outputs.read(client, KEYS, ["m"]))}


def crash_in_the_middle(client: redis.Redis, way: Settle, last: int) -> set[str]:
    for task_id in SEEN:
        client.xadd(KEYS.tasks, {"task_id": task_id, "description": "do it"})
    batch = decided(member(client, "a").read(100, 10))
    with pytest.raises(CrashError):
        way(Crashing(client, last), batch, "a")
    way(client, take_over(client, "b"), "b")
    return found(client)


def wake_after_the_lease(client: redis.Redis, way: Settle) -> set[str]:
    for task_id in SEEN:
        client.xadd(KEYS.tasks, {"task_id": task_id, "description": "do it"})
    paused = decided(member(client, "a").read(100, 10))
    way(client, take_over(client, "b"), "b")
    way(client, paused, "a")
    return found(client)


def submit_twice(client: redis.Redis, way: Settle) -> set[str]:
    for task_id in [*SEEN, *SEEN]:
        client.xadd(KEYS.tasks, {"task_id": task_id, "description": "do it"})
    one = member(client, "a")
    way(client, decided(one.read(20, 10)), "a")
    way(client, decided(one.read(20, 10)), "a")
    return found(client)


def test_ours_survives_a_crash(redis_client: redis.Redis) -> None:
    assert crash_in_the_middle(redis_client, ours, 0) == set()


def test_acknowledging_first_loses(redis_client: redis.Redis) -> None:
    assert crash_in_the_middle(redis_client, acknowledge_first, 31) >= {"lost"}


def test_publishing_without_a_script_doubles(redis_client: redis.Redis) -> None:
    assert crash_in_the_middle(redis_client, publish_first, 32) >= {"doubled"}


@pytest.mark.parametrize(("way", "wrong"), [(ours, set()), (multi, {"doubled"})])
def test_a_worker_that_wakes_after_its_lease(
    redis_client: redis.Redis, way: Settle, wrong: set[str]
) -> None:
    assert wake_after_the_lease(redis_client, way) == wrong


@pytest.mark.parametrize(
    ("way", "wrong"), [(ours, set()), (multi, {"doubled"}), (without_idempotency_key, {"doubled"})]
)
def test_a_doubled_submission(redis_client: redis.Redis, way: Settle, wrong: set[str]) -> None:
    assert submit_twice(redis_client, way) == wrong
