"""Faults of the indexer, and what files do while it reads them."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.arena import Arena
from chaos.faulty import SLOW, WordEncoder
from chaos.flow import Flow, faulty, switch_of
from chaos.matrix import Result, Row
from chaos.servers import wait_until
from chaos.trees import (
    Restless,
    Watch,
    differences,
    source_text,
    switch_tree,
    write,
    write_tree,
)
from contracts.errors import FatalError
from indexer.build import build_store
from streams.keys import INDEXERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.fleet import Fleet
    from chaos.matrix import Run
    from contracts.messages import Decision

RATE = 40.0  # tasks a second
LOAD = 100.0  # tasks a second, during a checkout
LAST = "last.py"
GROWTH_MB = 150.0
STALL_MS = 1_000.0  # all that the short part judges: the tests run on loaded machines
AGE_S = 3  # limit of the workers here
FRESH_MS = 2_800
INDEXER = {"SNAPSHOT_INTERVAL_S": "5", "INDEXER_LEASE_MS": "2000"}


def words(number: int) -> str:
    """Text of a task that some file of `write_tree` has words for."""
    return f"why is invoice {number} of part {number % 50} rendered twice"


def is_fresh(decision: Decision) -> bool:
    """Whether the index was said to be current when this was decided."""
    age = decision.index_age_ms
    return decision.context_status == "ok" and isinstance(age, int) and age < FRESH_MS


def is_outdated(decision: Decision) -> bool:
    """Whether a decision says that its index is too old, and how old it is."""
    age = decision.index_age_ms
    return decision.context_status == "limited" and isinstance(age, int) and age >= 1000 * AGE_S


def settled(arena: Arena) -> bool:
    """Whether the indexers are done with every change that was announced."""
    groups = arena.client.xinfo_groups(arena.parts[0].files)
    return all(
        each["pending"] == 0 and each["lag"] == 0
        for each in groups
        if each["name"] == INDEXERS.encode()
    )


def indexed(arena: Arena, path: str) -> object:
    """What the delta log has of a file."""
    return arena.client.hget(arena.parts[0].file_versions("code"), path)


def indexer_of(arena: Arena, root: Path, switch: Path, *, nice: int = 0) -> Fleet:
    """An indexer of a directory, not yet started."""
    store = arena.run.directory / "store"
    return faulty("indexer", arena, store, switch, nice=nice, CORTEX_ROOT=str(root), **INDEXER)


def worker_of(arena: Arena, switch: Path) -> Fleet:
    """A worker with context, not yet started."""
    store = arena.run.directory / "store"
    return faulty("worker", arena, store, switch, WORKER_INDEX_AGE_S=str(AGE_S))


def rss_mb(fleet: Fleet, field: str = "VmRSS") -> float:
    """Resident memory of the only process of a fleet."""
    status = Path(f"/proc/{fleet.processes[0].pid}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


def peak_rss_mb(fleet: Fleet) -> float:
    """The most it ever was."""
    return rss_mb(fleet, "VmHWM")


def frozen_indexer(run: Run) -> Result:
    """Freeze, kill and overload the indexer; every decision must say how old the index is."""
    wrong: list[str] = []
    rounds = run.scale(1, 5)
    root = run.directory / "root"
    write_tree(root, 40)
    with Arena(run) as arena:
        switch, file = switch_of(arena)
        with (
            indexer_of(arena, root, file).start() as indexer,
            worker_of(arena, file).start() as worker,
            Watch(arena, root),
        ):
            indexer.wait_reading()
            worker.wait_reading()
            with Flow(arena, RATE, words) as flow:
                recovery = flow.wait(is_fresh, "a current index")
                for _ in range(rounds):
                    indexer.freeze(0)
                    flow.wait(is_outdated, "outdated while the indexer is frozen")
                    indexer.thaw(0)
                    recovery = flow.wait(is_fresh, "current after the freeze")
                    if run.full:
                        indexer.kill(0)
                        flow.wait(is_outdated, "outdated while the indexer is dead")
                        indexer.replace(0)
                        recovery = max(recovery, flow.wait(is_fresh, "current with a new indexer"))
                    for fault in (SLOW, "encoder-raises") if run.full else (SLOW,):
                        switch.set(fault)
                        with Restless(root, run, per_second=20):
                            flow.wait(is_outdated, f"outdated while edits meet {fault}")
                        switch.set("")
                        recovery = max(recovery, flow.wait(is_fresh, f"current after {fault}"))
                # Nobody knows before an indexer has said so for the first time.
                told = [isinstance(each.index_age_ms, int) for each in flow.since(0)]
                if silent := told[told.index(True) :].count(False):
                    wrong.append(f"{silent} decisions do not say how old the index was")
            incidents = rounds * run.scale(2, 4)
            said = worker.log(0).count('"index outdated"')
            if not 1 <= said <= incidents:
                wrong.append(f"the alarm was raised {said} times for {incidents} incidents")
            arena.drain()
            return arena.result(incidents, recovery, *wrong)


def checkout(run: Run) -> Result:
    """Switch a large tree under routing load, and back, while the indexer is niced."""
    wrong: list[str] = []
    count = run.scale(1_500, 10_000)
    rounds = run.scale(1, 2)
    root, store = run.directory / "root", run.directory / "store"
    write_tree(root, count)
    build_store(root, store, WordEncoder())
    with Arena(run) as arena:
        _, file = switch_of(arena)
        with (
            indexer_of(arena, root, file, nice=10).start() as indexer,
            worker_of(arena, file).start() as worker,
            Watch(arena, root),
        ):
            indexer.wait_reading()
            worker.wait_reading()
            with Flow(arena, LOAD, words) as flow:
                flow.wait(is_fresh, "a current index")
                quiet, busy, recovery = [], [], 0.0
                began = [rss_mb(indexer), rss_mb(worker)]
                for revision in range(1, rounds + 1):
                    first = flow.mark()
                    flow.wait_more(run.scale(300, 1_000))
                    quiet += flow.latencies(first)
                    first = flow.mark()
                    switch_tree(root, count, revision)
                    begun = time.monotonic()
                    _write_last(arena, root, revision)
                    recovery = max(recovery, time.monotonic() - begun)
                    busy += flow.latencies(first)
                    wait_equal(arena, root)
                grown = [
                    peak_rss_mb(fleet) - before
                    for fleet, before in zip((indexer, worker), began, strict=True)
                ]
            arena.drain()
        if max(grown) > GROWTH_MB:
            wrong.append(f"memory grew by {grown} MB")
        calm, loaded = typical_p99(quiet), typical_p99(busy)
        if loaded > (2 * calm if run.full else STALL_MS):
            wrong.append(f"p99 {loaded:.0f} ms during the checkout, {calm:.0f} ms before")
        note = (
            f"p99 {calm:.0f} → {loaded:.0f} ms; indexer {began[0]:.0f} +{grown[0]:.0f} MB, "
            f"worker {began[1]:.0f} +{grown[1]:.0f} MB"
        )
        return arena.result(rounds, recovery, *wrong, note=note)


def _write_last(arena: Arena, root: Path, revision: int) -> None:
    """Write one more file, and wait until it and all that was announced before is indexed."""
    known = indexed(arena, LAST)
    write(root, LAST, source_text(10**6, revision))
    wait_until(
        lambda: indexed(arena, LAST) != known and settled(arena), "every change is indexed", 150
    )


def wait_equal(arena: Arena, root: Path) -> None:
    """Wait until the index is the tree.

    Raises:
        FatalError: it is not within 90 s; with some of the paths at which they differ.
    """
    found: list[str] = []

    def equal() -> bool:
        found[:] = differences(arena, root)
        return not found

    try:
        wait_until(equal, "the index is the tree", 90)
    except FatalError as error:
        raise FatalError(f"{error}: {len(found)} paths, {found[:10]}") from error


def typical_p99(latencies: Sequence[float]) -> float:
    """Median over windows of 100 of their 99th percentile: a hiccup of the machine is no trend."""
    windows = [latencies[start : start + 100] for start in range(0, len(latencies), 100)]
    full = [window for window in windows if len(window) == 100] or [latencies]  # noqa: PLR2004
    return statistics.median(sorted(window)[-2] for window in full)


def races(run: Run) -> Result:
    """Change files and directories at random while the indexer reads them, then be quiet."""
    rounds = run.scale(1, 10)
    wrong: list[str] = []
    recovery, changes = 0.0, 0
    root = run.directory / "root"
    write_tree(root, 200)
    with Arena(run) as arena:
        _, file = switch_of(arena)
        with (
            indexer_of(arena, root, file).start() as indexer,
            worker_of(arena, file).start() as worker,
            Watch(arena, root),
        ):
            indexer.wait_reading()
            worker.wait_reading()
            with Flow(arena, RATE, words) as flow:
                flow.wait(is_fresh, "a current index")
                for _ in range(rounds):
                    with Restless(root, run) as restless:
                        flow.wait_more(run.scale(120, 400))
                    changes += restless.changes
                    begun = time.monotonic()
                    wait_equal(arena, root)
                    recovery = max(recovery, time.monotonic() - begun)
            arena.drain()
            log = indexer.log(0)
        wrong += [
            f"the indexer's log: {line[:300]}" for line in log.splitlines() if '"exception"' in line
        ]
        wrong += ["the indexer's log has a traceback"] if "Traceback" in log else []
        return arena.result(changes, recovery, *wrong)


def _bad(line: str) -> bool:
    return "Traceback" in line or '"exception"' in line or '"level":"error"' in line


ROWS = (
    Row(
        "frozen-indexer",
        "an indexer frozen, dead or behind: every decision says how old the index is, and an alarm",
        frozen_indexer,
    ),
    Row(
        "checkout",
        "thousands of files switched under load: index = rescan, memory bounded, p99 ≤ 2 x",
        checkout,
    ),
    Row(
        "file-races",
        "files and directories change while they are read: index = rescan, no traceback",
        races,
    ),
)
