"""A disk that garbles what was written to it, and one that is full."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import time
from collections import Counter
from contextlib import contextmanager, redirect_stderr, suppress
from typing import TYPE_CHECKING, Any

from chaos.aof import Saved, touches_payload
from chaos.arena import Arena
from chaos.matrix import Result, Row
from chaos.proxied import ENDLESS, PROMISED, recovered
from chaos.servers import Server, wait_until
from contracts.errors import FatalError
from streams import embedded
from streams.connect import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from random import Random

    from redis import Redis

    from chaos.matrix import Run

_STREAM = b"stream"
_SAYS = "valkey.log"  # what an error must name
_DISK = 32  # MiB, of the disk that fills up


def _state(client: Redis) -> dict[Any, Any]:
    """Everything in a server."""
    return {
        key: client.xrange(key) if client.type(key) == _STREAM else client.get(key)
        for key in sorted(client.keys("*"))
    }


def _decided(run: Run) -> tuple[Saved, dict[Any, Any]]:
    """Save the files of a server with tasks that were decided, before and after a rewrite."""
    with Arena(run) as arena:
        arena.fleet.start(1).wait_reading()
        arena.submit(50)
        arena.drain()
        arena.client.bgrewriteaof()
        files = arena.server.directory / "appendonlydir"
        wait_until(lambda: not any(".1." in each.name for each in files.iterdir()), "a new base")
        arena.submit(run.scale(50, 200))
        arena.drain()
        arena.fleet.close()
        state = _state(arena.client)
        arena.server.stop()
        return Saved(arena.server.directory, run.directory / "saved"), state


def garbled_log(run: Run) -> Result:
    """Bits of the log flip, and stretches of it become garbage."""
    flips, stretches = run.scale(20, 240), run.scale(5, 60)
    saved, state = _decided(run)
    came_of: Counter[str] = Counter()
    found: list[str] = []
    server = Server(run.directory / "restored")
    for number in range(flips + stretches):
        at = run.chance.randrange(len(saved.increment))
        length = 1 if number < flips else run.chance.randrange(2, 64)
        damaged = bytearray(saved.increment)
        if length == 1:
            damaged[at] ^= 1 << run.chance.randrange(8)
        else:
            damaged[at : at + length] = run.chance.randbytes(length)
        saved.put(server.directory, bytes(damaged))
        server.log.unlink(missing_ok=True)
        outcome = _outcome(server, state)
        came_of[outcome] += 1
        if outcome == "silent" and not touches_payload(saved.increment, at, length):
            found.append(f"{length} bytes of layout at {at} changed, and the server said nothing")
    note = ", ".join(f"{count} {outcome}" for outcome, count in sorted(came_of.items()))
    return Result(runs=flips + stretches, violations=tuple(found), note=f"{note} (payload)")


def _outcome(server: Server, state: dict[Any, Any]) -> str:
    """Start a server on damaged files: `refused`, `said` in its log, `silent`, or `harmless`."""
    try:
        with server, server.client() as client:
            now = _state(client)
    except FatalError:
        log = server.log.read_text(errors="replace")
        return "refused" if "reading the append only file" in log else "silent"
    log = server.log.read_text(errors="replace")
    if "Truncating the AOF" in log or "AOF-loading" in log:
        return "said"
    return "harmless" if now == state else "silent"


def _flip(file: Path, chance: Random) -> None:
    content = bytearray(file.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


def _cut(file: Path, chance: Random) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: -chance.randrange(1, len(content) // 2)])


# What happens to the files of an embedded server: name of the file, and what is done to it.
_INJURIES: tuple[tuple[str, Callable[[Path, Random], None]], ...] = tuple(
    (name, injury)
    for name in ("increment", "base", "manifest")
    for injury in (lambda file, _chance: file.unlink(), _flip, _cut)
)


def injured_files(run: Run) -> Result:
    """Files of an embedded server are missing, damaged or cut short."""
    saved, state = _decided(run)
    names = {"increment": saved.name, "base": saved.base, "manifest": saved.manifest}
    came_of: Counter[str] = Counter()
    found: list[str] = []
    for number, (name, injure) in enumerate(_INJURIES * run.scale(1, 10)):
        directory = run.directory / f"embedded{number}"
        injure(saved.put(directory) / names[name], run.chance)
        outcome, said = _embedded_outcome(directory, state)
        came_of[outcome] += 1
        if outcome == "silent" and (name, injure) != ("increment", _flip):
            found.append(f"{name} damaged ({injure.__name__}), and nobody said so: {said}")
    note = ", ".join(f"{count} {outcome}" for outcome, count in sorted(came_of.items()))
    return Result(runs=sum(came_of.values()), violations=tuple(found), note=note)


def _embedded_outcome(directory: Path, state: dict[Any, Any]) -> tuple[str, str]:
    """As `_outcome`, for who connects to the embedded server; and what they are told."""
    told = io.StringIO()
    try:
        with redirect_stderr(told), connect(data_dir=directory) as client:
            now = _state(client)
    except FatalError as error:
        return "refused" if _SAYS in str(error) else "silent", str(error)
    finally:
        embedded.release(directory)
        shutil.rmtree(directory)  # its guard goes at once
    if told.getvalue():
        return "said", told.getvalue()
    return "harmless" if now == state else "silent", ""


@contextmanager
def _small_disk(at: Path) -> Iterator[Path]:
    at.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK}m", "tmpfs", str(at)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise FatalError(f"this row needs a disk of its own: {mounted.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def full_disk(run: Run) -> Result:
    """The disk fills up while tasks flow, and room is made again."""
    times = run.scale(2, 10)
    with (
        _small_disk(run.directory / "disk") as disk,
        Arena(run, server=Server(disk / "server")) as arena,
    ):
        arena.fleet.start(2).wait_reading()
        producer = arena.produce(ENDLESS, 300)
        slowest = 0.0
        for _ in range(times):
            arena.wait_finished(arena.finished() + 100)
            refused = arena.history.count("failed")
            noticed = [arena.fleet.log(n).count("MISCONF") for n in (0, 1)]
            with _filled(disk):
                wait_until(lambda n=refused: arena.history.count("failed") > n, "submits refused")  # type: ignore[misc] # mypy does not infer defaults
                wait_until(
                    lambda before=noticed: all(  # type: ignore[misc] # as above
                        arena.fleet.log(n).count("MISCONF") > before[n] + 2 for n in (0, 1)
                    ),
                    "workers are refused",
                )
            again = time.monotonic()
            arena.wait_finished(arena.finished() + 100, PROMISED)
            slowest = max(slowest, time.monotonic() - again)
        producer.stop()
        arena.drain(PROMISED)
        arena.server.kill()  # what was confirmed must be on the disk by now, not in memory
        arena.server.start()
        return recovered(arena, times, slowest=slowest)


@contextmanager
def _filled(disk: Path) -> Iterator[None]:
    """Leave no byte of a disk free."""
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    yield
    filler.unlink()


ROWS = (
    Row("garbled-log", "refused or said, where a server can notice", garbled_log),
    Row("injured-files", "refused with the way out, or said; never silent", injured_files),
    Row(
        "full-disk",
        "submits are refused, nothing is acknowledged, all resumes",
        full_disk,
        bounded=os.geteuid() == 0,  # only root may mount a small disk
    ),
)
