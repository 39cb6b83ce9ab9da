"""dramatiq on its Redis broker; prefetch is raised in the environment (see `bench.contenders`)."""

from __future__ import annotations

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

from bench.peers.job import REDIS_URL, publish
from bench.workload import tasks

broker = RedisBroker(url=REDIS_URL)
dramatiq.set_broker(broker)
client = redis.Redis.from_url(REDIS_URL)


@dramatiq.actor
def route(task_id: str, description: str) -> None:
    publish(client, task_id, description)


def preload(count: int) -> None:
    for task in tasks(count):
        route.send(*task)
