"""A producer that takes a task for accepted once replicas have it (WAIT), and submits it once."""

from __future__ import annotations

import threading
import time
import zlib
from typing import TYPE_CHECKING, Self

from chaos.producer import WORDS
from contracts.messages import Task
from streams.connect import connect
from streams.producer import PRIORITIES, Producer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.history import History
    from streams.keys import Keys

_BATCH = 20
_CONFIRM_MS = 100


class Confirmed:
    """Submits new tasks without end, on a thread, with the producer of the product.

    Attributes:
        accepted: when a server last took a task, confirmed or not (`time.monotonic`).
    """

    def __init__(  # noqa: PLR0913 (where to, what to note, and how)
        self,
        url: str,
        parts: Sequence[Keys],
        history: History,
        *,
        name: str = "c",
        replicas: int = 1,
        rate: float = 200.0,
    ) -> None:
        """Connect.

        Args:
            url: of the queue.
            parts: names of each partition.
            history: where verdicts go; what too few replicas have is `unknown`.
            name: what task ids begin with.
            replicas: how many must have a task.
            rate: tasks a second at most.
        """
        self.accepted = 0.0
        self._client = connect(url, role="producer", socket_timeout=2.0)
        self._producer = Producer(
            self._client, parts, confirm_replicas=replicas, confirm_ms=_CONFIRM_MS
        )
        self._history, self._name, self._pause = history, name, _BATCH / rate
        self._count = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="producer", daemon=True)

    def stop(self) -> None:
        """Stop after the batch at hand."""
        self._stopping.set()
        self._thread.join()
        self._client.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self._stopping.is_set():
            self.stop()

    def _run(self) -> None:
        while not self._stopping.is_set():
            begun = time.monotonic()
            done = self._producer.submit([self._task() for _ in range(_BATCH)], PRIORITIES[1])
            for each in done:
                self._history.note(each.verdict, [each.task_id])
                if each.verdict != "failed":
                    self.accepted = time.monotonic()
            self._stopping.wait(begun + self._pause - time.monotonic())

    def _task(self) -> Task:
        task_id = f"{self._name}-{self._count}"
        self._count += 1
        text = WORDS[zlib.crc32(task_id.encode()) % len(WORDS)]
        return Task(task_id=task_id, description=text)
