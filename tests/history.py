"""A history checker for the queue, after Jepsen's: what producers saw against what came out.

The producer writes one verdict per task id: `ok` (the server confirmed it), `failed` (the server
refused it) or `unknown` (no answer). After the drain every ok id must be exactly once in the
masters' queues or in the dead letters, a failed one nowhere, an unknown one at most once, nothing
may be there that nobody sent, every decision has one audit row, and nothing is left pending.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from streams.dead import decode_payload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import redis

    from streams.keys import Keys

Seen = Literal["ok", "failed", "unknown"]


@dataclass(frozen=True)
class Outputs:
    """What came out of the system, as task ids."""

    masters: Mapping[str, Sequence[str]]
    decisions: Sequence[str]
    dead: Sequence[str] = ()
    pending: int = 0
    mislaid: Sequence[str] = field(default=())  # in a queue other than the one decided

    @classmethod
    def read(cls, client: redis.Redis, keys: Keys, masters: Sequence[str]) -> Outputs:
        queues: dict[str, list[str]] = {}
        mislaid = []
        for name in masters:
            queues[name] = []
            for _, fields in client.xrange(keys.master(name)):
                task_id = fields[b"task_id"].decode()
                queues[name].append(task_id)
                if json.loads(fields[b"decision"])["selected_master"] != name:
                    mislaid.append(task_id)
        pending = sum(
            client.xpending(stream, "workers")["pending"]
            for stream in keys.task_streams
            if client.exists(stream)
        )
        return cls(
            masters=queues,
            decisions=[f[b"task_id"].decode() for _, f in client.xrange(keys.decisions)],
            dead=[
                decode_payload(f[b"payload"].decode()).get(b"task_id", b"?").decode("latin-1")
                for _, f in client.xrange(keys.dead)
            ],
            pending=pending,
            mislaid=mislaid,
        )


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
