"""Put tasks into Cortex's task stream: `python -m bench.preload [--texts FILE] N` (REDIS_URL)."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from bench.workload import GROUP, tasks

if TYPE_CHECKING:
    from collections.abc import Iterable

TASKS = "tasks"
CHUNK = 1_000


def preload(client: redis.Redis, submitted: Iterable[tuple[str, str]]) -> None:
    """Add pairs of task id and description."""
    pipeline = client.pipeline(transaction=False)
    for task_id, description in submitted:
        pipeline.xadd(TASKS, {"task_id": task_id, "description": description})
        if len(pipeline) == CHUNK:
            pipeline.execute()
    pipeline.execute()
    client.xgroup_create(TASKS, GROUP, id="0", mkstream=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path, help="JSON: a list of descriptions")
    parser.add_argument("count", type=int)
    options = parser.parse_args()
    texts = json.loads(options.texts.read_text())[: options.count] if options.texts else None
    submitted = (
        tasks(options.count)
        if texts is None
        else ((f"bench-{number:07d}", text) for number, text in enumerate(texts))
    )
    preload(redis.Redis.from_url(os.environ["REDIS_URL"]), submitted)


if __name__ == "__main__":
    main()
