"""The job as a peer's handler does it: decide, then publish to the master and to the audit stream.

One round trip a call; the asynchronous form takes as many tasks as its framework hands over at
once.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench.workload import decide

if TYPE_CHECKING:
    from collections.abc import Iterable

    import redis
    import redis.asyncio

REDIS_URL = os.environ["REDIS_URL"]


def publish(client: redis.Redis, task_id: str, description: str) -> None:
    pipeline = client.pipeline(transaction=False)
    _queue(pipeline, task_id, description)
    pipeline.execute()


async def publish_all(client: redis.asyncio.Redis, tasks: Iterable[tuple[str, str]]) -> None:
    pipeline = client.pipeline(transaction=False)
    for task_id, description in tasks:
        _queue(pipeline, task_id, description)
    await pipeline.execute()


def _queue(
    pipeline: redis.client.Pipeline | redis.asyncio.client.Pipeline, task_id: str, description: str
) -> None:
    master, decision = decide(task_id.encode(), description.encode())
    fields = {"task_id": task_id, "decision": decision}
    pipeline.xadd(f"master:{master}", fields)
    pipeline.xadd("decisions", fields)
