"""Celery, set up as its optimizing guide says for many short tasks.

https://docs.celeryq.dev/en/stable/userguide/optimizing.html: a large prefetch multiplier (64 or
128); results are off because nobody reads them.
"""

from __future__ import annotations

import redis
from celery import Celery

from bench.peers.job import REDIS_URL, publish
from bench.workload import tasks

app = Celery("bench", broker=REDIS_URL.replace("unix://", "redis+socket://"))
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=128,
    worker_disable_rate_limits=True,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
client = redis.Redis.from_url(REDIS_URL)


@app.task
def route(task_id: str, description: str) -> None:
    publish(client, task_id, description)


def preload(count: int) -> None:
    with app.producer_pool.acquire(block=True) as producer:
        for task in tasks(count):
            route.apply_async(args=task, producer=producer)
