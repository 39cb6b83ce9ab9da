"""Half an hour of load with a fault every few seconds: `python -m chaos.soak`.

One worker is never killed, only paused, cut off and slowed down: its memory and file descriptors
must be flat. Everything that was submitted must come out once, whatever happened meanwhile.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from chaos.arena import MASTERS, Arena
from chaos.collector import Collector
from chaos.history import violations
from chaos.matrix import Run
from chaos.proxy import Proxy
from chaos.servers import Server, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chaos.connection import Direction

_RATE = 200.0  # tasks a second
_LEASE_S = 1.0
_PAUSE = (5.0, 20.0)  # seconds between faults
_SAMPLE = 5.0  # seconds between samples of memory and descriptors
_WARM = 0.2  # share of the time that does not count for flatness
_GROWTH = (1.10, 8 << 20)  # a survivor may grow by this factor and these bytes
_MORE_FILES = 4
_WORKERS = 3
_SURVIVOR = 0
_WAYS: tuple[Direction, ...] = ("requests", "replies")


class Sample(NamedTuple):
    """What a process held at one moment: bytes of resident memory, open file descriptors."""

    memory: int
    files: int

    @classmethod
    def of(cls, pid: int) -> Sample:
        """Look at a process."""
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return cls(pages * os.sysconf("SC_PAGE_SIZE"), len([*Path(f"/proc/{pid}/fd").iterdir()]))


class Soak:
    """One soak: the queue under load, and what can be done to it."""

    def __init__(self, arena: Arena, proxy: Proxy, chance: random.Random) -> None:
        self.arena, self.proxy, self.chance = arena, proxy, chance
        self.faults: tuple[Callable[[], None], ...] = (
            self.kill_a_worker,
            self.replace_a_worker,
            self.pause_a_worker,
            self.kill_the_server,
            self.freeze_the_server,
            self.run_out_of_memory,
            self.cut_connections,
            self.hold_bytes,
            self.slow_down,
            self.half_close,
            self.lose_replies,
            self.lose_requests,
            self.forget_scripts,
        )
        self._rest = threading.Event().wait  # a clock, not a signal: faults last for a while

    def kill_a_worker(self) -> None:
        """`kill -9`, and a new one in its place."""
        victim = self.chance.randrange(_SURVIVOR + 1, _WORKERS)
        self.arena.fleet.kill(victim)
        self.arena.fleet.replace(victim)

    def replace_a_worker(self) -> None:
        """TERM, and a new one in its place."""
        victim = self.chance.randrange(_SURVIVOR + 1, _WORKERS)
        self.arena.fleet.terminate(victim)
        self.arena.fleet.replace(victim)

    def pause_a_worker(self) -> None:
        """SIGSTOP for three leases."""
        victim = self.chance.randrange(_WORKERS)
        self.arena.fleet.freeze(victim)
        self._rest(3 * _LEASE_S)
        self.arena.fleet.thaw(victim)

    def kill_the_server(self) -> None:
        """`kill -9`, and a restart."""
        self.arena.server.kill()
        self._rest(self.chance.uniform(0, 2))
        self.arena.server.start()

    def freeze_the_server(self) -> None:
        """SIGSTOP for a while."""
        self.arena.server.freeze()
        self._rest(self.chance.uniform(0.5, 4))
        self.arena.server.thaw()

    def run_out_of_memory(self) -> None:
        """Allow the server no more than it has."""
        self.arena.client.config_set("maxmemory", 1)
        self._rest(self.chance.uniform(0.5, 3))
        self.arena.client.config_set("maxmemory", 0)

    def cut_connections(self) -> None:
        """Reset every connection of the workers."""
        self.proxy.cut()

    def hold_bytes(self) -> None:
        """Let nothing through in one direction for a while."""
        way = self.chance.choice(_WAYS)
        self.proxy.hold(way)
        self._rest(self.chance.uniform(0.5, 4))
        self.proxy.release(way)

    def slow_down(self) -> None:
        """Delay every chunk."""
        self.proxy.delay(self.chance.uniform(0.05, 0.5))
        self._rest(self.chance.uniform(1, 4))
        self.proxy.delay(0)

    def half_close(self) -> None:
        """End one direction of every connection."""
        self.proxy.half_close(self.chance.choice(_WAYS))

    def lose_replies(self) -> None:
        """Carry out some requests whose replies nobody gets."""
        self.proxy.lose_replies(self.chance.randrange(1, 20), "EVALSHA", "XREADGROUP")

    def lose_requests(self) -> None:
        """Swallow some requests."""
        self.proxy.lose_requests(self.chance.randrange(1, 20), "EVALSHA", "XREADGROUP")

    def forget_scripts(self) -> None:
        """Have the server forget every script."""
        self.arena.client.script_flush()


def main(
    *,
    minutes: Annotated[float, typer.Option(min=0.1)] = 30.0,
    seed: Annotated[int | None, typer.Option(help="Plays the same faults again.")] = None,
) -> None:
    """Run the soak; exit code 0 only if nothing was lost, doubled or leaked."""
    seed = random.randrange(2**32) if seed is None else seed
    _say(f"seed {seed}, {minutes:g} minutes, {_RATE:.0f} tasks/s, {_WORKERS} workers")
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        run = Run(Path(directory), random.Random(seed), full=True)
        server = Server(run.directory / "server", "--appendfsync", "always").start()
        with (
            Proxy(server.socket) as proxy,
            Arena(
                run,
                server=server,
                worker_url=proxy.url,
                keep=False,
                WORKER_LEASE_MS=str(int(1000 * _LEASE_S)),
                WORKER_DECISIONS_MAX="10000",
            ) as arena,
            Collector(arena.url, arena.parts, MASTERS) as out,
        ):
            found = _soak(Soak(arena, proxy, run.chance), out, 60 * minutes)
    for line in found:
        _say(line)
    raise typer.Exit(bool(found))


def _soak(soak: Soak, out: Collector, seconds: float) -> list[str]:
    arena, done = soak.arena, Counter[str]()
    arena.fleet.start(_WORKERS).wait_reading()
    producer = arena.produce(int(_RATE * seconds), _RATE)
    until, samples = time.monotonic() + seconds, list[Sample]()
    sampler = threading.Thread(
        target=_sample, args=(arena.fleet.processes[_SURVIVOR].pid, until, samples), daemon=True
    )
    sampler.start()
    while time.monotonic() < until:
        fault = soak.chance.choice(soak.faults)
        _say(f"{until - time.monotonic():5.0f} s left, {out.finished} decided: {fault.__name__}")
        fault()
        done[fault.__name__] += 1
        threading.Event().wait(min(soak.chance.uniform(*_PAUSE), until - time.monotonic()))
    soak.proxy.heal()
    producer.join(60)
    took = arena.drain(60)
    sampler.join()
    wait_until(lambda: out.finished >= arena.history.count("ok"), "everything is collected")
    _say(f"{sum(done.values())} faults {dict(done)}; the queue empty after {took:.1f} s")
    exits = [p.poll() for p in arena.fleet.processes]
    found = violations(arena.history.seen, out.outputs())
    found += [f"worker {n} ended with {code}" for n, code in enumerate(exits) if code is not None]
    return [*found, *leaks(samples)]


def _sample(pid: int, until: float, samples: list[Sample]) -> None:
    while time.monotonic() < until:
        samples.append(Sample.of(pid))
        threading.Event().wait(_SAMPLE)


def leaks(samples: Sequence[Sample]) -> list[str]:
    """Compare a survivor's first third, once warm, with its last third."""
    warm = samples[int(_WARM * len(samples)) :]
    third = max(1, len(warm) // 3)
    early, late = (
        Sample(int(median(s.memory for s in part)), int(median(s.files for s in part)))
        for part in (warm[:third], warm[-third:])
    )
    _say(
        f"survivor: {early.memory >> 20} → {late.memory >> 20} MiB, "
        f"{early.files} → {late.files} open files"
    )
    found = []
    if late.memory > _GROWTH[0] * early.memory + _GROWTH[1]:
        found.append(f"memory grew from {early.memory} to {late.memory} bytes")
    if late.files > early.files + _MORE_FILES:
        found.append(f"open files grew from {early.files} to {late.files}")
    return found


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    typer.run(main)
