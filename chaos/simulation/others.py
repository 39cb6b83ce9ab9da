"""Who else uses the queue: producers, an operator and the chores, as single moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import OutOfMemoryError

from chaos.simulation.transport import CrashError
from chaos.simulation.worker import DEADLY, FLAKY
from streams.dead import list_dead, replay_dead
from streams.errors import SERVER_TROUBLE
from streams.housekeeping import remove_silent_consumers, trim_settled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.history import Seen
    from chaos.simulation.world import World

_KINDS = (b"plain",) * 6 + (FLAKY, DEADLY, None)  # None: malformed, no description


def produce(world: World, name: str, count: int) -> Iterator[None]:
    """Submit tasks; where doubles are allowed, some twice, and some again until confirmed."""
    chance = world.chance
    for number in range(count):
        task_id, kind = f"{name}-{number}", chance.choice(_KINDS)
        fields: dict[Any, Any] = {"task_id": task_id}
        if kind:
            fields["description"] = kind
        # A malformed task has no id to be known by: each submission is a dead letter of its own.
        again = bool(kind) and world.doubles
        times = 2 if again and not chance.randrange(4) else 1
        while times:
            verdict = _submit(world, fields)
            world.note(name, "submits", task_id, kind, verdict)
            world.history.note(verdict, [task_id])
            if verdict != "unknown" or not again:
                times -= 1
            yield


def _submit(world: World, fields: dict[Any, Any]) -> Seen:
    try:
        world.transport.xadd(world.chance.choice(world.streams), fields)
    except OutOfMemoryError:
        return "failed"
    except (redis.ConnectionError, CrashError):
        return "unknown"
    return "ok"


def operate(world: World) -> Iterator[None]:
    """Replay a dead letter now and then."""
    client = world.system.dress(world.transport)
    while True:
        try:
            letters = list(list_dead(client, world.keys))
            yield
            if letters:
                entry_id, letter = world.chance.choice(letters)
                replayed = replay_dead(client, world.keys, entry_id)
                world.note("operator", "replays", letter.payload["task_id"], replayed)
        except (*SERVER_TROUBLE, CrashError) as error:
            world.note("operator", "cannot", error)
        yield


def tidy(world: World) -> Iterator[None]:
    """Trim what is settled and remove consumers that hold nothing, living ones too."""
    client = world.system.dress(world.transport)
    while True:
        stream = world.chance.choice(world.streams)
        try:
            world.note("chores", "trim", stream, trim_settled(client, [stream]))
            yield
            gone = remove_silent_consumers(client, stream, silent_ms=-1)
            world.note("chores", "remove", stream, gone)
        except (*SERVER_TROUBLE, CrashError) as error:
            world.note("chores", "cannot", error)
        yield
