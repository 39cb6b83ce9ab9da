"""What the demonstration counts, and how it says so."""

from __future__ import annotations

import math
import threading
from collections import Counter
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from contracts.errors import FatalError
from contracts.parse import parse_decision
from ops.output import print_table, remark
from streams.dead import list_dead
from streams.ranges import forward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from contracts.messages import Decision
    from streams.keys import Keys

_SILENCE = 60.0  # seconds without a single new decision until the demonstration gives up
_SIGMAS = 4.0  # by chance alone a fair split is further off once in 16,000 demonstrations


class Received:
    """What the masters took, as they take it."""

    def __init__(self) -> None:
        self.masters: dict[str, list[str]] = {}
        self.pushed_ms: dict[str, int] = {}
        self._changed = threading.Condition()

    @property
    def count(self) -> int:
        """How many tasks reached at least one master."""
        return len(self.masters)

    def pushed(self, task_id: str, entry_id: bytes) -> None:
        """Note when the server took a task."""
        self.pushed_ms[task_id] = _milliseconds(entry_id)

    def add(self, master: str, task_id: str) -> None:
        """Note that a master took a task."""
        with self._changed:
            self.masters.setdefault(task_id, []).append(master)
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        """Wait until `count` tasks were taken.

        Raises:
            FatalError: none was taken for a minute.
        """
        with self._changed:
            while self.count < count:
                if not self._changed.wait(_SILENCE):
                    raise FatalError(f"demo: stuck at {self.count} of {count} tasks")


def summarise(  # noqa: PLR0913, PLR0917 (everything the demonstration saw)
    client: Redis,
    keys: Keys,
    submitted: Sequence[str],
    received: Received,
    freshness: Sequence[float],
    percentage: float,
) -> dict[str, Any]:
    """Count what became of the submitted tasks.

    Args:
        client: connection to the queue's server.
        keys: names of the demonstration's streams.
        submitted: ids of the tasks.
        received: what the masters took.
        freshness: seconds from a file saved to a worker finding it.
        percentage: the share that should be in treatment.
    """
    wanted = set(submitted)
    decisions: list[Decision] = []
    latencies: list[float] = []
    for entry_id, fields in forward(client, keys.decisions):
        decision = parse_decision(fields[b"decision"])
        if decision.task_id in wanted:
            decisions.append(decision)
            latencies.append(_milliseconds(entry_id) - received.pushed_ms[decision.task_id])
    audited = Counter(decision.task_id for decision in decisions)
    dead = sum(1 for _ in list_dead(client, keys))
    lost = sum(1 for task_id in submitted if not received.masters.get(task_id)) - dead
    duplicated = sum(1 for t in submitted if audited[t] > 1 or len(received.masters.get(t, ())) > 1)
    split = _split(Counter(decision.ab_test_group for decision in decisions), percentage)
    statuses = Counter(decision.context_status for decision in decisions)
    return {
        "ok": not lost and not duplicated and not dead and split["within_tolerance"],
        "submitted": len(submitted),
        "decided": len(audited),
        "lost": lost,
        "duplicated": duplicated,
        "dead": dead,
        "per_master": dict(Counter(decision.selected_master for decision in decisions)),
        "ab_split": split,
        "context_hit_share": statuses["ok"] / max(1, len(decisions)),
        "context_status": dict(statuses),
        "latency_ms": _quantiles(latencies),
        "freshness_ms": _quantiles([1000 * seconds for seconds in freshness]),
    }


def print_summary(summary: dict[str, Any]) -> None:
    """Print the summary for people."""
    split = summary["ab_split"]
    print_table(("master", "tasks"), sorted(summary["per_master"].items()))
    print_table(
        ("summary", "value"),
        [
            ("tasks submitted", summary["submitted"]),
            ("decided", summary["decided"]),
            ("lost", summary["lost"]),
            ("doubled", summary["duplicated"]),
            ("dead letters", summary["dead"]),
            ("control / treatment", f"{split['control']} / {split['treatment']}"),
            ("with context, share", summary["context_hit_share"]),
            ("latency p50 / p99, ms", _pair(summary["latency_ms"])),
            ("freshness p50 / p99, ms", _pair(summary["freshness_ms"])),
        ],
    )
    remark("ok" if summary["ok"] else "NOT ok: see the summary")


def _split(groups: Counter[Any], percentage: float) -> dict[str, Any]:
    total = max(1, groups.total())
    share = groups["treatment"] / total
    tolerance = _SIGMAS * math.sqrt(percentage * (1 - percentage) / total)
    return {
        "control": groups["control"],
        "treatment": groups["treatment"],
        "treatment_share": share,
        "expected_share": percentage,
        "tolerance": tolerance,
        "within_tolerance": abs(share - percentage) <= tolerance,
    }


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    if len(values) < 2:  # noqa: PLR2004 (what quantiles need)
        return {"p50": math.nan, "p99": math.nan}
    cuts = quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}


def _pair(figures: dict[str, float]) -> str | None:
    """The two quantiles as a cell of a table; None where nothing was measured."""
    if math.isnan(figures["p50"]):
        return None
    return f"{figures['p50']:.0f} / {figures['p99']:.0f}"


def _milliseconds(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])
