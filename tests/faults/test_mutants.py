"""Every wrong queue is caught by the simulation; played scenes show what settling wrongly does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaos.history import Outputs, violations
from chaos.mutants import MUTANTS, SYSTEMS, Rewritten
from chaos.servers import Server
from chaos.simulation import Transport, one_core, play
from contracts.errors import FatalError
from streams.consumer import Consumer
from streams.entry import Publish
from streams.keys import Keys
from streams.settle import settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import redis

    from chaos.simulation.system import Settle
    from streams.entry import Entry

KEYS = Keys()
SEEN = {f"t-{n}": "ok" for n in range(20)}
WITHIN = 200  # seeds


@pytest.fixture(scope="module")
def transport(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transport]:
    directory = tmp_path_factory.mktemp("simulation")
    with one_core(), Server(directory, "--appendonly", "no") as server:
        yield Transport(server.url)


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_simulation_catches_every_mutant(transport: Transport, name: str) -> None:
    caught = next(
        (seed for seed in range(WITHIN) if play(seed, transport, SYSTEMS[name]).violations), None
    )
    print(f"{name}: seed {caught}")  # noqa: T201 (shown when it fails, and by -rP)
    assert caught is not None


def test_a_mutant_of_text_that_is_gone_is_an_error(redis_client: redis.Redis) -> None:
    with pytest.raises(FatalError, match="exactly once"):
        Rewritten(redis_client, "settle", ("no such piece", ""))


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


def play_out(way: Settle, client: redis.Redis, batch: Sequence[Publish], consumer: str) -> None:
    way(client, KEYS, batch, group="workers", consumer=consumer, window_ms=60_000)


def member(client: redis.Redis, name: str) -> Consumer:
    made = Consumer(client, (KEYS.tasks,), "workers", name, lease_ms=0)
    made.join()
    return made


def decided(entries: Sequence[Entry]) -> list[Publish]:
    decision = b'{"selected_master":"m"}'
    return [Publish(e, e.fields[b"task_id"].decode(), "m", decision, decision) for e in entries]


def submit(client: redis.Redis) -> None:
    for task_id in SEEN:
        client.xadd(KEYS.tasks, {"task_id": task_id, "description": "do it"})


def take_over(client: redis.Redis, name: str) -> list[Publish]:
    heir = member(client, name)
    return decided([e for s in heir.stale(100) if (e := heir.claim(s))])


def found(client: redis.Redis) -> set[str]:
    return {v.split(":")[0] for v in violations(SEEN, Outputs.read(client, KEYS, ["m"]))}


@pytest.mark.parametrize(
    ("way", "last", "wrong"),
    [
        (settle, 0, set()),
        (MUTANTS["acknowledge-first"], 31, {"lost"}),
        (MUTANTS["publish-first"], 32, {"doubled"}),
        (MUTANTS["mark-first"], 41, {"lost"}),
    ],
)
def test_a_crash_in_the_middle(
    redis_client: redis.Redis, way: Settle, last: int, wrong: set[str]
) -> None:
    submit(redis_client)
    batch = decided(member(redis_client, "a").read(100, 10))
    with pytest.raises(CrashError):
        play_out(way, Crashing(redis_client, last), batch, "a")
    play_out(way, redis_client, take_over(redis_client, "b"), "b")
    assert found(redis_client) >= wrong
    assert wrong or not found(redis_client)


@pytest.mark.parametrize(("way", "wrong"), [(settle, set()), (MUTANTS["multi"], {"doubled"})])
def test_a_worker_that_wakes_after_its_lease(
    redis_client: redis.Redis, way: Settle, wrong: set[str]
) -> None:
    submit(redis_client)
    paused = decided(member(redis_client, "a").read(100, 10))
    play_out(way, redis_client, take_over(redis_client, "b"), "b")
    play_out(way, redis_client, paused, "a")
    assert found(redis_client) == wrong


@pytest.mark.parametrize(
    ("way", "wrong"),
    [
        (settle, set()),
        (MUTANTS["multi"], {"doubled"}),
        (MUTANTS["no-idempotency"], {"doubled"}),
    ],
)
def test_a_doubled_submission(redis_client: redis.Redis, way: Settle, wrong: set[str]) -> None:
    submit(redis_client)
    submit(redis_client)
    one = member(redis_client, "a")
    play_out(way, redis_client, decided(one.read(20, 10)), "a")
    play_out(way, redis_client, decided(one.read(20, 10)), "a")
    assert found(redis_client) == wrong
