"""A contender's worker process, running while the block does."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.contenders import Contender

STOP_S = 15.0


@contextmanager
def running(
    contender: Contender, url: str, log: IO[str] | int = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    # A session of its own, because some frameworks start their worker as a child.
    worker = subprocess.Popen(
        [contender.python, *contender.worker],
        env={**os.environ, **contender.environment, "REDIS_URL": url},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        yield worker
    finally:
        _stop(worker)


def _stop(worker: subprocess.Popen[bytes]) -> None:
    if worker.poll() is not None:
        return
    os.killpg(worker.pid, signal.SIGTERM)
    try:
        worker.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
