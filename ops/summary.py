"""What the audit stream says about the last while: totals, arms, masters, latency."""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from itertools import islice
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from contracts.messages import Group
from streams import ranges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from streams.keys import Keys


class Seen(Struct, frozen=True, gc=False):
    """The fields of a decision that are counted; the others are not even parsed."""

    selected_master: str
    method: str
    confidence: float
    ab_test_group: Group
    context_status: str
    latency_ms: float
    fallback_reason: str | None = None


class Share(Struct, frozen=True, kw_only=True):
    """Part of the decisions, for example one master's.

    Attributes:
        share: of all decisions, 0-1.
        ml_share: decided by the neural router, of these, 0-1.
    """

    routes: int
    ml_routes: int
    share: float
    ml_share: float
    mean_confidence: float | None


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


def summarise(client: Redis, parts: Sequence[Keys], window_s: float, limit: int) -> Summary:
    """Summarise the decisions of the last `window_s` seconds by the server's clock.

    Args:
        client: connection to the queue's server.
        parts: name the audit stream of each partition.
        window_s: seconds to look back.
        limit: decisions to read at most, the newest first.

    Raises:
        redis.RedisError: the server could not be asked.
    """
    seconds, _microseconds = client.time()
    since = str(max(0, int((seconds - window_s) * 1_000)))
    newest_first = heapq.merge(
        *(ranges.backward(client, keys.decisions, since) for keys in parts),
        key=_moment,
        reverse=True,
    )
    decoder = msgspec.json.Decoder(Seen)
    decisions = [_decode(decoder, fields) for _id, fields in islice(newest_first, limit)]
    ours = [seen for seen in decisions if seen is not None]
    return total(ours, window_s, complete=len(decisions) < limit)


class _Tally:
    def __init__(self) -> None:
        self.routes = 0
        self.ml_routes = 0
        self.confidence = 0.0

    def add(self, seen: Seen) -> None:
        self.routes += 1
        self.ml_routes += seen.method == "neural"
        self.confidence += seen.confidence

    def share(self, of: int) -> Share:
        return Share(
            routes=self.routes,
            ml_routes=self.ml_routes,
            share=self.routes / of if of else 0.0,
            ml_share=self.ml_routes / self.routes if self.routes else 0.0,
            mean_confidence=self.confidence / self.routes if self.routes else None,
        )


def total(decisions: Sequence[Seen], window_s: float, *, complete: bool) -> Summary:
    """Add decisions up."""
    everything = _Tally()
    arms = {"control": _Tally(), "treatment": _Tally()}
    masters: defaultdict[str, _Tally] = defaultdict(_Tally)
    for seen in decisions:
        for tally in (everything, arms[seen.ab_test_group], masters[seen.selected_master]):
            tally.add(seen)
    contexts = Counter(seen.context_status for seen in decisions)
    overall = everything.share(everything.routes)
    sought = overall.routes - contexts["disabled"]
    return Summary(
        window_s=window_s,
        complete=complete,
        total_routes=overall.routes,
        ml_routes=overall.ml_routes,
        rule_based_routes=overall.routes - overall.ml_routes,
        ml_percentage=100 * overall.ml_share if overall.routes else None,
        mean_confidence=overall.mean_confidence,
        context_hit_share=contexts["ok"] / sought if sought else None,
        fallbacks=Counter(seen.fallback_reason for seen in decisions if seen.fallback_reason),
        latency_ms=_quantiles([seen.latency_ms for seen in decisions]),
        per_master={name: masters[name].share(overall.routes) for name in sorted(masters)},
        per_arm={name: tally.share(overall.routes) for name, tally in arms.items()},
    )


def _moment(entry: tuple[bytes, dict[bytes, bytes]]) -> tuple[int, int]:
    """When an entry was added, by its id: milliseconds and a number."""
    milliseconds, _, number = entry[0].partition(b"-")
    return int(milliseconds), int(number)


def _decode(decoder: msgspec.json.Decoder[Seen], fields: dict[bytes, bytes]) -> Seen | None:
    try:
        return decoder.decode(fields.get(b"decision", b""))
    except msgspec.DecodeError:  # not written by a worker
        return None


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    """Nearest-rank quantiles: the smallest value with at least that share at or below it."""
    if not values:
        return {}
    ordered = sorted(values)
    return {
        name: ordered[math.ceil(share * len(ordered)) - 1]
        for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
