"""Faults of what a worker calls for context: the encoder, the index, the files of the index."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.arena import Arena
from chaos.faulty import FAULTS, WordEncoder
from chaos.flow import Flow, faulty, switch_of
from chaos.matrix import Result, Row
from indexer.build import build_store
from vectors.base import ROWS_FILE

if TYPE_CHECKING:
    from chaos.faulty import Switch
    from chaos.fleet import Fleet
    from chaos.matrix import Run

RATE = 80.0  # tasks a second
PROMPT_MS = 1_000.0  # a decision that no time-out held up, on a loaded machine
TIMEOUT_MS = 4_000.0  # one time-out of 2 s, on a loaded machine


def words(number: int) -> str:
    """Text of a task, unlike any other, that the index has something for."""
    return f"fix the login bug number {number} of session_{number % 20}"


def index_some(run: Run, revision: int = 0) -> Path:
    """Write a store of twenty files; returns it."""
    source, store = run.directory / "source", run.directory / "store"
    source.mkdir(exist_ok=True)
    for number in range(20):
        text = f"def login_of_session_{number}():\n    return {revision}  # the bug is here\n"
        (source / f"session_{number}.py").write_text(text)
    build_store(source, store, WordEncoder())
    return store


def threads(fleet: Fleet) -> int:
    """How many threads the only worker has."""
    status = Path(f"/proc/{fleet.processes[0].pid}/status").read_text()
    return int(status.partition("Threads:")[2].split()[0])


def faults_of_encoder_and_index(run: Run) -> Result:
    """Switch every fault on and off under a running worker; then TERM one whose encoder hangs."""
    wrong: list[str] = []
    with Arena(run) as arena:
        switch, file = switch_of(arena)
        fleet = faulty("worker", arena, index_some(run), file)
        with fleet.start():
            fleet.wait_reading()
            with Flow(arena, RATE, words) as flow:
                flow.wait_status("ok")
                before = threads(fleet)
                faults = list(FAULTS) * run.scale(1, 3)
                run.chance.shuffle(faults)
                recovery = max(_inject(fault, switch, flow, wrong, run) for fault in faults)
                if threads(fleet) > before:
                    wrong.append(f"{before} threads became {threads(fleet)}")
                wrong += _log_faults(fleet, len(faults))
                switch.set("encoder-hangs")
                flow.wait_status("limited")
                if (code := fleet.terminate(0)) != 0:
                    wrong.append(f"TERM while the encoder hangs: exit {code}")
                switch.set("")
                fleet.replace(0)
                flow.wait_status("ok")
            arena.drain()
            return arena.result(len(faults) + 1, recovery, *wrong)


def _inject(fault: str, switch: Switch, flow: Flow, wrong: list[str], run: Run) -> float:
    """Let a fault last for a while; returns the seconds until context is `ok` after it."""
    begun = flow.mark()
    switch.set(fault)
    flow.wait_status(FAULTS[fault])
    known = flow.mark()
    flow.wait_more(run.scale(20, 800 if "hangs" in fault else 100), within=120)
    switch.set("")
    recovery = flow.wait_status("ok")
    worst = max(each.latency_ms for each in flow.since(begun))
    if worst > TIMEOUT_MS:
        wrong.append(f"{fault}: a decision took {worst:.0f} ms")
    slow = [
        each.latency_ms for each in flow.since(known + int(RATE)) if each.latency_ms > PROMPT_MS
    ]
    if slow:
        wrong.append(f"{fault}: {len(slow)} decisions were held up after the first time-out")
    return recovery


def _log_faults(fleet: Fleet, incidents: int) -> list[str]:
    """What the log says too often, or not at all."""
    lines = fleet.log(0).splitlines()
    said = sum('"in trouble"' in line or '"searching by words alone"' in line for line in lines)
    errors = [line for line in lines if '"error"' in line.partition('"level":')[2][:10]]
    wrong = [] if 1 <= said <= incidents else [f"{incidents} incidents were said {said} times"]
    return [*wrong, *(f"an error in the log: {line[:200]}" for line in errors)]


def damaged_chunk_store(run: Run) -> Result:
    """Overwrite the pages of a chunk store under a worker; put a whole snapshot in its place."""
    wrong: list[str] = []
    rounds = run.scale(2, 10)
    recovery = 0.0
    with Arena(run) as arena:
        _, file = switch_of(arena)
        store = index_some(run)
        fleet = faulty("worker", arena, store, file)
        with fleet.start():
            fleet.wait_reading()
            with Flow(arena, RATE, words) as flow:
                for revision in range(1, rounds + 1):
                    flow.wait_status("ok")
                    for rows in store.glob(f"code/*/{ROWS_FILE}"):
                        _overwrite(rows, run)
                    flow.wait_status("unavailable", "limited")
                    flow.wait_more(20)
                    index_some(run, revision)
                    recovery = max(recovery, flow.wait_status("ok"))
                for rows in store.glob(f"code/*/{ROWS_FILE}"):
                    rows.unlink()  # open files outlive their names
                flow.wait_more(20)
                statuses = {each.context_status for each in flow.since(flow.mark() - 10)}
                if statuses - {"ok"}:
                    wrong.append(f"after the file's name was removed: {statuses}")
            wrong += _log_faults(fleet, rounds)
            arena.drain()
            return arena.result(rounds + 1, recovery, *wrong)


def _overwrite(file: Path, run: Run) -> None:
    """Put noise over everything, in place: the process under test has the file open."""
    with file.open("r+b") as opened:
        opened.write(run.chance.randbytes(file.stat().st_size))
        opened.flush()
        os.fsync(opened.fileno())


ROWS = (
    Row(
        "encoder-and-index-faults",
        "crash, hang, NaN and nonsense of encoder or index: rules decide, one time-out a hang",
        faults_of_encoder_and_index,
    ),
    Row(
        "damaged-chunk-store",
        "a chunk store overwritten or unlinked under a worker: decisions go on without context",
        damaged_chunk_store,
    ),
)
