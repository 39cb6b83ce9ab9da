"""A producer that writes down what it saw. It speaks plain Redis, as any client would."""

from __future__ import annotations

import threading
import time
import zlib
from typing import TYPE_CHECKING

import redis
from redis.exceptions import RedisClusterException

from streams.partitions import partition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaos.history import History, Seen
    from streams.keys import Keys

WORDS = (
    "fix the login bug",
    "upgrade openssl, it has a vulnerability",
    "the deploy pipeline is red",
    "list every repository we own",
    "hm",
    "coordinate the release of both services",
)
_BATCH = 50
_PAUSE = 0.02  # seconds before what failed is tried again


class Producer:
    """Submits task ids and notes `ok`, `failed` (refused) or `unknown` (no answer) for each.

    What was not confirmed is submitted again under the same id, as an orchestrator would within the
    idempotency window, unless `once`.
    """

    def __init__(  # noqa: PLR0913 (where to, what to note, and how)
        self,
        connect: Callable[[], redis.Redis],
        parts: Sequence[Keys],
        history: History,
        *,
        once: bool = False,
        rate: float = float("inf"),
        confirm: Callable[[redis.Redis], bool] = lambda _client: True,
    ) -> None:
        """Describe a producer.

        Args:
            connect: makes its client, on the thread that submits.
            parts: names of each partition.
            history: where verdicts go.
            once: submit every id once, whatever comes of it.
            rate: tasks a second at most.
            confirm: asked after each batch; False makes what the server took `unknown` (WAIT).
        """
        self._connect, self._parts, self._history = connect, parts, history
        self._once, self._rate, self._confirm = once, rate, confirm
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def submit(self, ids: Sequence[str]) -> None:
        """Submit ids, a batch at a time."""
        client, begun, sent = self._connect(), time.monotonic(), 0
        for start in range(0, len(ids), _BATCH):
            left = list(ids[start : start + _BATCH])
            while left and not self._stopping.is_set():
                left = self._send(client, left)
                if self._once or not left:
                    break
                self._stopping.wait(_PAUSE)
            sent += _BATCH
            self._stopping.wait(max(0.0, begun + sent / self._rate - time.monotonic()))
        client.close()

    def start(self, ids: Sequence[str]) -> None:
        """Submit ids on a thread."""
        self._thread = threading.Thread(target=self.submit, args=(ids,), daemon=True)
        self._thread.start()

    def join(self, within: float = 120.0) -> None:
        """Wait for the thread.

        Raises:
            TimeoutError: it did not get rid of its tasks in time.
        """
        if self._thread is not None:
            self._thread.join(within)
            if self._thread.is_alive():
                raise TimeoutError(f"the producer is not done after {within:.0f} s")

    def stop(self) -> None:
        """Give up what is not yet submitted."""
        self._stopping.set()

    def _send(self, client: redis.Redis, ids: Sequence[str]) -> list[str]:
        """Send a batch once; returns the ids that were not confirmed."""
        try:
            with client.pipeline(transaction=False) as pipe:
                for task_id in ids:
                    number = zlib.crc32(task_id.encode())
                    keys = self._parts[partition_of(task_id, len(self._parts))]
                    text = WORDS[number % len(WORDS)]
                    pipe.xadd(keys.tasks, {"task_id": task_id, "description": text})
                replies = pipe.execute(raise_on_error=False)
            confirmed = self._confirm(client)
        except (redis.RedisError, RedisClusterException, OSError):
            self._history.note("unknown", ids)
            return list(ids)
        verdicts = [_verdict(reply, confirmed=confirmed) for reply in replies]
        for verdict in ("ok", "failed", "unknown"):
            self._history.note(
                verdict, [i for i, each in zip(ids, verdicts, strict=True) if each == verdict]
            )
        return [i for i, each in zip(ids, verdicts, strict=True) if each != "ok"]


def _verdict(reply: object, *, confirmed: bool) -> Seen:
    if isinstance(reply, bytes):
        return "ok" if confirmed else "unknown"
    return "failed" if isinstance(reply, redis.ResponseError) else "unknown"
