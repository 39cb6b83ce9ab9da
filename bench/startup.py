"""How long until a command answers and until a worker reads its stream.

`python -m bench.startup [--repetitions N] [--store DIR] [--json]`. With `--store` (an index built
by `cortex index build`) a worker with retrieval is measured too. The worker's time runs from the
call that starts its process to the decision of a task that was already waiting: reading the stream,
and a little more.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import redis

from bench.contenders import CORTEX, Contender
from bench.preload import preload
from bench.process import running
from bench.report import show, table
from bench.server import server
from bench.workload import tasks

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_MS = 30_000


def help_s() -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "ops.cli", "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def worker_s(worker: Contender) -> float:
    with server() as url:
        client = redis.Redis.from_url(url, socket_timeout=PATIENCE_MS / 1_000 + 1)
        preload(client, tasks(1))
        start = time.perf_counter()
        with running(worker, url):
            decided = client.xread({"decisions": "0"}, block=PATIENCE_MS)
            elapsed = time.perf_counter() - start
    if not decided:
        message = f"no decision within {PATIENCE_MS} ms"
        raise TimeoutError(message)
    return elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--store", help="a built index, to measure a worker with retrieval")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    what: dict[str, tuple[float, Callable[[], float]]] = {
        "cortex --help": (0.3, help_s),
        "worker without retrieval": (1.0, partial(worker_s, CORTEX)),
    }
    if options.store:
        environment = {
            **CORTEX.environment,
            "ENABLE_RAG": "true",
            "VECTORSTORE_PATH": options.store,
        }
        with_retrieval = replace(CORTEX, environment=environment)
        what["worker with retrieval"] = (5.0, partial(worker_s, with_retrieval))
    figures = {
        name: statistics.median(measure() for _ in range(options.repetitions))
        for name, (_, measure) in what.items()
    }
    rows = [(name, f"{value:.2f}", f"< {what[name][0]:g}") for name, value in figures.items()]
    show(
        figures,
        table(("start-up", "s (median)", "target"), rows),
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
