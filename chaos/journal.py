"""A producer that notes when each batch was confirmed, and how long the log was by then."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

import redis

from chaos.producer import WORDS
from streams.connect import connect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.arena import Arena

_BATCH = 20
_PAUSE = 0.01  # seconds between batches


class Batch(NamedTuple):
    """Some tasks that were confirmed together.

    Attributes:
        at: when, by the monotonic clock.
        size: bytes of the incremental append-only file by then.
    """

    ids: Sequence[str]
    at: float
    size: int


class Journal:
    """Submits each task once, on a thread of its own, until the block ends.

    Attributes:
        batches: what was confirmed, in order.
        unknown: ids that got no answer.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self.batches: list[Batch] = []
        self.unknown: list[str] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Submit nothing more."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        with connect(self._arena.url, role="journal") as client:
            while not self._stopping.wait(_PAUSE):
                ids = self._arena.ids(_BATCH)
                try:
                    self._submit(client, ids)
                except redis.RedisError:
                    self.unknown += ids

    def _submit(self, client: redis.Redis, ids: Sequence[str]) -> None:
        (keys,) = self._arena.parts
        with client.pipeline(transaction=False) as pipe:
            for number, task_id in enumerate(ids):
                text = WORDS[number % len(WORDS)]
                pipe.xadd(keys.tasks, {"task_id": task_id, "description": text})
            pipe.execute()
        logs = (self._arena.server.directory / "appendonlydir").glob("*.incr.aof")
        size = max((log.stat().st_size for log in logs), default=0)
        self.batches.append(Batch(ids, time.monotonic(), size))
