"""Changes of the live configuration under load: tasks at a steady rate, and who followed when.

Everything is read from what the system itself writes: when a change was made is the id of its entry
in `control:log`, when a decision was settled is that of its entry in `decisions`; both are
milliseconds by the clock of one server.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from contracts.encode import rollout_fields
from contracts.parse import parse_decision
from contracts.parse_rollout import parse_rollout
from router.assignment import BUCKETS, bucket
from streams import ranges
from streams.control import read_log

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from redis import Redis

    from contracts.messages import Decision, RolloutConfig
    from streams.keys import Keys


class Settled(NamedTuple):
    """A decision, and when it was settled, in seconds by the server's clock."""

    at: float
    decision: Decision


class Load:
    """Tasks at a steady rate; what was late is caught up on.

    Attributes:
        sent: the ids, in order.
    """

    def __init__(self, client: Redis, keys: Keys, rate: float) -> None:
        """Send nothing yet; `rate` is in tasks a second."""
        self.sent: list[str] = []
        self._client, self._stream, self._rate = client, keys.tasks, rate
        self._stopping = threading.Event()

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Send while the block runs."""
        thread = threading.Thread(target=self._flow, name="load")
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join()

    def send(self, task_id: str) -> None:
        """Send one task."""
        text = f"look after matter {task_id}"
        self._client.xadd(self._stream, {"task_id": task_id, "description": text})
        self.sent.append(task_id)

    def _flow(self) -> None:
        due = time.perf_counter()
        while not self._stopping.wait(max(0.0, due - time.perf_counter())):
            self.send(f"load-{len(self.sent)}")
            due += 1 / self._rate


def settled(client: Redis, keys: Keys) -> list[Settled]:
    """Return every decision, in the order in which they were settled."""
    return [
        Settled(_seconds(entry_id), parse_decision(fields[b"decision"]))
        for entry_id, fields in ranges.forward(client, keys.decisions)
    ]


def configurations(client: Redis, keys: Keys, fresh: RolloutConfig) -> dict[int, RolloutConfig]:
    """Return every version of the configuration there ever was, as the log has it.

    Args:
        client: connection to the queue's server.
        keys: names the log.
        fresh: what held before anything was set; version 0.
    """
    fields = dict(rollout_fields(fresh))
    found = {0: fresh}
    for change in reversed([*read_log(client, keys)]):
        fields |= change.after | {"version": str(change.version)}
        found[change.version] = parse_rollout(
            {name.encode(): str(value).encode() for name, value in fields.items()}
        )
    return found


def mixed(decision: Decision, configs: Mapping[int, RolloutConfig]) -> str | None:
    """Say what in a decision its own version of the configuration does not explain; None: nothing.

    For experiments on task ids, of one arm, that cover every task.
    """
    config = configs[decision.config_version]
    place = bucket(config.experiment, decision.task_id)
    arm = "treatment" if place / BUCKETS < config.percentage else "control"
    neural = decision.method == "neural"
    fell_back = isinstance(decision.fallback_reason, str)
    checks = {
        "experiment": decision.experiment == config.experiment,
        "bucket": decision.bucket == place,
        "group": decision.ab_test_group == arm,
        "method": neural != fell_back if arm == "treatment" else not (neural or fell_back),
        "context": (decision.context_status == "disabled") != config.enable_rag,
    }
    wrong = [name for name, sound in checks.items() if not sound]
    return f"{decision.task_id} under version {config.version}: {wrong}" if wrong else None


def changed_at(client: Redis, keys: Keys) -> dict[int, float]:
    """Return when each version was made, in seconds by the server's clock."""
    return {
        int(fields[b"version"]): _seconds(entry_id)
        for entry_id, fields in ranges.forward(client, keys.control_log)
    }


def followed_after(decisions: Sequence[Settled], version: int, at: float) -> float:
    """Return how long after a change the last decision under an older version was settled.

    Args:
        decisions: settled ones.
        version: that the change made.
        at: when it was made.

    Returns:
        Seconds; 0 where no later decision knew less.
    """
    older = (at_once for at_once, each in decisions if each.config_version < version)
    return max(0.0, max(older, default=at) - at)


def _seconds(entry_id: bytes) -> float:
    return int(entry_id.partition(b"-")[0]) / 1000
