"""Whether those who should be reading are there: workers, indexers, learners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.checks.finding import Finding
from ops.checks.waiting import find_group, measure, together

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ops.checks.ground import Ground

_SILENT_MS = 60_000  # readers wait for half a second at most before they ask again


def workers(ground: Ground) -> Iterator[Finding]:
    """Look whether anybody decides."""
    from streams.keys import WORKERS

    streams = [stream for keys in ground.session.parts for stream in keys.task_streams]
    pairs = [(stream, WORKERS) for stream in streams]
    waiting = together(measure(ground, pairs)) != 0
    yield _readers(
        ground,
        "workers",
        "worker",
        pairs,
        without="tasks wait" if waiting else "tasks will wait",
        grave=waiting,
    )


def indexers(ground: Ground) -> Iterator[Finding]:
    """Look whether anybody keeps the index in step."""
    from streams.keys import INDEXERS

    if not ground.config.enable_rag:
        yield Finding("indexers", "ok", "none needed: retrieval is switched off")
        return
    pair = (ground.keys.files, INDEXERS)
    yield _readers(ground, "indexers", "indexer", [pair], without="the index does not follow files")


def learners(ground: Ground) -> Iterator[Finding]:
    """Look whether anybody keeps what happened."""
    from streams.keys import LEARNING

    pair = (ground.keys.outcomes, LEARNING)
    yield _readers(ground, "learners", "learner", [pair], without="nothing is learned")


def _readers(  # noqa: PLR0913 - one sentence about each
    ground: Ground,
    check: str,
    command: str,
    pairs: Sequence[tuple[str, str]],
    *,
    without: str,
    grave: bool = False,
) -> Finding:
    from streams.consumer import RETRY
    from streams.pressure import servers

    awake: set[bytes] = set()
    for stream, group in pairs:
        if find_group(ground.client, stream, group) is None:
            continue
        members = ground.client.xinfo_consumers(stream, group)
        awake |= {each["name"] for each in members if each["idle"] <= _SILENT_MS}
    awake.discard(RETRY.encode())
    if awake:
        return Finding(check, "ok", f"{len(awake)} awake")
    name = f"cortex:{command}:"
    connected = {
        each["name"]
        for server in servers(ground.client)
        for each in server.client_list()
        if each["name"].startswith(name)
    }
    if connected:  # on Redis before 7.2 waiting in vain is no sign of life
        return Finding(
            check,
            "unknown",
            f"{len(connected)} connected, and none has read anything for {_SILENT_MS // 1000} s",
            f"see the log of cortex {command}: it may hang, or have nothing to do",
        )
    remedy = f"start one: cortex {command}"
    return Finding(check, "fail" if grave else "warn", f"none is there: {without}", remedy)
