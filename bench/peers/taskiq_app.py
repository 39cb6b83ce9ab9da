"""taskiq on its acknowledging Redis stream broker."""

from __future__ import annotations

import redis.asyncio
from taskiq_redis import RedisStreamBroker

from bench.peers.job import REDIS_URL, publish_all
from bench.workload import tasks

# The group is created before the worker starts: from the start of the stream, not from its end.
broker = RedisStreamBroker(REDIS_URL, consumer_id="0", xread_count=256)
client = redis.asyncio.Redis.from_url(REDIS_URL)


@broker.task
async def route(task_id: str, description: str) -> None:
    await publish_all(client, [(task_id, description)])


async def preload(count: int) -> None:
    await broker.startup()
    for task in tasks(count):
        await route.kiq(*task)
    await broker.shutdown()
