"""How fast one worker process empties a preloaded queue.

The clock is the server's: decisions carry the millisecond they were written in their stream ids, so
start-up is not counted and watching costs the contender nothing.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any

import redis

from bench.process import running
from bench.server import server
from bench.workload import MASTERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.contenders import Contender

DECISIONS = "decisions"
POLL_S = 0.1
STALL_S = 60.0


class DrainError(Exception):
    """A contender did not do the job, so it has no figure."""


def alternate(
    contenders: Sequence[Contender], repetitions: int, scale: float = 1.0
) -> dict[str, float]:
    """Return tasks/s per contender: the median over rounds in which each runs once, in turn."""
    rates: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _ in range(repetitions):
        for contender in contenders:
            rates[contender.name].append(drain(contender, round(contender.tasks * scale)))
    return {name: statistics.median(measured) for name, measured in rates.items()}


def drain(contender: Contender, count: int, lead: int = 0) -> float:
    """Return the tasks/s at which `contender` decides `count` tasks.

    Args:
        contender: decides them.
        count: how many there are.
        lead: decisions before the clock starts: who works ahead has begun on others meanwhile.

    Raises:
        DrainError: it stopped, stalled, or did not decide every task once.
    """
    with server() as url:
        preload: list[Path | str] = [contender.python, *contender.preload, str(count)]
        subprocess.run(preload, env={**os.environ, "REDIS_URL": url}, check=True)
        client = redis.Redis.from_url(url)
        with tempfile.TemporaryFile("w+") as log, running(contender, url, log) as worker:
            try:
                _await_decisions(client, count, worker)
            except DrainError as error:
                log.seek(0)
                message = f"{contender.name}: {error}\n{log.read()[-2_000:]}"
                raise DrainError(message) from error
        return _rate(client, count, lead)


def _await_decisions(client: redis.Redis, count: int, worker: subprocess.Popen[bytes]) -> None:
    seen, last_progress = 0, time.monotonic()
    while (now := client.xlen(DECISIONS)) < count:
        if now > seen:
            seen, last_progress = now, time.monotonic()
        # The bare loop ends by itself when it is done: look once more before calling it a failure.
        if worker.poll() is not None and client.xlen(DECISIONS) < count:
            message = f"ended with {worker.returncode} after {now} of {count}"
            raise DrainError(message)
        if time.monotonic() - last_progress > STALL_S:
            message = f"stalled after {now} of {count}"
            raise DrainError(message)
        time.sleep(POLL_S)


def _rate(client: redis.Redis, count: int, lead: int) -> float:
    delivered = sum(client.xlen(f"master:{name}") for name in MASTERS)
    decided = client.xlen(DECISIONS)
    if not delivered == decided == count:
        message = f"{count} tasks, {decided} decisions, {delivered} delivered"
        raise DrainError(message)
    early: list[Any] = client.xrange(DECISIONS, count=lead + 1)
    [(end, _)] = client.xrevrange(DECISIONS, count=1)
    first, last = (int(entry_id.split(b"-")[0]) for entry_id in (early[-1][0], end))
    return (count - lead - 1) * 1_000 / (last - first)
