"""How long a saved file takes until a worker finds it, measured on the running system."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from contracts.errors import FatalError
from contracts.parse import parse_decision
from ops.output import remark

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from streams.keys import Keys
    from streams.ranges import Range

_PATIENCE = 30.0  # seconds until a change counts as never found
_SYLLABLES = ("ba", "ko", "ri", "mu", "ze", "fa", "lo", "ti", "pu", "ge")


def measure_freshness(client: Redis, keys: Keys, source: Path, rounds: int) -> list[float]:
    """Save and delete files about things no other file has, and ask workers about them.

    Tasks are submitted until a decision refers to the file, and after its deletion until one does
    not.

    Returns:
        Seconds from each save or deletion to a readable decision that reflects it; none where the
        directory cannot be written to.

    Raises:
        FatalError: a change never showed.
    """
    seconds = []
    for _ in range(rounds):
        word = "".join(random.choices(_SYLLABLES, k=5))  # noqa: S311 (a made-up word, no secret)
        path = source / f"cortex-demo-{word}.md"
        try:
            path.write_text(f"# The {word} procedure\n\nHow the {word} is calibrated.\n")
        except OSError as error:
            with suppress(OSError):  # a full disk leaves an empty file, a read-only one none
                path.unlink(missing_ok=True)
            remark(f"freshness is left out: cannot write to {source}: {error.strerror}")
            return []
        try:
            seconds.append(_seconds_until(client, keys, word, path.name, there=True))
        finally:
            path.unlink(missing_ok=True)
        seconds.append(_seconds_until(client, keys, word, path.name, there=False))
    return seconds


def _seconds_until(client: Redis, keys: Keys, word: str, name: str, *, there: bool) -> float:
    begun = time.monotonic()
    while (took := time.monotonic() - begun) < _PATIENCE:
        if (name in _paths(client, keys, f"calibrate the {word} procedure")) == there:
            return time.monotonic() - begun
    state = "found" if there else "forgotten"
    raise FatalError(f"demo: {name} was not {state} within {took:.0f} s")


def _paths(client: Redis, keys: Keys, text: str) -> set[str]:
    """Submit one task and return the paths in the context of its decision."""
    seen = client.xinfo_stream(keys.decisions)["last-generated-id"]
    task_id = f"probe-{time.monotonic_ns()}"
    client.xadd(keys.tasks, {"task_id": task_id, "description": text})
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        reply = cast("dict[bytes, Range]", client.xread({keys.decisions: seen}, block=1000))
        for entry_id, fields in reply.get(keys.decisions.encode(), ()):
            seen = entry_id
            if fields[b"task_id"].decode() == task_id:
                return {item.path for item in parse_decision(fields[b"decision"]).context}
    raise FatalError(f"demo: task {task_id} was not decided")
