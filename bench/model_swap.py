"""What a change of models costs the tasks that flow meanwhile, and how soon it is followed.

`python -m bench.model_swap --model DIR [--rate N] [--rounds N] [--json]`. Tasks arrive at a steady
rate. First nothing changes; then, in every round, a version that the worker has never seen is
registered, challenges, is promoted and rolled back, a second apart. The versions are copies of one
model with another name, so that only opening and exchanging them is measured.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from bench.contenders import CORTEX, Contender
from bench.process import running
from bench.report import show, table
from bench.server import server
from bench.workload import tasks
from contracts.parse import parse_decision
from registry.folder import CONFIG, MANIFEST, seal
from registry.registry import Registry
from streams.connect import connect
from streams.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from contracts.messages import Decision

KEYS = Keys()
APART_S = 1.0
PATIENCE_S = 60.0


class WrongCountError(Exception):
    """A task was decided twice or never."""


class Change(NamedTuple):
    """A change of aliases.

    Attributes:
        begun: when it may have become visible, by time.time().
        done: when it certainly was.
        champion: who it made champion, if another one.
    """

    begun: float
    done: float
    champion: str | None = None


def variant(model: Path, folder: Path, number: int) -> Path:
    """Copy a model under a version of its own."""
    shutil.copytree(model, folder)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (folder / MANIFEST).unlink()
    config = msgspec.json.decode((folder / CONFIG).read_bytes())
    (folder / CONFIG).write_bytes(msgspec.json.encode(config | {"seed": number}))
    seal(folder, data_fingerprint="bench", created_at="2026-01-01T00:00:00Z")
    return folder


@contextmanager
def flow(client: Redis, rate: int) -> Iterator[list[str]]:
    """Submit tasks at a rate while the block runs; the list holds their ids."""
    sent: list[str] = []
    stopping = threading.Event()

    def submit() -> None:
        due = time.perf_counter()
        for task_id, description in tasks(10**9):
            due += 1 / rate
            if stopping.wait(max(0.0, due - time.perf_counter())):
                return
            client.xadd(KEYS.tasks, {"task_id": task_id, "description": description})
            sent.append(task_id)

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        yield sent
    finally:
        stopping.set()
        thread.join()


def rounds(registry: Registry, model: Path, home: Path, count: int) -> Iterator[Change]:
    """Change what serves, `count` times three changes; yields each when it has happened."""
    first = registry.aliases()["champion"]
    for number in range(1, count + 1):
        version = registry.add(variant(model, home / f"{number}", number))
        begun = time.time()
        registry.challenge(version, who="bench")
        yield Change(begun, time.time())
        begun = time.time()
        registry.promote(who="bench")
        yield Change(begun, time.time(), version)
        begun = time.time()
        registry.rollback(who="bench")
        yield Change(begun, time.time(), first)


def decided(client: Redis) -> list[tuple[float, Decision]]:
    """Return every decision with the time it was settled, by the server's clock."""
    entries: Any = client.xrange(KEYS.decisions)
    return [
        (int(entry_id.partition(b"-")[0]) / 1000, parse_decision(fields[b"decision"]))
        for entry_id, fields in entries
    ]


def await_decisions(client: Redis, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while client.xlen(KEYS.decisions) < count and time.monotonic() < deadline:
        time.sleep(0.01)


def followed(decisions: list[tuple[float, Decision]], changes: list[Change]) -> list[float]:
    """Seconds until the last decision by another champion than the one a change made."""
    seconds = []
    ends = [each.begun for each in changes[1:]] + [time.time()]
    for change, end in zip(changes, ends, strict=True):
        if change.champion is not None:
            others = [
                at - change.done
                for at, decision in decisions
                if change.done < at < end and decision.model_version != change.champion
            ]
            seconds.append(max(others, default=0.0))
    return seconds


def spread(latencies: list[float]) -> dict[str, float]:
    parts = statistics.quantiles(latencies, n=1000, method="inclusive")
    return {"p50": parts[499], "p99": parts[989], "p99.9": parts[998], "max": max(latencies)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of a model")
    parser.add_argument("--rate", type=int, default=100, help="tasks a second")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, server() as url, connect(url) as client:
        home = Path(name)
        registry = Registry(home / "models")
        registry.promote(registry.add(variant(options.model, home / "0", 0)), who="bench")
        environment = CORTEX.environment | {
            "ENABLE_NEURAL": "true",
            "AB_TEST_PERCENTAGE": "0.5",
            "MODEL_PATH": str(registry.root),
        }
        worker = Contender("worker", (), CORTEX.worker, 0, environment)
        with running(worker, url), flow(client, options.rate) as sent:
            await_decisions(client, 5 * options.rate)
            begun = time.time()
            time.sleep(3 * APART_S * options.rounds)
            changed = time.time()
            changes = []
            for change in rounds(registry, options.model, home, options.rounds):
                changes.append(change)
                time.sleep(APART_S)
            ended = time.time()
        with running(worker, url):
            await_decisions(client, len(sent))
        decisions = decided(client)
    if sorted(each.task_id for _, each in decisions) != sorted(sent):
        raise WrongCountError
    steady = spread([each.latency_ms for at, each in decisions if begun < at < changed])
    changing = spread([each.latency_ms for at, each in decisions if changed < at < ended])
    waits = followed(decisions, changes)
    figures = {"steady_ms": steady, "changing_ms": changing, "followed_s": max(waits)}
    rows = [
        (f"latency, {what}", *(f"{value:.1f}" for value in found.values()))
        for what, found in (("nothing changes", steady), ("models change", changing))
    ]
    header = (f"{options.rate} tasks/s, {len(changes)} changes, ms", *steady)
    markdown = table(header, rows) + (
        f"\n\nEvery task was decided once; a change was followed within {max(waits):.2f} s"
        f" (median {statistics.median(waits):.2f} s)."
    )
    show(figures, markdown, as_json=options.json)


if __name__ == "__main__":
    main()
