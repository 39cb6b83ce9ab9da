"""An arena whose workers reach the queue through a proxy, and how rows under a fault end."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from chaos.arena import Arena
from chaos.proxy import Proxy
from chaos.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.matrix import Result, Run

PROMISED = 15.0  # seconds from the end of a fault until everything is done
ENDLESS = 100_000  # tasks: more than are submitted before a row stops its producer


@contextmanager
def proxied(
    run: Run, *options: str, workers: int = 2, lease_ms: int = 1_000
) -> Iterator[tuple[Arena, Proxy]]:
    """Run workers behind a proxy; producer and checker go past it.

    Args:
        run: the row's.
        options: of the server.
        workers: how many; they read when the block begins.
        lease_ms: of the workers.
    """
    server = Server(run.directory / "server", *options)
    with (
        Proxy(server.socket) as proxy,
        Arena(run, server=server, worker_url=proxy.url, WORKER_LEASE_MS=str(lease_ms)) as arena,
    ):
        arena.fleet.start(workers).wait_reading()
        yield arena, proxy


def recovered(arena: Arena, runs: int, *extra: str, slowest: float = 0.0, note: str = "") -> Result:
    """Drain within the promised seconds after a fault, and judge what came out.

    No task was at fault, so that a dead letter is a violation too.

    Args:
        arena: with its faults at an end.
        runs: how many there were.
        extra: violations found already.
        slowest: seconds, of the recoveries before the last.
        note: for the table.
    """
    recovery = max(slowest, arena.drain(PROMISED))
    dead = arena.outputs().dead
    buried = [f"dead letters without a cause: {len(dead)}"] if dead else []
    return arena.result(runs, recovery, *extra, *buried, note=note)
