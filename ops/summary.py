"""What the audit stream says about the last while: totals, arms, masters, latency."""

from __future__ import annotations

import math
from array import array
from itertools import islice
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from streams import ranges

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis import Redis

    from streams.keys import Keys


class Seen(Struct, frozen=True, gc=False):
    """The fields of a decision that are counted; the others are not even parsed."""

    selected_master: str
    method: str
    confidence: float
    ab_test_group: str
    context_status: str
    latency_ms: float
    fallback_reason: str | None = None


class Share(Struct, kw_only=True):
    """Part of the decisions, for example one master's.

    Attributes:
        share: of all decisions, 0-1.
        ml_share: decided by the neural router, of these, 0-1.
    """

    routes: int = 0
    ml_routes: int = 0
    confidence_sum: float = 0.0
    share: float = 0.0
    ml_share: float = 0.0
    mean_confidence: float | None = None

    def add(self, seen: Seen) -> None:
        """Count one decision."""
        self.routes += 1
        self.ml_routes += seen.method == "neural"
        self.confidence_sum += seen.confidence


class Summary(Struct, frozen=True, kw_only=True):
    """Totals over a window.

    Attributes:
        complete: False if the window holds more decisions than were read; the newest were.
        ml_percentage: 0-100.
        context_hit_share: decisions with context, of those for which context was sought, 0-1.
        latency_ms: quantiles `p50`, `p95`, `p99` by nearest rank.
        per_arm: `control` and `treatment`; their `share` is the A/B balance.
    """

    window_s: float
    complete: bool
    total_routes: int
    ml_routes: int
    rule_based_routes: int
    ml_percentage: float | None
    mean_confidence: float | None
    context_hit_share: float | None
    fallbacks: dict[str, int]
    latency_ms: dict[str, float]
    per_master: dict[str, Share]
    per_arm: dict[str, Share]


def summarise(client: Redis, keys: Keys, window_s: float, limit: int) -> Summary:
    """Summarise the decisions of the last `window_s` seconds by the server's clock.

    Args:
        client: connection to the queue's server.
        keys: names the audit stream.
        window_s: seconds to look back.
        limit: decisions to read at most, the newest first.

    Raises:
        redis.RedisError: the server could not be asked.
    """
    seconds, _microseconds = client.time()
    since = str(max(0, int((seconds - window_s) * 1_000)))
    entries = ranges.backward(client, keys.decisions, since)
    decoder = msgspec.json.Decoder(Seen)
    decisions = [_decode(decoder, fields) for _id, fields in islice(entries, limit)]
    ours = [seen for seen in decisions if seen is not None]
    return total(ours, window_s, complete=len(decisions) < limit)


def total(decisions: Iterable[Seen], window_s: float, *, complete: bool) -> Summary:
    """Add decisions up."""
    everything = Share()
    per_master: dict[str, Share] = {}
    per_arm = {"control": Share(), "treatment": Share()}
    fallbacks: dict[str, int] = {}
    contexts: dict[str, int] = {}
    latencies = array("d")
    for seen in decisions:
        arm = per_arm.setdefault(seen.ab_test_group, Share())
        for part in (everything, arm, per_master.setdefault(seen.selected_master, Share())):
            part.add(seen)
        contexts[seen.context_status] = contexts.get(seen.context_status, 0) + 1
        if seen.fallback_reason:
            fallbacks[seen.fallback_reason] = fallbacks.get(seen.fallback_reason, 0) + 1
        latencies.append(seen.latency_ms)
    for part in (everything, *per_arm.values(), *per_master.values()):
        _finish(part, everything.routes)
    sought = everything.routes - contexts.get("disabled", 0)
    return Summary(
        window_s=window_s,
        complete=complete,
        total_routes=everything.routes,
        ml_routes=everything.ml_routes,
        rule_based_routes=everything.routes - everything.ml_routes,
        ml_percentage=100 * everything.ml_share if everything.routes else None,
        mean_confidence=everything.mean_confidence,
        context_hit_share=contexts.get("ok", 0) / sought if sought else None,
        fallbacks=fallbacks,
        latency_ms=_quantiles(latencies),
        per_master=dict(sorted(per_master.items())),
        per_arm=per_arm,
    )


def _decode(decoder: msgspec.json.Decoder[Seen], fields: dict[bytes, bytes]) -> Seen | None:
    try:
        return decoder.decode(fields.get(b"decision", b""))
    except msgspec.DecodeError:  # not written by a worker
        return None


def _finish(part: Share, routes: int) -> None:
    if part.routes:
        part.share = part.routes / routes
        part.ml_share = part.ml_routes / part.routes
        part.mean_confidence = part.confidence_sum / part.routes


def _quantiles(values: array[float]) -> dict[str, float]:
    """Nearest-rank quantiles: the smallest value with at least that share at or below it."""
    if not values:
        return {}
    ordered = sorted(values)
    return {
        name: ordered[math.ceil(share * len(ordered)) - 1]
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
