"""Put the workload into Cortex's task stream: `python -m bench.preload N` (REDIS_URL)."""

from __future__ import annotations

import os
import sys

import redis

from bench.workload import GROUP, tasks

TASKS = "tasks"
CHUNK = 1_000


def preload(client: redis.Redis, count: int) -> None:
    pipeline = client.pipeline(transaction=False)
    for task_id, description in tasks(count):
        pipeline.xadd(TASKS, {"task_id": task_id, "description": description})
        if len(pipeline) == CHUNK:
            pipeline.execute()
    pipeline.execute()
    client.xgroup_create(TASKS, GROUP, id="0", mkstream=True)


if __name__ == "__main__":
    preload(redis.Redis.from_url(os.environ["REDIS_URL"]), int(sys.argv[1]))
