"""Encoding spread over machines: texts go out as RQ jobs, vectors come back through Redis.

Workers are RQ's own (`START_WORKER`), on any machine with this program and the same export of the
model; they need no file of the tree. A worker that dies in the middle of a job is noticed by RQ's
heartbeat, and the job done again.
"""

from __future__ import annotations

import base64
import threading
import time
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.errors import FatalError, TransientError
from vectors.encoder import open_encoder
from vectors.model_source import needs_extra

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from redis import Redis
    from rq.job import Job

    from vectors.types import Encoder

START_WORKER = "rq worker -w rq.worker.SimpleWorker -S rq.serializers.JSONSerializer"
"""Starts a worker of a queue, which is the next argument; it keeps the model in memory."""

_TIMEOUT_S = 180  # of a job, which takes a second or two
_KEPT_S = 600  # results that nobody came for
_RETRIES = 5
_WAIT_MS = 1_000
_CLEAN_EVERY_S = 5.0


def embed(model: str | None, identity: str, texts: list[str]) -> str:
    """What a worker does.

    Args:
        model: as in `open_encoder`.
        identity: of the encoder that the vectors must be of.
        texts: to embed.

    Returns:
        Rows of float16, little-endian, row-major, in base64.

    Raises:
        FatalError: this machine has another export of the model, whose vectors are others.
    """
    encoder = _opened(model)
    if encoder.identity != identity:
        raise FatalError(f"this worker encodes with {encoder.identity}, not with {identity}")
    return base64.b64encode(encoder.encode(texts).astype("<f2").tobytes()).decode()


class RemoteEncoder:
    """An `Encoder` of passages that lets RQ workers do it; each thread that calls has a job out.

    Vectors are rounded to float16 on the way.

    Attributes:
        prompt: that workers put in front of every text.
    """

    def __init__(self, client: Redis, queue: str, encoder: Encoder, model: str | None) -> None:
        """Send jobs to a queue.

        Args:
            client: a client of a server that is no cluster, which does not decode responses.
            queue: name of the RQ queue.
            encoder: whose vectors are wanted; it does not encode itself.
            model: by which workers open it.

        Raises:
            FatalError: RQ is not installed.
        """
        with needs_extra("rq"):
            from rq import Queue  # noqa: PLC0415 # optional
            from rq.serializers import JSONSerializer  # noqa: PLC0415 # likewise
        self.identity, self.dim = encoder.identity, encoder.dim
        self.prompt: str = getattr(encoder, "prompt", "")
        self._client = client
        self._queue = Queue(queue, connection=client, serializer=JSONSerializer)
        self._model = model
        self._closed = threading.Event()
        self._cleaning = threading.Lock()
        self._clean_at = time.monotonic() + _CLEAN_EVERY_S

    @property
    def workers(self) -> int:
        """Workers that listen to the queue."""
        from rq import Worker  # noqa: PLC0415 # optional

        return int(Worker.count(queue=self._queue))

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts as one job.

        Returns:
            Array of shape (len(texts), dim), float32 with float16 precision, rows L2-normalised.

        Raises:
            TransientError: the job failed again and again, or this was closed.
        """
        rows = base64.b64decode(self._result(texts))
        return np.frombuffer(rows, "<f2").reshape(len(texts), self.dim).astype(np.float32)

    def close(self) -> None:
        """Give up the jobs that are out."""
        self._closed.set()

    def _enqueue(self, texts: Sequence[str]) -> Job:
        from rq import Retry  # noqa: PLC0415 # optional

        return self._queue.enqueue(
            "indexer.jobs.embed",
            args=(self._model, self.identity, list(texts)),
            job_timeout=_TIMEOUT_S,
            result_ttl=_KEPT_S,
            failure_ttl=_KEPT_S,
            retry=Retry(max=_RETRIES),
            description=f"embed {len(texts)} texts",
        )

    def _result(self, texts: Sequence[str]) -> str:
        """Wait for a job; one that the server has lost is sent again."""
        from rq.exceptions import InvalidJobOperation, NoSuchJobError  # noqa: PLC0415 # optional

        while True:
            job = self._enqueue(texts)
            try:
                result = self._result_of(job)
            finally:
                with suppress(InvalidJobOperation, NoSuchJobError):
                    job.delete()
            if result is not None:
                return result

    def _result_of(self, job: Job) -> str | None:
        from rq.results import Result  # noqa: PLC0415 # optional

        results = str(Result.get_key(job.id))  # type: ignore[no-untyped-call] # rq's
        seen = "0-0"
        while not self._closed.is_set():
            reply: Any = self._client.xread({results: seen}, block=_WAIT_MS)
            if not reply:
                self._clean()
                if not type(job).exists(job.id, self._client):
                    return None
                continue
            result = job.latest_result()
            if result is None or result.type == Result.Type.RETRIED:
                seen = _last_id(reply)
            elif result.type == Result.Type.SUCCESSFUL:
                return str(result.return_value)
            else:
                raise TransientError(_last_line(result.exc_string))
        raise TransientError("given up")

    def _clean(self) -> None:
        """Let RQ look for jobs whose worker has gone silent; its workers do so only seldom."""
        with self._cleaning:
            if time.monotonic() >= self._clean_at:
                self._queue.started_job_registry.cleanup()
                self._clean_at = time.monotonic() + _CLEAN_EVERY_S


@cache
def _opened(model: str | None) -> Encoder:
    return open_encoder(model, side="passage")


def _last_id(reply: Any) -> str:  # noqa: ANN401 - of either protocol
    (entries,) = reply.values() if isinstance(reply, dict) else (reply[0][1],)
    entry_id: bytes = entries[-1][0]
    return entry_id.decode()


def _last_line(trace: str | None) -> str:
    return (trace or "no reason given").strip().splitlines()[-1]
