"""FastStream in its batch mode: one call of the handler, and one acknowledgement, for 256 tasks."""

from __future__ import annotations

import logging

import redis.asyncio
from faststream import FastStream
from faststream.redis import RedisBroker, StreamSub

from bench.peers.job import REDIS_URL, publish_all
from bench.workload import CONSUMER, GROUP, tasks

STREAM = "tasks"


broker = RedisBroker(REDIS_URL, logger=None, log_level=logging.WARNING)
app = FastStream(broker)
client = redis.asyncio.Redis.from_url(REDIS_URL)


@broker.subscriber(
    stream=StreamSub(STREAM, group=GROUP, consumer=CONSUMER, batch=True, max_records=256)
)
async def route(batch: list[dict[str, str]]) -> None:
    await publish_all(client, ((task["task_id"], task["description"]) for task in batch))


async def preload(count: int) -> None:
    await client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    await broker.connect()
    for task_id, description in tasks(count):
        await broker.publish({"task_id": task_id, "description": description}, stream=STREAM)
