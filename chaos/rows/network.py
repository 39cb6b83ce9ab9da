"""Faults of the network between workers and the queue, and between producers and the queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chaos.matrix import Result, Row, Run
from chaos.producer import Producer
from chaos.proxied import ENDLESS, PROMISED, proxied, recovered
from chaos.proxy import Proxy
from chaos.servers import wait_until
from streams.connect import SOCKET_TIMEOUT, connect
from streams.keys import WORKERS
from streams.scripts import source

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.arena import Arena
    from chaos.connection import Direction, Loss

_RATE = 500  # tasks a second
_SETTLE = f"EVALSHA {source('settle')[1]}"
_SWEEP = f"EVALSHA {source('stale')[1]}"
_CLAIM = "XCLAIM"
_LEASE_MS = 5_000  # the default: a lease must outlast a round trip
_WAYS: tuple[tuple[Direction, ...], ...] = (("requests", "replies"), ("replies",), ("requests",))
_EXCHANGES = ("XREADGROUP", _SETTLE, _SWEEP, _CLAIM)


def lost_requests(run: Run) -> Result:
    """Requests of workers vanish, each with its connection."""
    return _lose(run, "lost request", Proxy.lose_requests)


def lost_replies(run: Run) -> Result:
    """Requests of workers are carried out, but nobody hears of it."""
    return _lose(run, "lost reply", Proxy.lose_replies)


def _lose(run: Run, loss: Loss, lose: Callable[..., None]) -> Result:
    commands = list(_EXCHANGES) * run.scale(2, 25)
    run.chance.shuffle(commands)
    with proxied(run) as (arena, proxy):
        producer = arena.produce(ENDLESS, _RATE)
        for number, command in enumerate(commands, 1):
            if command == _CLAIM:
                _abandon(arena)
            lose(proxy, 1, command)
            wait_until(lambda n=number: proxy.injected[loss] >= n, f"{command[:12]} lost")  # type: ignore[misc] # mypy does not infer defaults
        producer.stop()
        return recovered(arena, len(commands))


def _abandon(arena: Arena) -> None:
    """Leave some entries with a consumer that is gone, for the workers to claim."""
    (keys,) = arena.parts
    wait_until(
        lambda: arena.client.xreadgroup(WORKERS, "gone", {keys.tasks: ">"}, count=5),
        "something to abandon",
    )


def lost_submits(run: Run) -> Result:
    """Submits vanish, or their replies do; producers that try again and such that do not."""
    losses = run.scale(5, 50)
    with proxied(run) as (arena, proxy):
        producers = [
            Producer(
                lambda: connect(proxy.url, role="producer"),
                arena.parts,
                arena.history,
                once=once,
                rate=_RATE,
            )
            for once in (True, False)
        ]
        for producer in producers:
            producer.start(arena.ids(ENDLESS))
        # Chance says whose submit is lost: go on until it was one that is not tried again.
        while _lost(proxy) < losses or not arena.history.count("unknown"):
            lost = _lost(proxy)
            run.chance.choice((proxy.lose_requests, proxy.lose_replies))(1, "XADD")
            wait_until(lambda n=lost: _lost(proxy) > n, "a submit lost")  # type: ignore[misc] # as above
        for producer in producers:
            producer.stop()
            producer.join()
        note = f"{arena.history.count('unknown')} submits left unknown"
        return recovered(arena, _lost(proxy), note=note)


def _lost(proxy: Proxy) -> int:
    return proxy.injected["lost request"] + proxy.injected["lost reply"]


def cuts(run: Run) -> Result:
    """All connections of the workers are reset, again and again."""
    times = run.scale(15, 150)
    with proxied(run) as (arena, proxy):
        producer = arena.produce(ENDLESS, _RATE)
        for _ in range(times):
            before = proxy.injected["cut"]
            wait_until(lambda was=before: proxy.cut() and proxy.injected["cut"] > was, "a cut")  # type: ignore[misc] # as above
            time.sleep(run.chance.uniform(0, 0.2))  # a fault comes at any time
        producer.stop()
        return recovered(arena, times, note=f"{proxy.injected['cut']} connections cut")


def half_closed(run: Run) -> Result:
    """One direction of every connection ends, while the other stays open."""
    times = run.scale(10, 60)
    with proxied(run) as (arena, proxy):
        producer = arena.produce(ENDLESS, _RATE)
        for number in range(times):
            wait_until(lambda: proxy.connections, "workers connect")
            proxy.half_close(("requests", "replies")[number % 2])
            _goes_on(arena)
        producer.stop()
        return recovered(arena, times)


def _goes_on(arena: Arena, within: float = PROMISED, more: int = 50) -> None:
    """Wait until some more tasks are finished."""
    arena.wait_finished(arena.finished() + more, within)


def latency(run: Run) -> Result:
    """A round trip takes 50-2,000 ms; then as long on average, but never the same."""
    seconds = [0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0] if run.full else [0.05, 0.4]
    with proxied(run, workers=3, lease_ms=_LEASE_MS) as (arena, proxy):
        producer = arena.produce(ENDLESS, 100)
        for round_trip in seconds:
            proxy.delay(round_trip / 2)
            _goes_on(arena, 60)
            goal = arena.finished() + 50

            def varied(longest: float = round_trip, goal: int = goal) -> bool:
                proxy.delay(run.chance.uniform(0, longest))
                return arena.finished() >= goal

            wait_until(varied, "more tasks finished under varying latency", 60)
        extra = _ends_in_time(arena)
        producer.stop()
        proxy.heal()
        return recovered(arena, 2 * len(seconds), *extra)


def trickle(run: Run) -> Result:
    """Each connection carries a few thousand bytes a second."""
    rates = [50_000.0, 20_000.0, 5_000.0] if run.full else [20_000.0]
    with proxied(run, workers=3, lease_ms=_LEASE_MS) as (arena, proxy):
        producer = arena.produce(ENDLESS, 100)
        for rate in rates:
            proxy.trickle(rate)
            _goes_on(arena, 60)
        extra = _ends_in_time(arena)
        producer.stop()
        proxy.heal()
        return recovered(arena, len(rates), *extra)


def black_hole(run: Run) -> Result:
    """Nothing comes through for longer than connections are waited for; then all of it does."""
    times = run.scale(1, 5)
    with proxied(run, workers=3, lease_ms=_LEASE_MS) as (arena, proxy):
        producer = arena.produce(ENDLESS, _RATE)
        extra: list[str] = []
        for number in range(times):
            _goes_on(arena)
            proxy.hold(*_WAYS[number % len(_WAYS)])
            ends = time.monotonic() + SOCKET_TIMEOUT + run.chance.uniform(0, 2)
            extra += _ends_in_time(arena)
            wait_until(lambda until=ends: time.monotonic() > until, "time passes")  # type: ignore[misc] # as above
            proxy.release()
            arena.fleet.start(1)
        producer.stop()
        return recovered(arena, times, *extra)


def _ends_in_time(arena: Arena) -> list[str]:
    """TERM for a worker that suffers the fault, which must end within 10 s."""
    code = arena.fleet.terminate(arena.fleet.alive[0])
    return [f"a worker ended with {code}"] if code else []


ROWS = (
    Row("lost-requests", "a request lost on its way is made again", lost_requests),
    Row("lost-replies", "what was done and not heard of is found out", lost_replies),
    Row("lost-submits", "an unanswered submit counts at most once, repeated or not", lost_submits),
    Row("cut-connections", "workers connect again and go on", cuts),
    Row("half-closed", "a connection open in one direction only holds nothing up", half_closed),
    Row("latency", "work goes on, slower; TERM still ends a worker within 10 s", latency),
    Row("trickle", "work goes on, slower; TERM still ends a worker within 10 s", trickle),
    Row(
        "black-hole",
        "connections are made anew, and what was held changes nothing",
        black_hole,
    ),
)
