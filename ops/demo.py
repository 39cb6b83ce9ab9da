"""The demonstration: the whole system on real input, and a count of what came out of it.

Everything runs as in production: one indexer and one watcher over a directory, worker processes,
five masters that take their decisions and report outcomes, an archiver. Keys carry the prefix
`demo:` and files lie in `.cortex/demo`, so nothing of a real deployment is touched.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

from contracts.errors import FatalError
from indexer.reconcile import reconcile
from indexer.scan import Rules, Tree
from ops.demo_probe import measure_freshness
from ops.demo_report import Received, print_summary, summarise
from ops.demo_tasks import push_paced, read_tasks
from ops.output import print_json, progress_bar, remark
from ops.session import read_settings
from router.masters import Masters
from streams.connect import connect
from streams.control import set_config
from streams.keys import WORKERS, Keys
from streams.master import Master
from vectors.log import current_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from contracts.messages import Decision

PERCENTAGE = 0.5
_PREFIX = "demo:"
_PATIENCE = 900.0  # seconds for the first index, the encoder's export included
_PROBES = 12


def run_demo(tasks: int, workers: int, source: Path, as_json: bool) -> int:  # noqa: FBT001 (one of the command's own options)
    """Run it and print the summary.

    Returns:
        0 if no task was lost, doubled or dead, every decision has context or says why not, and the
        split between the arms is what chance allows.

    Raises:
        FatalError: a part of the system did not come up.
    """
    settings = read_settings()
    home = Path(settings.data_dir, "demo").absolute()
    home.mkdir(parents=True, exist_ok=True)
    keys = Keys(_PREFIX)
    masters = Masters.parse(settings.masters_text).names
    client = connect(settings.redis_url, data_dir=Path(settings.data_dir), role="demo")
    for key in client.scan_iter(f"{_PREFIX}*", count=1000):
        client.unlink(key)
    rmtree(home / "metrics", ignore_errors=True)  # with its keys goes what was archived of them
    env = {
        "CORTEX_PREFIX": _PREFIX,
        "CORTEX_PARTITIONS": "0",
        "CORTEX_ROOT": str(source),
        "VECTORSTORE_PATH": str(home / "store"),
        "METRICS_PATH": str(home / "metrics" / "ml-router-metrics.jsonl"),
        "ENABLE_RAG": "true",
    }
    set_config(
        client,
        keys,
        expected_version=None,
        changes={"percentage": repr(PERCENTAGE)},
        who="cortex demo",
        why="half of the tasks each way",
    )
    received = Received()
    remark(
        f"indexing {source.resolve()} (the first time, the encoder is exported: a minute or two)"
    )
    with ExitStack() as running:
        for name in masters:
            running.enter_context(_consumed(client, keys, name, received))
        running.enter_context(_process(home, env, "indexer"))
        running.enter_context(_process(home, env, "watch", str(source)))
        _await_index(client, keys, source)
        running.enter_context(_process(home, env, "archiver"))
        for number in range(workers):
            running.enter_context(_process(home, env, "worker", number=number))
        _await(lambda: _consumers(client, keys) >= workers, 60, "workers read")

        remark(f"routing {tasks} tasks through {workers} workers")
        submitted = push_paced(client, keys, read_tasks(tasks), received, ahead=workers)
        received.wait_for(len(submitted))
        remark(f"measuring how fast a file saved in {source.resolve()} is found")
        freshness = measure_freshness(client, keys, source, _PROBES)
    summary = summarise(client, keys, submitted, received, freshness, PERCENTAGE)
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
        remark("look around with: CORTEX_PREFIX=demo: cortex monitor --window 1h")
        remark(f"the metrics file is {env['METRICS_PATH']}")
    return 0 if summary["ok"] else 1


@contextmanager
def _process(home: Path, env: dict[str, str], *args: str, number: int = 0) -> Iterator[None]:
    """Run `cortex ARGS`; its log lies beside the demonstration's store."""
    path = home / f"{args[0]}-{number}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 (our own program with our own arguments)
            # -P: a folder named like one of our packages in the working directory is not ours.
            [sys.executable, "-P", "-m", "ops.cli", *args],
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield
        if process.poll() is not None:
            last = path.read_text(errors="replace").strip().splitlines()[-1:]
            raise FatalError(f"cortex {args[0]} ended with {process.returncode}: {last}")
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _consumed(client: Redis, keys: Keys, name: str, received: Received) -> Iterator[None]:
    """Consume one master's queue, on a thread, and report success for every decision."""
    master = Master(client, name, keys=keys)
    stopping = threading.Event()

    def consume() -> None:
        while not stopping.is_set():
            for decision in master.decisions(wait=False):
                _take(master, decision, received)
            stopping.wait(0.02)

    thread = threading.Thread(target=consume, name=f"master-{name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(10)


def _take(master: Master, decision: Decision, received: Received) -> None:
    received.add(master.name, decision.task_id)
    master.report(decision, "success", duration_ms=1.0)


def _consumers(client: Redis, keys: Keys) -> int:
    if not client.exists(keys.tasks):
        return 0
    return len(client.xinfo_consumers(keys.tasks, WORKERS))


def _await(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise FatalError(f"demo: not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


def _await_index(client: Redis, keys: Keys, source: Path) -> None:
    """Wait until the index holds every file as it is on disk, whoever had to embed it."""
    with progress_bar("indexing") as show:

        def level() -> bool:
            begun = time.monotonic()
            known = current_versions(client, keys.file_versions("code"))
            report = reconcile(Tree(source, Rules()), known, lambda _changes: None)
            show(report.current, report.current + report.drift)
            time.sleep(2 * (time.monotonic() - begun))  # leaves the disk to the indexer
            return not report.drift

        _await(level, _PATIENCE, f"{source} is indexed; see .cortex/demo/indexer-0.log")
