"""One task at a time: from the call that submits it to its decision read from a master's queue.

`python -m bench.latency [--tasks N] [--store DIR] [--json]`. The client holds one connection and
blocks on the masters' streams, as a master does. The worker routes by rules alone; with `--store`
(an index built by `cortex index build`) by the packaged model and with context, and tasks are
subjects of the commits that the store remembers, each another one, so that none is in a cache.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import redis

from bench.contenders import CORTEX, Contender
from bench.decisions import subjects, with_retrieval
from bench.preload import TASKS
from bench.process import running
from bench.report import show, table
from bench.server import server
from bench.workload import MASTERS, SEED, tasks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WARM_UP = 50
# The first decision waits for the worker to start.
PATIENCE_MS = 30_000
TARGET_MS = {"p50": 3.0, "p99": 10.0}
TARGET_WITH_CONTEXT_MS = {"p50": 10.0, "p99": 30.0}


class NoDecisionError(Exception):
    """A submitted task never reached a master."""


def round_trips(client: redis.Redis, submitted: Iterable[tuple[str, str]]) -> Iterator[float]:
    """Yield the milliseconds each task took, submitting one when the last was decided."""
    positions: dict[Any, Any] = {f"master:{name}": "0" for name in MASTERS}
    for task_id, description in submitted:
        start = time.perf_counter()
        client.xadd(TASKS, {"task_id": task_id, "description": description})
        reply: Any = client.xread(positions, block=PATIENCE_MS)
        elapsed = time.perf_counter() - start
        if not reply:
            raise NoDecisionError(task_id)
        [(stream, [(entry_id, fields)])] = reply
        if fields[b"task_id"] != task_id.encode():
            raise NoDecisionError(task_id)
        positions[stream.decode()] = entry_id
        yield elapsed * 1_000


def from_history(store: Path, count: int) -> Iterator[tuple[str, str]]:
    """Yield pairs of task id and description: subjects of remembered commits, each once."""
    said = list(dict.fromkeys(subjects(store)))
    for number, text in enumerate(random.Random(SEED).sample(said, min(count, len(said)))):
        yield f"bench-{number:07d}", text


def with_context(store: Path, folder: Path) -> Contender:
    """A worker that routes by the packaged model and retrieves from a store."""
    environment = with_retrieval(store, folder)
    return Contender("with context", (), ("-m", "ops.cli", "worker"), environment=environment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000)
    parser.add_argument("--store", type=Path, help="a built index, to measure with context")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    count = WARM_UP + options.tasks
    submitted = from_history(options.store, count) if options.store else tasks(count)
    target = TARGET_WITH_CONTEXT_MS if options.store else TARGET_MS
    with TemporaryDirectory(prefix="cortex-bench-") as folder, server() as url:
        worker = with_context(options.store, Path(folder)) if options.store else CORTEX
        with running(worker, url):
            client = redis.Redis.from_url(url, protocol=2, socket_timeout=PATIENCE_MS / 1_000 + 1)
            measured = list(round_trips(client, submitted))[WARM_UP:]
    percentiles = statistics.quantiles(measured, n=100, method="inclusive")
    figures = {"p50": percentiles[49], "p99": percentiles[98]}
    rows = [
        (name, f"{measured_ms:.2f}", f"< {target[name]:g}") for name, measured_ms in figures.items()
    ]
    markdown = table((f"submit → decision, {len(measured)} tasks", "ms", "target"), rows)
    show({f"{name}_ms": value for name, value in figures.items()}, markdown, as_json=options.json)


if __name__ == "__main__":
    main()
