"""A server that answers, but refuses: workers wait for longer each time and never acknowledge."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING

import redis

from chaos.arena import Arena
from chaos.fleet import Fleet
from chaos.matrix import Result, Row, Run
from chaos.proxied import ENDLESS, PROMISED, proxied, recovered
from chaos.servers import Server, free_port, wait_until
from streams.connect import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from chaos.proxy import Proxy

    # Makes the server refuse, until the block ends.
    Refusal = Callable[[Arena, Proxy], AbstractContextManager[None]]

_RATE = 500  # tasks a second
_WORKERS = 2
_TRIES = 20  # a second and a worker: more would be a worker that does not wait
_WORK = ("XREADGROUP", "EVALSHA", "XGROUP", "XPENDING", "XCLAIM")
_KEYS = 10_000  # each takes 200 us to load; after every 1,024 commands clients are answered
_ANSWERS = (  # what a server that stands alone does not say, or not when told to
    ("CLUSTERDOWN", "Hash slot not served"),
    ("MOVED", "866 127.0.0.1:1"),
    ("ASK", "866 127.0.0.1:1"),
    ("TRYAGAIN", "Multiple keys request during rehashing of slot"),
    ("MISCONF", "Errors writing to the AOF file: No space left on device"),
)


def refused(refusal: Refusal, said: str, options: Sequence[str], run: Run) -> Result:
    """Refuse again and again while tasks flow.

    Args:
        refusal: how.
        said: what workers must have complained of.
        options: of the server.
        run: the row's.
    """
    times = run.scale(1, 10)
    with proxied(run, *options, workers=_WORKERS) as (arena, proxy):
        producer = arena.produce(ENDLESS, _RATE)
        extra: list[str] = []
        slowest = 0.0
        arena.wait_finished(50)
        for _ in range(times):
            said_before = [arena.fleet.log(worker).count(said) for worker in range(_WORKERS)]
            before = [_tries(arena, worker) for worker in range(_WORKERS)]
            with refusal(arena, proxy):
                begun = time.monotonic()
                wait_until(
                    lambda old=said_before: all(  # type: ignore[misc] # mypy does not infer defaults
                        arena.fleet.log(worker).count(said) >= count + 3
                        for worker, count in enumerate(old)
                    ),
                    f"every worker complains of {said}",
                )
                seconds = time.monotonic() - begun
            ended = time.monotonic()
            arena.wait_finished(arena.finished() + 100, PROMISED)
            slowest = max(slowest, time.monotonic() - ended)
            for worker, count in enumerate(before):
                tries = _tries(arena, worker) - count
                if tries > _TRIES * (seconds + 1):
                    extra.append(f"worker {worker} does not wait: {tries} tries in {seconds:.1f} s")
        producer.stop()
        return recovered(arena, times, *extra, slowest=slowest)


def _tries(arena: Arena, worker: int) -> int:
    """How often a worker was refused when it read or settled."""
    return arena.fleet.log(worker).count('"retry_in"')


@contextmanager
def _answered(error: bytes, _arena: Arena, proxy: Proxy) -> Iterator[None]:
    proxy.answer(error, ENDLESS, *_WORK)
    yield
    proxy.heal()


@contextmanager
def _demoted(arena: Arena, _proxy: Proxy) -> Iterator[None]:
    """A replica of a primary that is not there keeps its data and takes no writes."""
    arena.client.replicaof("127.0.0.1", str(free_port()))
    yield
    arena.client.replicaof("NO", "ONE")


@contextmanager
def _loading(arena: Arena, _proxy: Proxy) -> Iterator[None]:
    """Killed, and loading its data slowly."""
    keys = [f"key:{number}" for number in range(_KEYS)]
    with arena.client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.set(key, "")
        pipe.execute()
    arena.server.kill()
    arena.server.start(wait=False)
    yield
    arena.server.wait()
    arena.client.delete(*keys)
    arena.client.bgrewriteaof()  # or the next loading would take much longer


@contextmanager
def _configured(name: str, value: str, arena: Arena, _proxy: Proxy) -> Iterator[None]:
    """A setting under which the server refuses; connections are made anew."""
    before = arena.client.config_get(name)[name] or ""
    arena.client.config_set(name, value)
    arena.client.client_kill_filter(_type="normal", skipme=True)
    yield
    arena.client.config_set(name, before)


@contextmanager
def _busy(arena: Arena, _proxy: Proxy) -> Iterator[None]:
    """A script that never ends, until it is killed."""
    client = connect(arena.url, role="busy")

    def run() -> None:
        with suppress(redis.ResponseError):  # killed
            client.eval("while true do end", 0)

    script = Thread(target=run, daemon=True)
    script.start()
    yield
    arena.client.script_kill()
    script.join()
    client.close()


def forgotten_scripts(run: Run) -> Result:
    """SCRIPT FLUSH again and again: scripts are sent anew, and nobody notices."""
    times = run.scale(20, 300)
    with proxied(run, workers=_WORKERS) as (arena, _):
        producer = arena.produce(ENDLESS, _RATE)
        for _ in range(times):
            arena.client.script_flush()
            arena.wait_finished(arena.finished() + 10)
        producer.stop()
        missed = arena.client.info("errorstats")["errorstat_NOSCRIPT"]["count"]
        noticed = [f"worker {n} noticed" for n in range(_WORKERS) if _tries(arena, n)]
        return recovered(arena, times, *noticed, note=f"{missed} times unknown")


def late_server(run: Run) -> Result:
    """Workers are there long before their server."""
    server = Server(run.directory / "server")
    tasks = run.scale(500, 5_000)
    with Fleet(server.url, run.directory).start(_WORKERS) as fleet:
        for worker in range(_WORKERS):
            # The second time it says so is after more seconds than one-shot commands wait.
            wait_until(
                lambda n=worker: fleet.log(n).count("waiting for") > 1 or n not in fleet.alive,  # type: ignore[misc] # as above
                "workers wait for their server",
            )
        extra = [f"worker {n} ended" for n in range(_WORKERS) if n not in fleet.alive]
        with Arena(run, server=server) as arena:
            begun = time.monotonic()
            arena.submit(tasks)
            arena.drain()
            return arena.result(1, time.monotonic() - begun, *extra)


def _row(name: str, said: str, refusal: Refusal, *options: str) -> Row:
    promise = "workers wait, never acknowledge, and go on within seconds"
    return Row(name, promise, partial(refused, refusal, said, options))


ROWS = (
    _row("readonly", "read only replica", _demoted),
    _row("loading", "loading the dataset", _loading, "--key-load-delay", "200"),
    _row("noreplicas", "NOREPLICAS", partial(_configured, "min-replicas-to-write", "1")),
    _row("busy", "BUSY", _busy, "--busy-reply-threshold", "100"),
    _row("password-changed", "already authenticated", partial(_configured, "requirepass", "x")),
    _row("too-many-clients", "max number of clients", partial(_configured, "maxclients", "1")),
    *(
        _row(code.lower(), text, partial(_answered, f"{code} {text}".encode()))
        for code, text in _ANSWERS
    ),
    Row("forgotten-scripts", "a script the server forgot is sent anew", forgotten_scripts),
    Row("late-server", "workers wait for a server as long as it takes", late_server),
)
