"""Whether work moves: the tasks, and what the masters have been given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.checks.finding import Finding
from ops.checks.waiting import measure, together

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ops.checks.ground import Ground
    from ops.checks.waiting import Queue

# Tasks are decided in well under a second, and are taken over within leases of seconds.
_SLOW_S, _STUCK_S = 60.0, 600.0
_MASTER_SLOW_S = 3_600.0  # a master's work may take its time


def tasks(ground: Ground) -> Iterator[Finding]:
    """Look at how long tasks have been waiting."""
    from streams.keys import WORKERS

    streams = [stream for keys in ground.session.parts for stream in keys.task_streams]
    queues = measure(ground, [(stream, WORKERS) for stream in streams])
    oldest = max((queue.oldest_s for queue in queues), default=0.0)
    detail = f"{_known(queues)} tasks wait, the oldest for {oldest:,.0f} s"
    remedy = "start more workers; cortex monitor shows what slows them"
    if oldest < _SLOW_S:
        yield Finding("tasks", "ok", detail)
    else:
        yield Finding("tasks", "fail" if oldest >= _STUCK_S else "warn", detail, remedy)


def masters(ground: Ground) -> Iterator[Finding]:
    """Look whether each master reads its queue."""
    names = ground.masters.names
    fine = 0
    for name in names:
        pairs = [(keys.master(name), name) for keys in ground.session.parts]
        queues = measure(ground, pairs)
        unread = [queue for queue in queues if not queue.read]
        oldest = max((queue.oldest_s for queue in queues), default=0.0)
        if unread:
            yield Finding(
                "masters",
                "fail",
                f"{name}: {_known(unread)} decisions wait, and it has never read any",
                f"start it: it reads {unread[0].stream} as the group {name} "
                f"(cortex master {name} is one that does)",
            )
        elif oldest >= _MASTER_SLOW_S:
            yield Finding(
                "masters",
                "warn",
                f"{name}: {_known(queues)} decisions wait, the oldest for {oldest:,.0f} s",
                f"see whether {name} is running, or needs more of its kind",
            )
        else:
            fine += 1
    if fine == len(names):
        yield Finding("masters", "ok", f"none of {fine} is behind")


def _known(queues: Sequence[Queue]) -> str:
    count = together(queues)
    return "some" if count is None else f"{count:,}"
