"""The demonstration's tasks: written for this project, pushed as fast as they are decided."""

from __future__ import annotations

from importlib.resources import files
from itertools import cycle, islice
from secrets import token_hex
from typing import TYPE_CHECKING, cast

import msgspec

from contracts.encode import task_fields
from contracts.parse import parse_task
from ops.output import progress_bar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from contracts.messages import Task
    from ops.demo_report import Received
    from streams.keys import Keys


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    description: str
    metadata: msgspec.Raw = msgspec.Raw()


def read_tasks(count: int) -> list[Task]:
    """Return `count` tasks with fresh ids; beyond the end of the list it starts over."""
    text = files("ops").joinpath("data", "demo_tasks.jsonl").read_bytes()
    lines = msgspec.json.Decoder(_Line).decode_lines(text)
    run = token_hex(4)
    return [
        parse_task(
            {
                b"task_id": f"demo-{run}-{number}".encode(),
                b"description": line.description.encode(),
                b"metadata": bytes(line.metadata),
            }
        )
        for number, line in enumerate(islice(cycle(lines), count))
    ]


def push_paced(
    client: Redis, keys: Keys, tasks: Sequence[Task], received: Received, ahead: int
) -> list[str]:
    """Push tasks, never more than `ahead` before the masters have them; returns their ids.

    With one task per worker under way, latency says how long deciding takes, not queueing.

    Raises:
        FatalError: nothing was decided for too long.
    """
    with progress_bar("routing") as show:
        for number, task in enumerate(tasks):
            received.wait_for(number - ahead)
            entry_id = client.xadd(keys.tasks, dict(task_fields(task).items()))
            received.pushed(task.task_id, cast("bytes", entry_id))
            show(received.count, len(tasks))
    return [task.task_id for task in tasks]
