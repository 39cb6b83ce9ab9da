from __future__ import annotations

import random
from typing import TYPE_CHECKING

from chaos.arena import Arena
from chaos.matrix import Run
from streams.consumer import Consumer
from streams.keys import WORKERS

if TYPE_CHECKING:
    from pathlib import Path


def test_a_queue_that_workers_still_join_is_not_idle(redis_url: str, tmp_path: Path) -> None:
    run = Run(tmp_path, random.Random(0), full=False)
    with Arena(run, url=redis_url, keep=False) as arena:
        arena.client.flushall()
        urgent, normal, low = arena.parts[0].task_streams
        Consumer(arena.client, (urgent, low), WORKERS, "early").join()
        arena.submit(1)

        assert not arena.idle()

        Consumer(arena.client, (normal,), WORKERS, "late").join()
        assert not arena.idle()
        arena.client.xreadgroup(WORKERS, "late", {normal: ">"})
        assert not arena.idle()
        (only,) = arena.client.xpending_range(normal, WORKERS, "-", "+", 10)
        arena.client.xack(normal, WORKERS, only["message_id"])
        assert arena.idle()
