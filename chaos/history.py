"""A history checker for the queue, after Jepsen's: what producers saw against what came out.

The producer writes one verdict per task id: `ok` (the server confirmed it), `failed` (the server
refused it) or `unknown` (no answer). After the drain every ok id must be exactly once in the
masters' queues or in the dead letters, a failed one nowhere, an unknown one at most once, nothing
may be there that nobody sent, every decision has one audit row, and nothing is left pending. With
that, submitted = decided + dead.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from streams import ranges
from streams.dead import decode_payload
from streams.keys import WORKERS, Keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import redis

Seen = Literal["ok", "failed", "unknown"]


class History:
    """What a producer saw, kept in memory and in a log of its own.

    The log has one line per verdict, `<verdict> <task id>`; the last one of an id counts, except
    that what was once confirmed stays so, and that what may have been taken never becomes failed.
    """

    def __init__(self, log: Path | None = None) -> None:
        self.seen: dict[str, Seen] = {}
        self._log = log.open("a", buffering=1 << 16) if log else None

    def note(self, verdict: Seen, task_ids: Iterable[str]) -> None:
        """Write down what became of some submissions."""
        for task_id in task_ids:
            before = self.seen.get(task_id)
            if before != "ok" and not (verdict == "failed" and before == "unknown"):
                self.seen[task_id] = verdict
            if self._log:
                self._log.write(f"{verdict} {task_id}\n")

    def count(self, verdict: Seen) -> int:
        """How many ids have a verdict, while others may be noted."""
        return [*self.seen.values()].count(verdict)

    def close(self) -> None:
        """Close the log."""
        if self._log:
            self._log.close()


@dataclass(frozen=True)
class Outputs:
    """What came out of the system, as task ids.

    Attributes:
        masters: per master, in the order of its queue.
        mislaid: decisions in a queue other than the one they name.
    """

    masters: Mapping[str, Sequence[str]]
    decisions: Sequence[str]
    dead: Sequence[str] = ()
    pending: int = 0
    mislaid: Sequence[str] = field(default=())

    @classmethod
    def read(
        cls, client: redis.Redis, parts: Keys | Sequence[Keys], masters: Sequence[str]
    ) -> Outputs:
        """Read every queue of every partition as it is now."""
        parts = [parts] if isinstance(parts, Keys) else parts
        queues: dict[str, list[str]] = {name: [] for name in masters}
        decisions: list[str] = []
        dead: list[str] = []
        mislaid: list[str] = []
        pending = 0
        for keys in parts:
            for name, queue in queues.items():
                for _, fields in ranges.forward(client, keys.master(name)):
                    task_id = fields[b"task_id"].decode()
                    queue.append(task_id)
                    if json.loads(fields[b"decision"])["selected_master"] != name:
                        mislaid.append(task_id)
            decisions += [
                fields[b"task_id"].decode() for _, fields in ranges.forward(client, keys.decisions)
            ]
            dead += [buried_id(fields) for _, fields in ranges.forward(client, keys.dead)]
            pending += sum(
                client.xpending(stream, WORKERS)["pending"]
                for stream in keys.task_streams
                if client.exists(stream)
            )
        return cls(queues, decisions, dead, pending, mislaid)


def buried_id(letter: Mapping[bytes, bytes]) -> str:
    """The task id in a dead letter; `?` if it has none."""
    return decode_payload(letter[b"payload"].decode()).get(b"task_id", b"?").decode("latin-1")


def violations(seen: Mapping[str, Seen], outputs: Outputs) -> list[str]:
    """Return what is wrong, one line each; nothing if the history is that of a correct queue."""
    delivered = Counter(task_id for queue in outputs.masters.values() for task_id in queue)
    buried = Counter(outputs.dead)
    audited = Counter(outputs.decisions)
    out = delivered + buried
    found = [f"lost: {i}" for i, verdict in seen.items() if verdict == "ok" and not out[i]]
    found += [f"doubled: {i} x{n}" for i, n in out.items() if n > 1]
    found += [f"refused but present: {i}" for i in out if seen.get(i) == "failed"]
    found += [f"unexpected: {i}" for i in out if i not in seen]
    found += [
        f"audit: {i} delivered {delivered[i]}, audited {audited[i]}"
        for i in delivered.keys() | audited.keys()
        if delivered[i] != audited[i]
    ]
    found += [f"mislaid: {i}" for i in outputs.mislaid]
    found += [f"pending: {outputs.pending}"] if outputs.pending else []
    return found
