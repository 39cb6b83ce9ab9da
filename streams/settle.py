"""Settle a batch: publish and acknowledge, each entry exactly once (`lua/settle.lua`).

This is the one place where work leaves the pending list. Calling it again with the same batch, for
example because the reply was lost, changes nothing: what was settled answers `duplicate`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from contracts.encode import dead_letter_fields
from contracts.messages import DeadLetter
from streams.dead import encode_payload
from streams.entry import Bury, Leave, Publish, Settlement
from streams.scripts import run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis import Redis

    from streams.entry import Entry
    from streams.keys import Keys

Verdict = Literal["settled", "duplicate", "fenced", "blocked", "left"]
_VERDICTS: dict[int, Verdict] = {
    1: "settled",
    2: "duplicate",
    3: "fenced",
    4: "blocked",
    5: "left",
}
AT_ONCE = 256  # one script holds the server for 2.4 ms at this size


def settle(  # noqa: PLR0913 (a batch, and whose it is)
    client: Redis,
    keys: Keys,
    batch: Sequence[Settlement],
    *,
    group: str,
    consumer: str,
    window_ms: int,
    at_once: int = AT_ONCE,
) -> list[Verdict]:
    """Carry out what became of a batch of entries.

    Args:
        client: a connection to the server the entries came from.
        keys: of the partition the entries came from.
        batch: at most one settlement per entry; entries may come from several streams.
        group: consumer group of the entries.
        consumer: who must still own them.
        window_ms: how long a task id is remembered as dealt with.
        at_once: most settlements in one exchange with the server.

    Returns:
        One verdict per settlement: `settled`; `duplicate` (dealt with before, now acknowledged);
        `fenced` (another consumer owns it now; nothing was done); `blocked` (the master's key
        holds something else than a stream; handed back); `left` (handed back as asked). What was
        handed back is still pending, for a consumer that lets it wait: see `Consumer.stale`.

    Raises:
        redis.RedisError: nothing is known about the batch; call again with the same batch.
    """
    verdicts: dict[tuple[str, bytes], Verdict] = {}
    for stream, part in _by_stream(batch, at_once):
        keys_arg, args = _arguments(keys, stream, part, (group, consumer, window_ms))
        codes = run(client, "settle", keys_arg, args)
        verdicts.update(
            ((stream, each.entry.id), _VERDICTS[code])
            for each, code in zip(part, codes, strict=True)
        )
    return [verdicts[each.entry.stream, each.entry.id] for each in batch]


def _by_stream(batch: Sequence[Settlement], at_once: int) -> Iterable[tuple[str, list[Settlement]]]:
    parts: dict[str, list[Settlement]] = {}
    for each in batch:
        parts.setdefault(each.entry.stream, []).append(each)
    for stream, part in parts.items():
        for start in range(0, len(part), at_once):
            yield stream, part[start : start + at_once]


def _arguments(
    keys: Keys, stream: str, part: Sequence[Settlement], head: tuple[str, str, int]
) -> tuple[list[str], list[str | bytes | int]]:
    targets: dict[str, int] = {}
    done: list[str] = []
    args: list[str | bytes | int] = [*head, 0, part[0].entry.id, part[-1].entry.id]
    done_prefix = keys.done("")
    for each in part:
        if isinstance(each, Publish):
            done.append(done_prefix + each.task_id)
            target = targets.get(each.master) or targets.setdefault(each.master, len(targets) + 1)
            if each.audit is each.payload:
                args += (each.entry.id, target, each.task_id, each.payload)
            else:
                args += (each.entry.id, -target, each.task_id, each.payload, each.audit)
        elif isinstance(each, Bury):
            if each.task_id is not None:
                done.append(done_prefix + each.task_id)
            args += (each.entry.id, "d" if each.task_id is None else "D", _letter(each))
        else:
            args += (each.entry.id, "l" if isinstance(each, Leave) else "a")
    args[len(head)] = len(targets)
    queues = [keys.master(name) for name in targets]
    # What is not written to may be in another slot: the source stands in for it.
    decisions = keys.decisions if targets else stream
    dead = keys.dead if any(isinstance(each, Bury) for each in part) else stream
    return [stream, decisions, dead, *queues, *done], args


def _letter(bury: Bury) -> bytes:
    entry: Entry = bury.entry
    letter = DeadLetter(
        source=entry.stream,
        entry_id=entry.id.decode(),
        reason=bury.reason,
        detail=bury.detail,
        payload={},
        attempts=entry.attempt,
        at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )
    fields = dead_letter_fields(letter) | {"payload": encode_payload(entry.fields)}
    return msgspec.msgpack.encode([part for pair in fields.items() for part in pair])
